"""`python -m floodtest.loadgen.cluster.dask_client DESCRIPTOR`: the process that has the Dask client of a run.

Dask has an event loop of its own, so this process has it, and the controller of the run another one. In: a `Start` on
the socket of that descriptor, then bytes for hosts. Out: the workers there are, bytes from their hosts, and of each
host how it ended. At each worker there is a `Relay`, an actor of Dask, pinned to that worker's address: nobody else may
have it, and it is never made a second time. All goes over connections that Dask has anyway. It ends with the socket,
and with it a cluster that it has started.

Bounded: what is written for a host that takes nothing waits in a queue of `WAITING` pieces, behind which the host is
given up; of what hosts write nothing is read before the controller has taken what was read before.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import msgspec
from dask import config
from distributed import Client, LocalCluster, SSHCluster

from floodtest.flyweight.processes.channel import Message
from floodtest.loadgen.cluster.carrier_messages import (
    Found,
    FromMachine,
    Gone,
    Machine,
    NotFound,
    Start,
    ToCarrier,
    ToMachine,
)
from floodtest.loadgen.cluster.host_relay import Relay
from floodtest.loadgen.cluster.packets import HEADER, Unpacker, pack

CONNECT_SECONDS = 15.0

WAITING = 64
"""Pieces that wait for a host."""

END_SECONDS = 5.0
"""For each thing that is to be closed at the end."""

LONE_SECONDS = 30
"""For a worker by ssh to find its scheduler."""

PIECE = 1 << 18


class Carrier:
    """Carries bytes between the controller and the hosts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unpacker = Unpacker()
        self._decoder = msgspec.msgpack.Decoder(ToCarrier)
        self._queues: list[asyncio.Queue[bytes]] = []
        self._gone: set[int] = set()

    async def run(self) -> None:
        """Do all of it, until the controller closes the socket."""
        arriving = self._orders()
        start = await anext(arriving, None)
        if not isinstance(start, Start):
            return
        try:
            async with _cluster(start) as address, _client(address) as client:
                machines = await _machines(client, start)
                await self._say(Found(machines))
                await self._carry(client, machines, start.run, arriving)
        except _NotThere as error:
            await self._say(NotFound(str(error)))

    async def _carry(
        self, client: Any, machines: list[Machine], run: str, arriving: AsyncIterator[ToMachine | Start]
    ) -> None:
        self._queues = [asyncio.Queue(WAITING) for _ in machines]
        tasks = [
            asyncio.create_task(self._serve(client, number, machine, run)) for number, machine in enumerate(machines)
        ]
        async for order in arriving:
            if isinstance(order, ToMachine) and order.number not in self._gone:
                try:
                    self._queues[order.number].put_nowait(order.data)
                except asyncio.QueueFull:
                    await self._lose(order.number, "it takes no more orders")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_SECONDS)

    async def _serve(self, client: Any, number: int, machine: Machine, run: str) -> None:
        """Have a relay at a worker, and carry for its host, until that has ended."""
        try:
            made = client.submit(
                Relay,
                run,
                number,
                actor=True,
                workers=[machine.address],
                allow_other_workers=False,
                retries=0,
                pure=False,
            )
            relay = await made
            await relay.start()
            writing = asyncio.create_task(self._write(relay, number))
            try:
                await self._read(relay, number)
            finally:
                writing.cancel()
        except Exception as error:  # Dask raises what the worker did, and errors of its own of many kinds
            await self._lose(number, _in_words(error))

    async def _write(self, relay: Any, number: int) -> None:
        count = 0
        while True:
            count += 1
            await relay.take(count, await self._queues[number].get())

    async def _read(self, relay: Any, number: int) -> None:
        count = 0
        while number not in self._gone:
            count += 1
            data, ended = await relay.give(count)
            if data:
                await self._say(FromMachine(number, data))
            if ended is not None:
                await self._lose(number, f"its process ended {ended}", has_left=ended == "with status 0")

    async def _lose(self, number: int, why: str, has_left: bool = False) -> None:
        if number not in self._gone:
            self._gone.add(number)
            await self._say(Gone(number, why, has_left))

    async def _say(self, message: Message) -> None:
        with suppress(ConnectionError):  # the controller has gone, which the orders tell as well
            self._writer.write(pack(msgspec.msgpack.encode(message)))
            await self._writer.drain()

    async def _orders(self) -> AsyncIterator[Any]:
        with suppress(ConnectionError):
            while data := await self._reader.read(PIECE):
                for packet in self._unpacker.feed(data):
                    yield self._decoder.decode(packet)


class _NotThere(Exception):
    """The cluster can't be had."""


@asynccontextmanager
async def _cluster(start: Start) -> AsyncIterator[str]:
    """The address of a scheduler; of one that is started here as long as the block lasts."""
    if start.scheduler is not None:
        yield start.scheduler
        return
    cluster = None
    try:
        try:
            cluster = _begun(start)
            await cluster
        except Exception as error:  # asyncssh, Dask and the machines have each errors of their own
            raise _NotThere(f"The cluster could not be started: {_in_words(error)}.") from error
        yield cluster.scheduler_address
    finally:
        if cluster is not None:
            await _end(cluster.close)  # what of it has started, where some has not


def _begun(start: Start) -> Any:
    """Return a cluster that has begun to start."""
    if start.local is not None:
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=start.local,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            asynchronous=True,
            silence_logs=logging.CRITICAL,
        )
    # The first has the scheduler as well. A worker that meets no scheduler, where others could not be started, ends.
    hosts, options = [start.by_ssh[0], *start.by_ssh], {"death_timeout": LONE_SECONDS}
    return SSHCluster(hosts, worker_options=options, asynchronous=True)


@asynccontextmanager
async def _client(address: str) -> AsyncIterator[Any]:
    """A client of the scheduler at an address."""
    client: Any = Client(address, asynchronous=True, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    try:
        await client
    except (OSError, ValueError) as error:
        await _end(client.close)
        raise _NotThere(
            f"There is no scheduler of Dask at {address} ({_in_words(error)}). Is it up, and of the same version?"
        ) from error
    try:
        yield client
    finally:
        await _end(client.close)


async def _machines(client: Any, start: Start) -> list[Machine]:
    """Return the workers that there are, in a lasting order."""
    wanted = start.local or len(start.by_ssh) or 1
    with suppress(TimeoutError):
        await client.wait_for_workers(wanted, timeout=CONNECT_SECONDS)
    workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    if not workers:
        raise _NotThere(f"The scheduler at {client.scheduler.address} has no workers: start some with dask worker.")
    if len(workers) < wanted:
        raise _NotThere(f"Only {len(workers)} of {wanted} workers came up in {CONNECT_SECONDS:g} s. Try again.")
    named = [
        Machine(address, "" if str(found["name"]) == address else str(found["name"]))
        for address, found in workers.items()
    ]
    return sorted(named, key=lambda machine: (len(machine.name), machine.name, machine.address))


async def _end(close: Callable[..., Any]) -> None:
    """Close what may take long where others are gone; the end of this process closes it then."""
    with suppress(Exception):  # of whatever kind: there is nothing to be done about it any more
        await asyncio.wait_for(close(), END_SECONDS)


def _in_words(error: BaseException) -> str:
    """Return an error in one line."""
    if isinstance(error, FileExistsError):
        return "it has had this share of the run before"
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install floodtest[cluster] there, in the version that this machine has"
    if isinstance(error, (OSError, RuntimeError)) and "Actor" in str(error):  # whose words nobody here knows
        return "its worker of Dask has ended, or can't be reached any more"
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")


async def _main(descriptor: int) -> None:
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=sock, limit=PIECE + HEADER)
    await Carrier(reader, writer).run()
    writer.close()


def _start() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controller ends this process, in its order
    # A worker that is gone is told of by the controller; Dask would write about it for pages.
    logging.disable(logging.CRITICAL)
    config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"})
    asyncio.run(_main(int(sys.argv[1])))
    os._exit(0)  # without waiting for threads of Dask


if __name__ == "__main__":
    _start()
