"""What a run needs of machines elsewhere that open its connections, and nothing of how they are reached.

`loadgen.cluster` has them. A run without them has one site, which is this machine.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.run.site import Site
from floodtest.loadgen.run.watch import Watcher


class Crowd(Protocol):
    """The machines of a run."""

    options: RunOptions
    """Those of the run, with as many connections as the machines can hold if that was asked for."""
    lead: float
    """Seconds from the order to ramp to the first connection: how long an order may take to reach them."""

    async def prepare(self, say: Callable[[str], None]) -> None:
        """Agree with each machine on its part; Refused where one of them can't do it, or all of them not the whole."""

    def settle(self, folder: Path, marks: str | None) -> tuple[Sequence[Site], Watcher]:
        """Return a site for each machine, and who writes down what each of them says, in the folder of the record."""


Elsewhere = Callable[[RunOptions], AbstractAsyncContextManager[Crowd]]
"""Has the machines as long as its block lasts."""
