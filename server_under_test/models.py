"""How fronts may hold connections: one table, asked by all that depends on a model. Pure."""

from dataclasses import dataclass
from typing import Literal

Model = Literal["columns", "tasks"]


@dataclass(frozen=True)
class Traits:
    """What depends on a model."""

    worker: str
    """The module of its fronts, which has their `worker_main` (see `flyweight.processes.nursery`)."""
    words: str
    """What it is, in the help of the command line."""
    knows_handshake_cpu: bool
    """Whether a front can tell the CPU time of handshakes from that of all else."""


MODELS: dict[Model, Traits] = {
    "columns": Traits("floodtest.server_under_test.fronts.columns", "in columns", knows_handshake_cpu=True),
    "tasks": Traits("floodtest.server_under_test.fronts.tasks", "a task each", knows_handshake_cpu=False),
}

DEFAULT_MODEL: Model = "columns"
"""That of a server unless it is said."""
