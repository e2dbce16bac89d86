"""The server's side of a run: what connections are opened to, what it says of itself, what its processes cost here.

In: a target that was named, or none, and the bundled server is started as long as the block of `server_side` lasts.
Out: the target, the server's figures as it last gave them, its processes' memory and CPU where they are known. Fails:
Refused and WorkerFault where the bundled server or its store does not come up; one that ends later, or does not answer
any more, is told of by `has_ended` and `is_silent`, and what else goes wrong by `reasons`.
"""

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from floodtest.flyweight.errors import WorkerFault
from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.server_files import process_tree
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.run.bundled import BundledServer, bundled_server, place_of
from floodtest.loadgen.run.generator import store_for
from floodtest.loadgen.run.interruption import Interruption
from floodtest.wire.control import Stats
from floodtest.wire.http import authority
from floodtest.wire.protocols import OWN
from floodtest.wire.template import RequestTemplate


class ServerSide:
    """The server of a run, as far as it is known."""

    def __init__(self, target: Target, bundled: BundledServer | None, pids: Callable[[], list[int]] | None) -> None:
        self.target = target
        self.bundled = bundled
        self.figures: Stats | None = None
        """What the bundled server said last."""
        self.is_silent = False
        """Whether the bundled server did not answer when it was last asked."""
        self.reasons: list[str] = []
        """What has gone wrong here, a sentence each."""
        self._pids = pids
        self._last_pids: list[int] | None = None
        self._is_unread = False
        self._processes = ProcessMeter()

    @property
    def has_ended(self) -> bool:
        """Whether the bundled server has ended by itself."""
        return self.bundled is not None and self.bundled.has_ended

    async def ask(self) -> Stats | None:
        """Return the figures of the bundled server as they are now; None where it does not answer or is not ours."""
        if self.bundled is None:
            return None
        figures = await self.bundled.stats()
        self.is_silent = figures is None
        self.figures = figures or self.figures
        return figures

    def measure(self, everything: bool) -> tuple[int, float] | None:
        """Return bytes of private memory and seconds of CPU of its processes; None where they are not known.

        Memory is read within a budget, or of all processes if everything is asked for.
        """
        if self._pids is not None:
            pids = self._look_for(self._pids)
        else:
            pids = None if self.figures is None else self.figures.pids.all
        if pids is None:
            return None
        self._processes.read(pids, everything)
        return self._processes.private, round(self._processes.cpu, 2)

    def _look_for(self, pids: Callable[[], list[int]]) -> list[int] | None:
        """Return the processes there are; as it was the last time (None: not known) where /proc can't be opened."""
        try:
            self._last_pids = pids()
        except OSError as error:
            if not self._is_unread:
                why = f"{error.filename}: {error.strerror}"
                self.reasons.append(f"samples: some are missing processes of the server, since {why}")
            self._is_unread = True
        return self._last_pids


@asynccontextmanager
async def server_side(
    options: RunOptions,
    target: Target | None,
    network: Network,
    folder: Path,
    interruption: Interruption,
    say: Callable[[str], None],
) -> AsyncIterator[ServerSide]:
    """The target that was named, or the bundled server as long as the block lasts, with log and store in `folder`."""
    if target is not None:
        root = options.server_pid
        yield ServerSide(target, None, None if root is None else partial(process_tree, root))
        return
    log = folder / "server.log"
    plan, place = options.plan, place_of(network, ipaddress.ip_address(options.plan.base_ip).version)
    async with (
        store_for(options, folder, interruption, say) as store,
        bundled_server(plan, store, log, place, options.server_model) as bundled,
    ):
        asked = RequestTemplate(f"/{OWN[options.spoken].path}/{{user}}".encode())
        server = ServerSide(Target(bundled.address, asked, authority(*bundled.address)), bundled, None)
        if await server.ask() is None:
            raise WorkerFault(f"The bundled server came up and does not answer. See {log}.")
        yield server
