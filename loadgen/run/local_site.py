"""The site that is this machine: a crew of client workers, their accounts, a sampler of what they cost, a guard.

In: `RunOptions`, the folder of the run record, the ports that are not ours. Out: connections, and a `Reading` of them.
The columns of states and ports are files of the record, the counters a ledger in shared memory: both are read where the
workers write them. Fails: Refused where the disk has no room for the columns; WorkerFault when a worker does not come
up; what goes wrong after that is a reason in the readings.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.cpu import read_cpu_time
from floodtest.flyweight.machine.files import read_memory
from floodtest.flyweight.machine.headroom import MemoryGauge
from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.flyweight.machine.sockets import read_slabs, read_sockets
from floodtest.flyweight.machine.softnet import read_dropped
from floodtest.loadgen.client import orders
from floodtest.loadgen.client.accounts import LEDGER, State, count_states, create_columns, map_columns
from floodtest.loadgen.client.target_choice import write_choices
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan, Share
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.preflight.users import Users
from floodtest.loadgen.run.crew import open_crew
from floodtest.loadgen.run.guard import Guard
from floodtest.loadgen.run.latencies import watch_every
from floodtest.loadgen.run.reachability import connections_in_vain
from floodtest.loadgen.run.reading import Figures, Reading, read_accounts
from floodtest.loadgen.run.site import Detail
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.protocols import CLIENT_PROTOCOLS

LOOK_SECONDS = 0.25
"""Between two looks at whether anything is still open: no event tells of it."""


class LocalSite:
    """The part of a run that is on this machine: so many workers, each with `files_limit` open files."""

    def __init__(
        self,
        options: RunOptions,
        folder: Path,
        avoided: list[tuple[int, int]],
        workers: int,
        files_limit: int,
        users: Users | None = None,
        grammar: Grammar = OURS,
        stamps_ahead_ns: int = 0,
    ) -> None:
        """Have the users of a plan connected by so many workers; `grammar` is that of what they are sent.

        Who stamps messages may do so on another host: by a clock that is so many ns ahead (`flyweight.machine.
        clock_offset`).
        """
        self._options = options
        self._grammar = grammar
        self._stamps_ahead_ns = stamps_ahead_ns
        self._plan = options.plan
        self._folder = folder
        self._avoided = avoided
        self._files_limit = files_limit
        self._users = users
        self._ledger = Ledger(LEDGER, workers)
        create_columns(folder, self._plan.connections)
        self._states, self._ports = map_columns(folder, 1, self._plan.connections)
        self._reasons: list[str] = []
        self._replaced_ports = 0
        self._processes = ProcessMeter()
        self._gauge = MemoryGauge(options.reserve)
        self._guard = Guard(self._gauge, self._reasons.append)
        self._is_unread = False
        self._dropped_before: int | None = None

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Have a crew, and hear it, as long as the block lasts."""
        complain, model = self._reasons.append, self._options.client
        async with (
            open_crew(self._ledger, self._states, complain, model) as self._crew,
            trio.open_nursery() as self._listening,
        ):
            yield
            self._listening.cancel_scope.cancel()

    async def open(self, target: Target, reset_at_end: bool) -> None:
        """Start the crew."""
        request = CLIENT_PROTOCOLS[self._options.spoken].request(target.asked, target.host)
        users = self._users
        if target.ring is not None:
            write_choices(self._folder, target.ring.owners_of_users(self._plan.users))

        def specification(number: int, share: Share) -> orders.Specification:
            return orders.Specification(
                worker=number,
                workers=len(self._ledger.rows),
                share=share,
                folder=os.fsencode(self._folder.absolute()),
                targets=list(target.addresses),
                is_target_chosen=target.ring is not None,
                request=request,
                protocol=self._options.spoken,
                open_when=self._options.opens_when,
                polling=self._options.polling,
                grammar=self._grammar,
                ports=self._options.ports,
                reserved=self._avoided,
                stages=self._options.pacer.stages,
                connect_timeout=self._options.connect_timeout,
                reset_at_end=reset_at_end,
                columns=() if users is None else users.columns,
                shape=None if users is None else users.shape,
                tls=target.tls,
                stamps_ahead_ns=self._stamps_ahead_ns,
                watch_every=watch_every(self._options, share.count),
            )

        descriptors = [] if users is None else [users.descriptor]
        await self._crew.start(specification, self._plan.shares(len(self._ledger.rows)), descriptors)
        self._listening.start_soon(self._crew.listen)
        self._cpu_before = read_cpu_time()
        self._dropped_before = read_dropped()

    async def ramp(self, start: float) -> None:
        """Open all connections, unless memory runs out or nobody can be reached."""
        try:
            async with trio.open_nursery() as beside:
                beside.start_soon(self._end_ramp_in_time)
                beside.start_soon(self._give_up)
                await self._crew.ramp(start, self._options.pacer, self._options.in_flight)
                beside.cancel_scope.cancel()
        finally:
            self._count_replaced_ports()

    async def _end_ramp_in_time(self) -> None:
        """End the ramp before memory runs out."""
        await self._guard.wait_until_ramp_must_end()
        await self._crew.halt()

    async def wait_until_short(self) -> None:
        """Look until the run has to end for want of memory."""
        await self._guard.wait_until_run_must_end()

    async def _give_up(self) -> None:
        """End the ramp where not one connection has come about for as long as one may take."""
        patience = self._options.connect_timeout
        if begun := await connections_in_vain(self._ledger, patience):
            self._reasons.append(
                f"target: none of {counted(begun, 'connections')} came about in {patience:g} s, so that no more were "
                "begun"
            )
            await self._crew.halt()

    async def wait_until_empty(self) -> None:
        """Look until nothing is open."""
        while np.any(self._states == State.OPEN.value):
            await trio.sleep(LOOK_SECONDS)

    async def halt(self) -> None:
        """Have the crew begin no more connections, and wait for what ends by itself."""
        await self._crew.halt()
        await self._crew.wait_for_ends()
        self._count_replaced_ports()

    async def close(self) -> None:
        """Have the crew close all connections."""
        await self._crew.close()

    async def read(self, detail: Detail) -> Reading:
        """Read columns and ledger, and figures where they are asked for; without a checkpoint between them."""
        counts = count_states(self._states)  # at once: memory is held against them, the server's was read just before
        figures = None if detail is Detail.ACCOUNTS else self._figures(detail is Detail.EVERYTHING)
        return read_accounts(
            counts,
            self._ledger,
            self._crew.lost,
            files_limit=self._files_limit,
            replaced_ports=self._replaced_ports,
            reasons=self._reasons,
            figures=figures,
        )

    def _figures(self, everything: bool) -> Figures | None:
        """Read what processes and machine cost; None where a file of /proc can't be opened: the run needs none."""
        self._processes.read([os.getpid(), *self._crew.pids], everything)
        try:
            return self._figures_of_machine()
        except OSError as error:
            if not self._is_unread:
                self._reasons.append(f"samples: some are missing, since {error.filename}: {error.strerror}")
            self._is_unread = True
            return None

    def _figures_of_machine(self) -> Figures:
        memory, sockets, machine = read_memory(), read_sockets(), read_cpu_time()
        return Figures(
            client_private=self._processes.private,
            client_cpu=round(self._processes.cpu, 2),
            mem_available=memory.available,
            slab=memory.slab,
            kernel_stack=memory.kernel_stack,
            page_tables=memory.page_tables,
            percpu=memory.percpu,
            sockets=sockets.used,
            tcp_inuse=sockets.tcp_inuse,
            tcp_time_wait=sockets.tcp_time_wait,
            tcp_queued=sockets.queued,
            machine_cpu=round(machine.busy - self._cpu_before.busy, 2),
            kernel_cpu=round(machine.kernel - self._cpu_before.kernel, 2),
            swapped=memory.swapped,
            mem_obtainable=self._gauge.least(),
            packets_dropped=self._dropped_since(),
            **(read_slabs() or {}),
        )

    def _dropped_since(self) -> int | None:
        """Return how many packets the kernel has dropped since the crew was started."""
        now, before = read_dropped(), self._dropped_before
        return None if now is None or before is None else now - before

    def _count_replaced_ports(self) -> None:
        """Count them when no more connections are begun: that takes 10 ms for a million."""
        if self._options.ports == "explicit":
            self._replaced_ports = replaced_ports(self._plan, self._ports)


def replaced_ports(plan: Plan, ports: npt.NDArray[np.uint16]) -> int:
    """Return how many users have a source port (0: none) that is not the one planned; `ports` has an entry a user."""
    offsets = np.arange(plan.connections, dtype=np.uint32) % plan.each
    return int(np.count_nonzero((ports != 0) & (ports != offsets + plan.first_port)))
