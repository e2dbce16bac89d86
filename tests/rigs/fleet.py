"""Hosts of a run without Dask: programs that are forked here, spoken to over their pipes as a relay does."""

import os
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio

from floodtest.flyweight.processes import launch
from floodtest.loadgen.cluster.carrier_messages import Machine, Start

HOST = "floodtest.loadgen.cluster.host"


class Piped:
    """What a carriage does, for `start.local` hosts on this machine; `hosts` are their processes."""

    def __init__(self, tasks: trio.Nursery) -> None:
        self._tasks = tasks
        self._send, self._receive = trio.open_memory_channel[tuple[int, bytes | str]](0)
        self.hosts: list[subprocess.Popen[bytes]] = []
        self._inputs: list[trio.lowlevel.FdStream] = []
        self._locks = defaultdict[int, trio.Lock](trio.Lock)
        self.cut: set[int] = set()
        """Hosts of which nothing comes any more, and to which nothing gets."""

    def end(self) -> None:
        """Kill what is left of the hosts."""
        for stream in self._inputs:
            stream.close()
        for process in self.hosts:
            process.kill()
            process.wait()

    async def start(self, order: Start) -> list[Machine]:
        count = order.local or 0
        for number in range(count):
            (orders, into), (out_of, answers) = os.pipe(), os.pipe()
            self.hosts.append(launch.launch(HOST, stdin=orders, stdout=answers)._process)
            os.close(orders)
            os.close(answers)
            self._inputs.append(trio.lowlevel.FdStream(into))
            self._tasks.start_soon(self._listen, number, trio.lowlevel.FdStream(out_of))
        return [Machine(f"pipe:{number}", f"h{number}") for number in range(count)]

    async def _listen(self, number: int, output: trio.lowlevel.FdStream) -> None:
        async with output:
            while data := await output.receive_some(1 << 16):
                if number not in self.cut:
                    await self._send.send((number, bytes(data)))
        status = await trio.to_thread.run_sync(self.hosts[number].wait)
        if number not in self.cut:
            await self._send.send((number, f"its process ended with status {status}"))

    async def send(self, number: int, data: bytes) -> None:
        if number not in self.cut:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # its output has ended as well
                async with self._locks[number]:
                    with trio.CancelScope(shield=True):
                        await self._inputs[number].send_all(data)

    async def carry(self, hear: Callable[[int, bytes], None], lose: Callable[[int, str], None]) -> str:
        async for number, what in self._receive:
            if isinstance(what, str):
                lose(number, what)
            else:
                hear(number, what)
        return "it was closed"


def piping(seen: list[Piped]) -> Callable[[], object]:
    """Return what takes the place of `carriage`; each one that is made is added to `seen`."""

    @asynccontextmanager
    async def carriage() -> AsyncIterator[Piped]:
        async with trio.open_nursery() as tasks:
            made = Piped(tasks)
            seen.append(made)
            try:
                yield made
            finally:
                made.end()
                tasks.cancel_scope.cancel()

    return carriage
