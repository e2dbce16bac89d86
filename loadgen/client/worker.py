"""What every client worker is given when it starts, whatever its model is, and how it tells of its ramp.

In: a specification, a channel and the shared descriptors, as `flyweight.processes.nursery` hands them to `worker_main`.
Out: a trio run of the model's `run` in this thread, which ends when that does. Fails: what can't be decoded or mapped
raises, which ends the worker, and its parent sees that.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes.channel import Channel, decoder
from floodtest.loadgen.client.accounts import LEDGER, Accounts
from floodtest.loadgen.client.orders import Ready, Settled, Specification, Started, ToWorker


@dataclass(frozen=True)
class Shared:
    """One worker's view of its run."""

    spec: Specification
    channel: Channel[ToWorker]
    files_limit: int
    accounts: Accounts
    """Of its share: its row of the ledger, and its users' entries in the columns of the run record."""


def be_worker(
    run: Callable[[Shared], Awaitable[None]], specification: bytes, sock: socket.socket, descriptors: list[int]
) -> None:
    """Run a client worker in this thread; the one descriptor is the ledger."""
    spec = decoder(Specification).decode(specification)
    files_limit = raise_files_limit()
    ledger = Ledger(LEDGER, spec.workers, descriptors[0])
    share, row = spec.share, ledger.row(spec.worker)
    accounts = Accounts(spec.path, share.first_user, share.count, row, share.before)
    trio.run(run, Shared(spec, Channel[ToWorker](sock, ToWorker), files_limit, accounts))


class Ramping(Protocol):
    """Who opens the connections of a share, whether by the column or in another way."""

    started: trio.Event
    settled: trio.Event

    @property
    def in_flight(self) -> int: ...


async def report(channel: Channel[ToWorker], client: Ramping) -> None:
    """Tell the parent how far the ramp has come."""
    await channel.send(Ready())
    await client.started.wait()
    await channel.send(Started(client.in_flight))
    await client.settled.wait()
    await channel.send(Settled())
