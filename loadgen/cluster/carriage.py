"""The carriage: how the controller of a run reaches its hosts, through a process that has the Dask client.

In: which cluster. Out: its machines, and a way to each of their hosts. The process is one of ours, is spoken to over a
pair of sockets, and ends in order when that is closed, however this one ends. Fails: Refused where there is no such
cluster, or no Dask; a process that ends takes all hosts along, which are lost then.
"""

import importlib.util
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.processes.channel import Message, decoder
from floodtest.flyweight.processes.launch import Program, how_it_ended, launch
from floodtest.loadgen.cluster.carrier_messages import (
    Found,
    FromCarrier,
    FromMachine,
    Gone,
    Machine,
    NotFound,
    Start,
    ToMachine,
)
from floodtest.loadgen.cluster.packets import Unpacker, pack

CLIENT = "floodtest.loadgen.cluster.dask_client"

END_SECONDS = 12.0
"""For the process to end a cluster that it has started."""

WRITE_SECONDS = 5.0
"""For a packet of some hundred bytes to be taken by that process."""

PIECE = 1 << 18


class Carriage:
    """A way to the hosts of a run, each known by its number among the machines found."""

    def __init__(self, stream: trio.SocketStream, process: Program, last_words: Callable[[], str]) -> None:
        self._stream = stream
        self._process = process
        self._last_words = last_words
        self._unpacker = Unpacker()
        self._decoder = decoder(FromCarrier)
        self._one_at_a_time = trio.Lock()
        self._waiting: list[bytes] = []

    async def start(self, order: Start) -> list[Machine]:
        """Find the machines of a cluster, and have hosts started there; Refused where that can't be."""
        await self._say(order)
        found = await self._receive()
        match found:
            case Found(machines=machines):
                return machines
            case NotFound(why=why):
                raise Refused(why)
        raise WorkerFault(f"The process with the client of Dask ended {await self._how_it_ended()}.")

    async def send(self, number: int, data: bytes) -> None:
        """Have bytes carried to a host."""
        await self._say(ToMachine(number, data))

    async def carry(self, hear: Callable[[int, bytes], None], lose: Callable[[int, str], None]) -> str:
        """Tell what comes of hosts, until nothing can come any more; return why, a part of a sentence."""
        while (message := await self._receive()) is not None:
            match message:
                case FromMachine(number=number, data=data):
                    hear(number, data)
                case Gone(number=number, why=why):
                    lose(number, why)
        return f"the process with the client of Dask ended {await self._how_it_ended()}"

    async def _say(self, message: Message) -> None:
        try:
            async with self._one_at_a_time:
                await self._write(pack(msgspec.msgpack.encode(message)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has ended, which is told by what it does not say any more

    async def _write(self, packet: bytes) -> None:
        """Write a packet as a whole: a stage that is cancelled must not leave half of one in the stream."""
        with trio.move_on_after(WRITE_SECONDS, shield=True) as scope:
            await self._stream.send_all(packet)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)  # it was stopped: it can't be told anything any more

    async def _receive(self) -> FromCarrier | None:
        while not self._waiting:
            try:
                data = await self._stream.receive_some(PIECE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._waiting = self._unpacker.feed(data)
        message: FromCarrier = self._decoder.decode(self._waiting.pop(0))
        return message

    async def _how_it_ended(self) -> str:
        with trio.move_on_after(1):
            await self._process.wait()
        words = self._last_words()
        return how_it_ended(self._process.exit_status) + (f": {words}" if words else "")


@asynccontextmanager
async def carriage() -> AsyncIterator[Carriage]:
    """A process with a Dask client as long as the block lasts; Refused where Dask is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise Refused("A cluster takes Dask, which is not installed: pip install 'floodtest[cluster]'.")
    ours, theirs = socket.socketpair()
    with open(os.memfd_create("errors"), "w+b") as errors:
        with theirs:
            # It hears by its socket that we are gone, and has a cluster to end then that it has started elsewhere.
            descriptor = theirs.fileno()
            process = launch(CLIENT, str(descriptor), pass_fds=[descriptor], stderr=errors, outlives_us=True)

        def last_words() -> str:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""

        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        try:
            yield Carriage(stream, process, last_words)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()
                with trio.move_on_after(END_SECONDS):
                    await process.wait()
                process.kill()
                await process.wait()
