"""Worker processes: started in one call, spoken to over channels, gone when the block ends.

`async with open_workers("loadgen.client", ...) as workers` runs a nursery process (see `flyweight.nursery`) and forks
from it on demand. Leaving the block, in whatever way, closes the channels, gives workers `GRACE` seconds to end by
themselves and then kills what is left. A worker that ends too early is told to its owner by `Worker.ended`.
"""

import os
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from flyweight.channel import Channel
from flyweight.errors import WorkerFault

GRACE = 3.0
"""Seconds a worker has to end by itself."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy must not start threads in a process that forks."""


class Worker:
    """One worker process: its number (its row in the ledger), process id and channel."""

    def __init__(self, number: int, channel: Channel[Any]) -> None:
        self.number = number
        self.channel = channel
        self.pid = 0
        self.exit_status: int | None = None
        self.ended = trio.Event()


class Workers:
    """The workers of one end, in the order in which they were started."""

    def __init__(self, control: socket.socket, process: trio.Process) -> None:
        self._control = trio.socket.from_stdlib_socket(control)
        self._process = process
        self._forked: list[Worker] = []
        self._by_pid: dict[int, Worker] = {}
        self._changed = trio.Event()
        self.all: list[Worker] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the nursery process and of every worker that is alive."""
        return [self._process.pid, *(w.pid for w in self.all if w.pid and not w.ended.is_set())]

    async def start(self, specification: bytes, receives: Any, descriptors: Sequence[int] = ()) -> Worker:
        """Fork one worker; return when it exists. `receives` is the union of messages it may send."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = Worker(len(self.all), Channel(ours, receives))
        self.all.append(worker)
        self._forked.append(worker)
        with theirs:
            try:
                rights = array("i", [theirs.fileno(), *descriptors])
                await self._control.sendmsg([specification], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            except OSError as error:
                raise WorkerFault(f"the process that workers are forked from is gone ({error.strerror})") from error
        while not worker.pid and not worker.ended.is_set():
            await self._changed.wait()
        return worker

    async def listen(self) -> None:
        """Keep the books of who was forked and who has ended; ends when the nursery process does."""
        while line := await self._receive():
            if line.startswith(b"+"):
                worker = self._forked.pop(0)
                worker.pid = int(line)
                self._by_pid[worker.pid] = worker
            else:
                pid, status = map(int, line[1:].split())
                worker = self._by_pid.pop(pid)
                worker.exit_status = status
                worker.ended.set()
            self._changed.set()
            self._changed = trio.Event()
        for worker in self.all:
            worker.ended.set()
        self._changed.set()

    async def _receive(self) -> bytes:
        try:
            return await self._control.recv(256)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        """Close the channels; wait for the workers to end; then let the nursery process end them."""
        for worker in self.all:
            worker.channel.close()
        with trio.move_on_after(GRACE):
            for worker in self.all:
                await worker.ended.wait()
        self._control.shutdown(socket.SHUT_WR)
        with trio.move_on_after(GRACE):
            await self._process.wait()
        self.kill()
        await self._process.wait()
        self._control.close()

    def kill(self) -> None:
        """End everything at once."""
        for worker in self.all:
            if worker.pid and not worker.ended.is_set():
                _kill(worker.pid)
        self._process.kill()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it ended just now
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def open_workers(module: str) -> AsyncIterator[Workers]:
    """Run a nursery process for `module` (which has a `worker_main`) as long as the block lasts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = await trio.lowlevel.open_process(
            # -P: the folder a person happens to stand in is not where our modules are.
            [sys.executable, "-P", "-m", "flyweight.nursery", str(theirs.fileno()), module],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **_ONE_THREAD},
        )
    workers = Workers(ours, process)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(workers.listen)
        try:
            yield workers
        finally:
            with trio.CancelScope(shield=True):
                await workers.close()
