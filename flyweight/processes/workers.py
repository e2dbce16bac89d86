"""Workers: started in one call, spoken to over channels, gone when the block ends.

`async with open_workers("floodtest.loadgen.client.columns") as workers` runs a nursery process (see
`flyweight.processes.nursery`), which workers come from: in as many processes as there are cores where the kernel lets a
thread have its own files, in a process each where it does not (some containers). Leaving the block, in whatever way,
closes the channels, gives workers `GRACE` seconds to end by themselves and then kills what is left. A worker that ends
too early is told by its channel's end.
"""

import os
import resource
import signal
import socket
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.machine.files import can_unshare_files, cores
from floodtest.flyweight.processes.channel import Channel
from floodtest.flyweight.processes.launch import Program, launch, wait_for_end
from floodtest.flyweight.processes.nursery import MAX_DESCRIPTORS, MAX_PACKET

GRACE = 3.0
"""Seconds a worker has to end by itself."""

_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""numpy must not start threads in a process that forks; the C library need not keep a heap for each of our threads, of
which one works at a time."""

_PROCESS_ADDRESSES, _WORKER_ADDRESSES = 256 << 20, 64 << 20
"""Bytes of addresses that a process takes with what it imports, and a worker besides its stack, both rounded up. What a
worker takes is mostly the memory that a front shares with its router, which each front maps by itself."""

_STACK = 2 << 20
"""Bytes of a thread's stack where no limit says how many (pthread_create(3), on x86-64)."""


class _Process:
    """A process of workers."""

    def __init__(self) -> None:
        self.pid = 0
        self.exit_status: int | None = None
        self.forked = trio.Event()
        self.ended = trio.Event()


class Worker:
    """One worker: its number (its row in the ledger), its channel, its process."""

    def __init__(self, number: int, channel: Channel[Any], process: _Process) -> None:
        self.number = number
        self.channel = channel
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status of its process (negative: a signal), None while that runs."""
        return self._process.exit_status

    @property
    def ended(self) -> trio.Event:
        """Set when its process has ended."""
        return self._process.ended


class Workers:
    """The workers of one end, by number."""

    def __init__(self, control: socket.socket, nursery: Program) -> None:
        self._control = trio.socket.from_stdlib_socket(control)
        self._nursery = nursery
        self._processes: list[_Process] = []
        self._heard_all = trio.Event()
        self.all: list[Worker] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the nursery and of every process of workers that is alive."""
        return [self._nursery.pid, *(p.pid for p in self._processes if p.pid and not p.ended.is_set())]

    @property
    def nursery_status(self) -> int | None:
        """The exit status of the process that workers come from (negative: a signal), None while that runs."""
        return self._nursery.exit_status

    async def start(self, specifications: Sequence[bytes], receives: Any, shared: Sequence[int]) -> None:
        """Start a worker for each specification; return when their processes exist.

        `receives` is the union of messages that workers send; `shared` are descriptors that each of them gets.
        """
        count = _processes_for(specifications, len(shared))
        for first in range(count):
            await self._fork(range(first, len(specifications), count), specifications, receives, shared)
        self.all.sort(key=lambda worker: worker.number)
        for process in self._processes:
            await process.forked.wait()

    async def _fork(
        self, numbers: range, specifications: Sequence[bytes], receives: Any, shared: Sequence[int]
    ) -> None:
        """Ask for one process with these workers."""
        process = _Process()
        self._processes.append(process)
        with ExitStack() as sent:
            channels = []
            for number in numbers:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                channels.append(sent.enter_context(theirs).fileno())
                self.all.append(Worker(number, Channel(ours, receives), process))
            packet = msgspec.msgpack.encode([specifications[number] for number in numbers])
            await self._send(packet, [*channels, *shared])

    async def _send(self, packet: bytes, descriptors: list[int]) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))
        try:
            await self._control.sendmsg([packet], [rights])
        except OSError as error:
            raise WorkerFault(f"The process that workers come from is gone ({error.strerror}).") from error

    async def listen(self) -> None:
        """Keep the books of what was forked and what has ended; ends when the nursery does."""
        try:
            await self._keep_books()
        finally:
            self._heard_all.set()

    async def _keep_books(self) -> None:
        forked = 0
        while line := await self._receive():
            if line.startswith(b"+"):
                self._processes[forked].pid = int(line)
                self._processes[forked].forked.set()
                forked += 1
            else:
                pid, status = map(int, line[1:].split())
                process = next(p for p in self._processes if p.pid == pid)
                process.exit_status = status
                process.ended.set()
        for process in self._processes:  # the nursery takes all of them along
            if process.pid and not process.ended.is_set():  # its number may be another one's after that
                await wait_for_end(process.pid)
            process.forked.set()
            process.ended.set()

    async def _receive(self) -> bytes:
        try:
            return await self._control.recv(256)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        """Close the channels; wait for the workers to end; then have the nursery end what is left."""
        for worker in self.all:
            worker.channel.close()
        with trio.move_on_after(GRACE):
            for process in self._processes:
                await process.ended.wait()
        self._control.shutdown(socket.SHUT_WR)
        with trio.move_on_after(GRACE):
            await self._nursery.wait()
        self._kill()
        await self._nursery.wait()
        await self._heard_all.wait()  # trio may wake us before who reads the end of the socket that is closed here
        self._control.close()

    def _kill(self) -> None:
        for process in self._processes:
            if process.pid and not process.ended.is_set():
                with suppress(ProcessLookupError):  # it ended just now
                    os.kill(process.pid, signal.SIGKILL)
        self._nursery.kill()


def _processes_for(specifications: Sequence[bytes], shared: int) -> int:
    """Return how many processes the workers live in: as many as cores, or more where one can't have its part.

    That is where a packet can't carry it, and where a limit of addresses leaves no room for as many stacks. Refused
    where a packet can't even carry that of one worker.
    """
    workers = len(specifications)
    if not can_unshare_files():
        return workers
    header = 5  # bytes, of a msgpack list or string, at the most
    largest = max(map(len, specifications))
    if largest + 2 * header > MAX_PACKET:
        raise Refused(
            f"What a worker has to be told takes {largest >> 10:,} KiB, and {MAX_PACKET >> 10:,} KiB can be told: "
            "ask for fewer source addresses (--ips, or more connections --each), or for shorter texts."
        )
    most = min(MAX_DESCRIPTORS - shared, (MAX_PACKET - header) // (largest + header))
    most = min(most, _threads_that_fit())
    return min(workers, max(cores(), -(-workers // most)))


async def wait_while_moving(events: Iterable[trio.Event], moved: Callable[[], object], quiet: float) -> None:
    """Wait for all the events, but only as long as what `moved` returns changes at least every `quiet` seconds."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(_cancel_when_quiet, tasks.cancel_scope, moved, quiet)
        for event in events:
            await event.wait()
        tasks.cancel_scope.cancel()


async def _cancel_when_quiet(scope: trio.CancelScope, moved: Callable[[], object], quiet: float) -> None:
    last = moved()
    while True:
        await trio.sleep(quiet)
        before, last = last, moved()
        if last == before:
            scope.cancel()


def _threads_that_fit() -> int:
    """Return how many workers the addresses that a process may have are enough for."""
    addresses, stack = (resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_STACK))
    if addresses == resource.RLIM_INFINITY:
        return MAX_DESCRIPTORS
    each = _WORKER_ADDRESSES + (_STACK if stack == resource.RLIM_INFINITY else stack)
    return max(1, (addresses - _PROCESS_ADDRESSES) // each)


@asynccontextmanager
async def open_workers(module: str) -> AsyncIterator[Workers]:
    """Run a nursery for `module` (which has a `worker_main`) as long as the block lasts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        environment = {**os.environ, **_ENVIRONMENT}
        nursery = launch(
            "floodtest.flyweight.processes.nursery",
            str(theirs.fileno()),
            module,
            pass_fds=[theirs.fileno()],
            env=environment,
        )
    workers = Workers(ours, nursery)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(workers.listen)
        try:
            yield workers
        finally:
            with trio.CancelScope(shield=True):
                await workers.close()
