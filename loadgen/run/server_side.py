"""The server's side of a run: what connections are opened to, what it says of itself, what its processes cost here.

In: a target that was named, or none, and the bundled server is started as long as the block of `server_side` lasts. One
that was named may be a `comet serve`, which is spoken to over its control API (`controlled`).
Out: the target, the server's figures as it last gave them, its processes' memory and CPU where they are known, and what
becomes of the queue in which connections wait for it. Fails:
Refused and WorkerFault where the bundled server or its store does not come up; one that ends later, or does not answer
any more, is told of by `has_ended` and `is_silent`, and what else goes wrong by `reasons`.
"""

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from floodtest.analysis.record import summary as sums
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import WorkerFault
from floodtest.flyweight.machine.endpoints import is_path
from floodtest.flyweight.machine.listeners import NET, net_of
from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import Outlook
from floodtest.loadgen.preflight.server_files import files_of
from floodtest.loadgen.preflight.server_processes import Process, ServerProcesses
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.run.bundled import bundled_server, place_of
from floodtest.loadgen.run.controlled import controlled_server
from floodtest.loadgen.run.interruption import Interruption
from floodtest.loadgen.run.listen_queue import QueueWatch
from floodtest.loadgen.run.message_processes import store_for
from floodtest.wire.control import Stats
from floodtest.wire.http import authority
from floodtest.wire.protocols import OWN
from floodtest.wire.template import RequestTemplate
from floodtest.wire.tls.certificates import NAME, Files, certificate_for_now
from floodtest.wire.tls.settings import ClientTls


class OurServer(Protocol):
    """A server that says what it does and takes orders: the bundled one, or a `comet serve` that is controlled."""

    @property
    def control_url(self) -> str: ...

    @property
    def token(self) -> str | None: ...

    @property
    def has_ended(self) -> bool: ...

    async def stats(self) -> Stats | None: ...

    async def set_tick(self, seconds: float | None) -> bool: ...


class ServerSide:
    """The server of a run, as far as it is known."""

    def __init__(
        self,
        target: Target,
        ours: OurServer | None,
        processes: ServerProcesses,
        queue: QueueWatch,
        is_bundled: bool = False,
    ) -> None:
        self.target = target
        self.ours = ours
        self.is_bundled = is_bundled
        """Whether it was started by the run: its processes are what it says they are, and are on this machine."""
        self.queue = queue
        self.figures: Stats | None = None
        """What our server said last."""
        self.is_silent = False
        """Whether the bundled server did not answer when it was last asked."""
        self.reasons: list[str] = []
        """What has gone wrong here, a sentence each."""
        self._found = processes
        self._last_pids: list[int] | None = None
        self._is_unread = False
        self._meter = ProcessMeter()

    @property
    def has_ended(self) -> bool:
        """Whether the bundled server has ended by itself."""
        return self.ours is not None and self.ours.has_ended

    async def ask(self) -> Stats | None:
        """Return the figures of our server as they are now; None where it does not answer or is not ours."""
        if self.ours is None:
            return None
        figures = await self.ours.stats()
        self.is_silent = figures is None
        self.figures = figures or self.figures
        return figures

    def measure(self, everything: bool) -> tuple[int, float] | None:
        """Return bytes of private memory and seconds of CPU of its processes; None where they are not known.

        Memory is read within a budget, or of all processes if everything is asked for.
        """
        if self.is_bundled:
            pids = None if self.figures is None else self.figures.pids.all
        else:
            pids = self._look_for_processes() if self._found.roots else None
        if pids is None:
            return None
        self._meter.read(pids, everything)
        return self._meter.private, round(self._meter.cpu, 2)

    def described(self, put_off: int) -> sums.Server:
        """Return what a summary has of it; so many connections had to wait for room in the queue of a Unix socket."""
        queue = self.queue.found
        if queue is not None and any(is_path(host) for host, _ in self.target.addresses):
            queue = msgspec.structs.replace(queue, put_off=put_off)
        return sums.Server(
            addresses=[authority(*address) for address in self.target.addresses],
            processes=[sums.ServerProcess(process.pid, process.name) for process in self._found.roots],
            found=self._found.reason,
            files=None if self.is_bundled else files_of(self._found.holders) or None,
            queue=queue,
            placed="in turn" if self.target.ring is None else "by ring",
        )

    def _look_for_processes(self) -> list[int] | None:
        """Return the processes there are; as it was the last time (None: not known) where /proc can't be opened."""
        try:
            self._last_pids = self._found.pids()
        except OSError as error:
            if not self._is_unread:
                why = f"{error.filename}: {error.strerror}"
                self.reasons.append(f"samples: some are missing processes of the server, since {why}")
            self._is_unread = True
        return self._last_pids


@asynccontextmanager
async def server_side(
    options: RunOptions,
    outlook: Outlook,
    network: Network,
    folder: Path,
    interruption: Interruption,
    say: Callable[[str], None],
) -> AsyncIterator[ServerSide]:
    """The target that was named, or the bundled server as long as the block lasts, with log and store in `folder`."""
    if (target := outlook.target) is not None and outlook.server is not None:
        queue = QueueWatch(target.addresses, None if outlook.elsewhere else NET)
        if options.control is None:
            yield ServerSide(target, None, outlook.server, queue)
            return
        async with controlled_server(options.control, options.token) as controlled:
            if others := controlled.before.connections:
                say(f"The server has {counted(others, 'connections')} of others, which get what is for all, too.")
            server = ServerSide(target, controlled, outlook.server, queue)
            await server.ask()
            yield server
        return
    log = folder / "server.log"
    plan, place = options.plan, place_of(network, ipaddress.ip_address(options.plan.base_ip).version)
    async with AsyncExitStack() as stack:
        certificate = stack.enter_context(certificate_for_now()) if options.speaks_tls else None
        store = await stack.enter_async_context(store_for(options, folder, interruption, say))
        bundled = await stack.enter_async_context(
            bundled_server(plan, store, log, place, options.server_model, certificate, _tickets_for(options))
        )
        asked, addresses = RequestTemplate(f"/{OWN[options.spoken].path}/{{user}}".encode()), (bundled.address,)
        own = ServerProcesses((Process(bundled.process.pid, "comet serve"),), "it is ours")
        queue = QueueWatch(addresses, NET if place.namespace is None else net_of(bundled.process.pid))
        tls = None if certificate is None else _tls_with(options, certificate)
        target = Target(addresses, asked, authority(*bundled.address), tls)
        server = ServerSide(target, bundled, own, queue, is_bundled=True)
        if await server.ask() is None:
            raise WorkerFault(f"The bundled server came up and does not answer. See {log}.")
        yield server


def _tickets_for(options: RunOptions) -> int:
    """Return how many tickets our own server sends a client: none, unless sessions are to be taken up by them."""
    return 1 if options.tls.tls_resume else 0


def _tls_with(options: RunOptions, certificate: Files) -> ClientTls:
    """Return how clients speak TLS with our own server: its certificate is the only one that they trust."""
    settings = options.tls.settings(NAME, is_http=True)
    return settings if settings.insecure else msgspec.structs.replace(settings, cafile=certificate.cert)
