"""What `comet serve` was asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.models import DEFAULT_MODEL, Model


@dataclass(frozen=True)
class Options:
    """What `comet serve` was asked for."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_users: int = 1_100_000
    """The highest id."""
    max_connections: int | None = None
    """How many there is room for; None: as many as users."""
    workers: int | None = None
    tick: float | None = None
    control_host: str = "127.0.0.1"
    control_port: int = 8001
    token: str | None = None
    db: Path | None = None
    limits: Limits = field(default_factory=Limits)
    model: Model = DEFAULT_MODEL
