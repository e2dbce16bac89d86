"""What every client worker is given when it starts, whatever its model is, and how it tells of its ramp.

In: a specification, a channel and the shared descriptors, as `flyweight.processes.nursery` hands them to `worker_main`.
Out: a trio run of the model's `run` in this thread, which ends when that does. Fails: what can't be decoded or mapped
raises, which ends the worker, and its parent sees that.
"""

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.texts import Texts
from floodtest.flyweight.machine.core_files import forbid_core_files
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes.channel import Channel, decoder
from floodtest.loadgen.client.accounts import LEDGER, Accounts
from floodtest.loadgen.client.orders import Ready, Settled, Specification, Started, ToWorker
from floodtest.loadgen.plan.plan import Share
from floodtest.wire.poll_requests import Polls
from floodtest.wire.protocols import CLIENT_PROTOCOLS
from floodtest.wire.template import ADDRESS, LINE, Column, Requests

if TYPE_CHECKING:
    from floodtest.loadgen.client.securing import Securing


@dataclass(frozen=True)
class Shared:
    """One worker's view of its run."""

    spec: Specification
    channel: Channel[ToWorker]
    files_limit: int
    accounts: Accounts
    """Of its share: its row of the ledger, and its users' entries in the columns of the run record."""
    texts: Texts | None = None
    """The columns of --users that the request has placeholders for; None: it has none of them."""

    def requests(self) -> Requests:
        """Return what makes the requests of users."""
        return CLIENT_PROTOCOLS[self.spec.protocol].requests(self.spec.request, self._column)

    def polls(self) -> Polls | None:
        """Return what makes the polls of users, with a cursor for each descriptor; None: they do not poll."""
        polling = self.spec.polling
        return None if polling is None else Polls(self.spec.request, self._column, self.files_limit, polling)

    def sends(self) -> Requests | None:
        """Return what makes what users send once their answers have begun; None: nothing."""
        return CLIENT_PROTOCOLS[self.spec.protocol].sends(self.spec.request, self._column)

    def securing(self, requests: Requests) -> "Securing | None":
        """Return what speaks TLS, with what makes first requests; None: it is not spoken."""
        if self.spec.tls is None:
            return None
        # Not above: OpenSSL and its bindings take 15 MB of a process.
        from floodtest.loadgen.client.securing import Securing

        forbid_core_files()
        return Securing(self.spec.tls, self.files_limit, requests, self.accounts)

    def _column(self, name: str) -> Column:
        return column_of(name, self.spec.share, self.spec.columns, self.texts)


def column_of(name: str, share: Share, columns: Sequence[str], texts: Texts | None) -> Column:
    """Return what stands for a placeholder in the requests of a share's users; `texts` have those columns."""
    first_of_plan = share.first_user - share.before
    if name == LINE:
        return lambda users: [user - first_of_plan + 1 for user in users]
    if name == ADDRESS:
        return lambda users: [address.encode() for address in share.rows(users).addresses]
    assert texts is not None
    column, of_all = columns.index(name), texts
    return lambda users: of_all.column(column, [user - first_of_plan for user in users])


def be_worker(
    run: Callable[[Shared], Awaitable[None]], specification: bytes, sock: socket.socket, descriptors: list[int]
) -> None:
    """Run a client worker in this thread. The descriptors are the ledger, and users' texts where there are any."""
    spec = decoder(Specification).decode(specification)
    files_limit = raise_files_limit()
    ledger = Ledger(LEDGER, spec.workers, descriptors[0])
    share, row = spec.share, ledger.row(spec.worker)
    accounts = Accounts(spec.path, share.first_user, share.count, row, share.before, spec.stamps_ahead_ns)
    texts = None if spec.shape is None else Texts(descriptors[1], spec.shape)
    trio.run(run, Shared(spec, Channel[ToWorker](sock, ToWorker), files_limit, accounts, texts))


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
