"""The crew: all client workers of a run, which share the ramp out among them and are closed together.

Only as many workers ramp at a time as there are cores, in the order of the plan; each has an equal part of `in_flight`,
less what the worker before it still has in flight, so that the bound holds in total. A worker that ends too early is
noticed by the end of its channel; its open connections are counted as closed early and those in flight as failed, both
under the name LOST, unless they were being closed by then. Closing goes on as long as connections are being closed; a
worker that can't be reached is left to the end of its process.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import WorkerFault
from floodtest.flyweight.machine.files import cores
from floodtest.flyweight.processes.launch import how_it_ended
from floodtest.flyweight.processes.workers import Worker, Workers, open_workers, wait_while_moving
from floodtest.loadgen.client import orders
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.plan.models import CLIENT_MODELS, DEFAULT_CLIENT_MODEL, ClientModel
from floodtest.loadgen.plan.pacer import Pacer
from floodtest.loadgen.plan.plan import Share

CLOSE_QUIET = 5.0
"""Seconds in which no connection is closed, after which closing is given up."""

SETTLE_QUIET = 0.25
"""Seconds in which no connection ends by itself, after which none that does is waited for any more."""

SETTLE_SECONDS = 10.0
"""The longest wait for connections that end by themselves, one after another."""


@dataclass(eq=False)
class Member:
    """A worker and how far it has come."""

    worker: Worker
    share: Share
    started: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)
    closed: trio.Event = field(default_factory=trio.Event)
    is_lost: bool = False
    ended: trio.Event = field(default_factory=trio.Event)
    """Set when its end, whether it was due or not, has been dealt with."""
    stragglers: int = 0


class Crew:
    """The client workers of a run."""

    def __init__(
        self, workers: Workers, ledger: Ledger, states: npt.NDArray[np.uint8], complain: Callable[[str], None]
    ) -> None:
        self._workers = workers
        self._ledger = ledger
        self._states = states
        self._complain = complain
        self._members: list[Member] = []
        self._closing = False
        self._all_lost = False
        self._halted = trio.Event()
        self.lost: Counter[State] = Counter()
        """Connections that ended with their worker, by the state they were in."""

    @property
    def pids(self) -> list[int]:
        return self._workers.pids

    async def start(
        self,
        specification: Callable[[int, Share], orders.Specification],
        shares: list[Share],
        descriptors: Sequence[int] = (),
    ) -> None:
        """Fork a worker for each share, and give it these descriptors; WorkerFault when one does not come up."""
        encoded = [msgspec.msgpack.encode(specification(number, share)) for number, share in enumerate(shares)]
        await self._workers.start(encoded, orders.FromWorker, [self._ledger.descriptor, *descriptors])
        self._members = [Member(worker, share) for worker, share in zip(self._workers.all, shares, strict=True)]
        for member in self._members:
            if not isinstance(await member.worker.channel.receive(), orders.Ready):
                raise WorkerFault(f"Client worker {member.worker.number} ended before it was up.")

    async def listen(self) -> None:
        """Hear all workers until each has ended."""
        async with trio.open_nursery() as tasks:
            for member in self._members:
                tasks.start_soon(self._listen_to, member)

    async def _listen_to(self, member: Member) -> None:
        while message := await member.worker.channel.receive():
            match message:
                case orders.Started(in_flight=count):
                    member.stragglers = count
                    member.started.set()
                case orders.Settled():
                    member.stragglers = 0
                    member.settled.set()
                case orders.Closed():
                    member.closed.set()
        if not member.closed.is_set() and not self._closing:
            await self._lose(member)
        for event in (member.started, member.settled, member.closed, member.ended):
            event.set()

    async def _lose(self, member: Member) -> None:
        """Account for the connections of a worker that ended too early, at once, and then say how it did."""
        member.is_lost = True
        before = member.share.before
        states = self._states[before : before + member.share.count]
        lost = Counter({state: int(np.count_nonzero(states == state)) for state in (State.OPEN, State.IN_FLIGHT)})
        states[states == State.OPEN] = State.CLOSED_EARLY
        states[states == State.IN_FLIGHT] = State.FAILED
        self.lost += lost
        with trio.move_on_after(1):
            await member.worker.ended.wait()
        if not self._all_lost:
            self._complain(self._in_words(member.worker, lost.total()))

    def _in_words(self, worker: Worker, lost: int) -> str:
        """Say that a worker has ended; once for all of them where the process that they came from has."""
        if self._workers.nursery_status is None:
            return (
                f"client worker {worker.number} (process {worker.pid}) ended by itself, "
                f"{how_it_ended(worker.exit_status)}; {lost:,} of its connections were lost"
            )
        self._all_lost = True
        return (
            "the process that client workers come from ended by itself, "
            f"{how_it_ended(self._workers.nursery_status)}, and all of them with it; their connections were lost"
        )

    async def ramp(self, start: float, pacer: Pacer, in_flight: int) -> None:
        """Let the workers open their shares; return when every connection is open or has failed."""
        abreast = min(cores(), len(self._members), in_flight)
        slots: list[Member | None] = [None] * abreast
        for member in self._members:
            slot = await self._free_slot(slots)
            before = slots[slot]
            slots[slot] = member
            due = start + pacer.time_of(member.share.before + 1)
            with trio.move_on_after(max(0.0, due - time.monotonic())):
                await self._halted.wait()
            if self._halted.is_set():
                break
            allowance = max(1, in_flight // abreast - (before.stragglers if before else 0))
            await member.worker.channel.send(orders.Go(start, allowance))
        else:
            for member in self._members:
                await member.settled.wait()
            return
        for occupant in slots:
            if occupant is not None:
                await occupant.settled.wait()

    async def _free_slot(self, slots: list[Member | None]) -> int:
        """Wait for the first slot whose worker has begun all its connections."""
        send, receive = trio.open_memory_channel[int](len(slots))

        async def watch(slot: int, member: Member | None) -> None:
            if member is not None:
                await member.started.wait()
            send.send_nowait(slot)

        async with trio.open_nursery() as tasks:
            for slot, member in enumerate(slots):
                tasks.start_soon(watch, slot, member)
            first = await receive.receive()
            tasks.cancel_scope.cancel()
        return first

    async def halt(self) -> None:
        """Begin no more connections."""
        self._halted.set()
        for member in self._members:
            await member.worker.channel.send(orders.Halt())

    async def wait_for_ends(self) -> None:
        """Wait for what is on its way to an end: a lost worker is told of, and a server that dies takes its connections
        along one after another. That may take `SETTLE_SECONDS`.
        """
        for member in self._members:
            if member.is_lost:
                await member.ended.wait()
        with trio.move_on_after(SETTLE_SECONDS):
            last = 0
            while (gone := int(np.count_nonzero(self._states == State.CLOSED_EARLY.value))) != last:
                last = gone
                await trio.sleep(SETTLE_QUIET)

    async def close(self) -> None:
        """Close all connections; those that can't be closed end with the process of their worker.

        From here on none is lost: each one that was open until now was held to the end.
        """
        self._closing = True
        for member in self._members:
            await member.worker.channel.send(orders.Close())
        closed = [member.closed for member in self._members]
        await wait_while_moving(closed, lambda: int(self._ledger.total("closed")), CLOSE_QUIET)


@asynccontextmanager
async def open_crew(
    ledger: Ledger,
    states: npt.NDArray[np.uint8],
    complain: Callable[[str], None],
    model: ClientModel = DEFAULT_CLIENT_MODEL,
) -> AsyncIterator[Crew]:
    """A crew without workers yet, whose workers end with the block."""
    async with open_workers(CLIENT_MODELS[model].worker) as workers:
        yield Crew(workers, ledger, states, complain)
