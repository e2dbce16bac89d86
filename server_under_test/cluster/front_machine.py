"""A front machine: the fronts of one machine, driven over a bus by a router on another, or by any other program.

In: a `Server` whose fronts are up, and its whereabouts. Out: what comes in the machine's channel is carried out: row
frames and lines go to the fronts by way of a `Relay`, one after another, and a welcome, which says how many there have
been, takes its turn among them. All other orders go to a `Reporter` at once, so that a machine whose fronts are slow is
not taken for one that is silent. The server's own router is not run. Bounded: beyond `PENDING` bytes of frames nothing
more is heard before the fronts have been told of some. Fails: Refused where the router has no place for this machine.
"""

import secrets
from collections import deque
from collections.abc import Callable

import trio

from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.server_under_test.bus_options import BusAddress
from floodtest.server_under_test.cluster.dialogue import MACHINES, Figures, Welcome, channel_of, read_order
from floodtest.server_under_test.cluster.figures import counters_of, tables_of, ticks_of
from floodtest.server_under_test.cluster.relay import Relay
from floodtest.server_under_test.cluster.reporter import Identity, Reporter
from floodtest.server_under_test.cluster.valkey_link import BATCH, Link, Messages
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.wire.control import MALFORMED

PENDING = 1 << 22
"""Bytes: four windows of a router's frames, so that its orders are always heard."""

LIFE = 8
"""Bytes of the token that tells one start of a machine from another."""


class FrontMachine:
    """One machine's fronts, and what they are told over a bus."""

    def __init__(
        self,
        name: str,
        address: BusAddress,
        server: Server,
        whereabouts: SharedWhereabouts,
        notice: Callable[[str], None],
    ) -> None:
        self._server = server
        self._relay = Relay(whereabouts, server.turns)
        self._pending: deque[bytes | Welcome] = deque()
        self._pending_size = 0
        self._changed = trio.Event()
        self._meter = ProcessMeter()
        self.link = Link(address, [channel_of(name), MACHINES], self._hear, self._joined, notice)
        identity = Identity(name, secrets.token_hex(LIFE), server.model, server.has_tls)
        self._reporter = Reporter(
            identity, whereabouts, self._relay, self._figures, server.send_tick, self.link.publish
        )

    async def run(self) -> None:
        """Report what becomes of this machine, until cancelled; the link is run by whoever has made this."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._relay_on)
            tasks.start_soon(self._reporter.run)

    async def say_goodbye(self) -> None:
        """Tell the router that this machine ends."""
        await self._reporter.say_goodbye()

    async def _joined(self) -> None:
        self._reporter.begin_anew()
        await trio.lowlevel.checkpoint()

    async def _hear(self, messages: Messages) -> None:
        """Carry out orders, and keep what is for the relay; returns when there is room for more of that."""
        for _, data in messages:
            if not data.startswith(b'{"'):
                self._pending.append(data)
                self._pending_size += _size_of(data)
                continue
            try:
                order = read_order(data)
            except MALFORMED:
                self._relay.malformed += 1
                continue
            if isinstance(order, Welcome):
                self._pending.append(order)
            else:
                self._reporter.obey(order)
        self._change()
        while self._pending_size > PENDING:
            await self._changed.wait()

    async def _relay_on(self) -> None:
        """Have the fronts deliver what is pending."""
        while True:
            while not self._pending:
                await self._changed.wait()
            rows, welcome = self._take_pending()
            await self._relay.take(rows)
            self._pending_size -= sum(map(_size_of, rows))
            if welcome is None:
                self._reporter.wake()
            else:
                self._reporter.obey(welcome)
            self._change()

    def _take_pending(self) -> tuple[list[bytes], Welcome | None]:
        """Return the next frames and lines, and a welcome if it follows on them."""
        rows: list[bytes] = []
        while self._pending and len(rows) < BATCH:
            one = self._pending.popleft()
            if isinstance(one, Welcome):
                return rows, one
            rows.append(one)
        return rows, None

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _figures(self, came: dict[int, int]) -> Figures:
        """Return what all fronts of this machine have counted, and the relay."""
        server, relay = self._server, self._relay
        counters = counters_of(server.ledger)
        counters["undeliverable"] = counters.get("undeliverable", 0) + relay.missed
        self._meter.read(server.pids.all)
        return Figures(
            counters=counters,
            tables=tables_of(server.ledger),
            ticks=ticks_of(server.ledger, came),
            fronts=server.front_statuses,
            fronts_begun=server.fronts_begun,
            fronts_given_up=server.fronts_given_up,
            fronts_left_out=server.fronts_left_out,
            private=self._meter.private,
            extra=relay.extra,
            gaps=relay.gaps,
            malformed=relay.malformed,
        )


def _size_of(data: bytes) -> int:
    """Return what a frame takes as long as it is pending: an empty one something as well."""
    return len(data) + 64
