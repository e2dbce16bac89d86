"""A front machine: the fronts of one machine, driven over a bus by a router on another, or by any other program.

In: a `Server` whose fronts are up, and its whereabouts. Out: what comes in the machine's channel is carried out in its
order: row frames and lines go to the fronts by way of a `Relay`, orders to a `Reporter`. The server's own router is not
run. Fails: Refused where the router has no place for this machine.
"""

import secrets
from collections.abc import Callable

import trio

from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.server_under_test.bus_options import BusAddress
from floodtest.server_under_test.cluster.dialogue import MACHINES, Figures, channel_of, read_order
from floodtest.server_under_test.cluster.figures import counters_of, tables_of, ticks_of
from floodtest.server_under_test.cluster.relay import Relay
from floodtest.server_under_test.cluster.reporter import Identity, Reporter
from floodtest.server_under_test.cluster.valkey_link import Link, Messages
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.wire.control import MALFORMED

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
        self._meter = ProcessMeter()
        self.link = Link(address, [channel_of(name), MACHINES], self._hear, self._joined, notice)
        identity = Identity(name, secrets.token_hex(LIFE), server.model, server.has_tls)
        self._reporter = Reporter(
            identity, whereabouts, self._relay, self._figures, server.send_tick, self.link.publish
        )

    async def run(self) -> None:
        """Report what becomes of this machine, until cancelled; the link is run by whoever has made this."""
        await self._reporter.run()

    async def say_goodbye(self) -> None:
        """Tell the router that this machine ends."""
        await self._reporter.say_goodbye()

    async def _joined(self) -> None:
        self._reporter.begin_anew()
        await trio.lowlevel.checkpoint()

    async def _hear(self, messages: Messages) -> None:
        """Carry out what came, in its order."""
        rows: list[bytes] = []
        for _, data in messages:
            if not data.startswith(b'{"'):
                rows.append(data)
                continue
            await self._take(rows)
            rows = []
            try:
                self._reporter.obey(read_order(data))
            except MALFORMED:
                self._relay.malformed += 1
        await self._take(rows)

    async def _take(self, rows: list[bytes]) -> None:
        if rows:
            await self._relay.take(rows)
            self._reporter.wake()

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
