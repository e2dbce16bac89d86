"""The head of a server whose fronts are on other machines: its router, its ticker, and what its control API asks for.

In: `ClusterOptions`, a link to the bus and a store. Out: a router whose turns go out to front machines, as
`server_under_test.cluster.machines` has them, and their figures, added up. It is what a `Server` is where fronts are
processes of this machine. There is no history: fronts ask for what clients have missed over a channel of their own
machine. Fails: nothing; a batch that is published while machines are gone goes to those that are there.
"""

import os
import secrets
from collections.abc import Callable, Sequence

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.server_under_test.cluster.dialogue import PLACES, ROUTER
from floodtest.server_under_test.cluster.machines import Machines
from floodtest.server_under_test.cluster.valkey_link import Link
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.ticker import Ticker
from floodtest.server_under_test.options import ClusterOptions
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from floodtest.wire.control import MachineFigures, ServerPids
from floodtest.wire.requests import MAX_USERS

LIFE = 8
"""Bytes of the token that tells one start of a router or a machine from another."""


class Head:
    """A router of front machines, as its control API sees it."""

    history = None
    replays = None

    def __init__(
        self,
        options: ClusterOptions,
        store: Store | None,
        notice: Callable[[str], None],
        here: Callable[[], ServerPids] | None = None,
    ) -> None:
        """`here` says which processes there are where all of the server is on this machine."""
        self._here = here
        self.token = options.token
        self.store = store
        slots = options.machines
        self.ledger = Ledger(FRONT_LEDGER, slots + 1)  # the last row counts what never reached a machine
        whereabouts = SharedWhereabouts(min(options.max_users, MAX_USERS), slots, PLACES)
        bus = SharedBus(slots)
        life = secrets.token_hex(LIFE)
        self.ticker = Ticker(options.tick, self._tick)
        columns = (self.ledger, whereabouts, bus)
        self._machines = Machines(
            life, slots, *columns, self._publish, self._bus_answers, self.ticker.number_behind, notice
        )
        progress = Progress(self._machines.written, self._machines.dealt_with.copy)
        self._turns = TurnWriter(bus, self._machines.tell, progress)
        self._router = Router(whereabouts, store, self._turns)
        self.link = Link(options.bus, [ROUTER], self._machines.hear, self._machines.joined, notice)

    async def run(self) -> None:
        """Route, tick, and speak to machines over the link, which is run by whoever has made this."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._machines.run)
            tasks.start_soon(self._router.run)
            tasks.start_soon(self.ticker.run)

    async def wait_for_a_machine(self) -> None:
        """Wait until a front machine is there."""
        await self._machines.wait_for_one()

    async def _publish(self, channel: str, message: bytes) -> int | None:
        return await self.link.publish(channel, message)

    async def _bus_answers(self) -> bool:
        return await self.link.answers()

    async def _tick(self, number: int) -> None:
        await self._machines.send_tick(number)

    @property
    def publisher(self) -> "Head":
        return self

    @property
    def messages(self) -> int:
        """Messages ever routed."""
        return self._router.messages

    @property
    def deliveries(self) -> int:
        """Connections they were sent to, those included that machines found when they got them."""
        return self._router.deliveries + sum(machine.extra for machine in self._machines.all)

    async def publish(self, subjects: Sequence[Subject], texts: Sequence[bytes]) -> int:
        """Route a batch, as `Router.publish` does, to all who have been welcomed until now."""
        await self._machines.sync()
        return await self._router.publish(subjects, texts)

    async def bring_up_to_date(self) -> None:
        """Ask the machines for figures of now; those of machines that do not answer are older."""
        await self._machines.sync(wants_figures=True)
        lost = sum(machine.outflow.lost for machine in self._machines.all)
        self.ledger.rows["undeliverable"][-1] = lost

    # What GET /stats says.

    @property
    def model(self) -> str:
        """The models of the machines that are there, several with commas between them."""
        models = {machine.hello.model for machine in self._machines.all if machine.hello is not None}
        return ",".join(sorted(models)) or "none"

    @property
    def has_tls(self) -> bool:
        return any(machine.hello is not None and machine.hello.has_tls for machine in self._machines.all)

    @property
    def pids(self) -> ServerPids:
        return ServerPids(os.getpid(), None, []) if self._here is None else self._here()

    @property
    def private_elsewhere(self) -> int:
        if self._here is not None:
            return 0
        return sum(machine.figures.private for machine in self._machines.there if machine.figures is not None)

    @property
    def front_statuses(self) -> list[int | None]:
        figures = [machine.figures for machine in self._machines.there if machine.figures is not None]
        return [status for of_machine in figures for status in of_machine.fronts]

    @property
    def fronts_begun(self) -> int:
        return sum(machine.figures.fronts_begun for machine in self._machines.there if machine.figures is not None)

    @property
    def fronts_given_up(self) -> int:
        """How often a machine was given up that had frames to take, and machines a front of theirs."""
        figures = [machine.figures for machine in self._machines.all if machine.figures is not None]
        return self._turns.fronts_given_up + sum(of_machine.fronts_given_up for of_machine in figures)

    @property
    def fronts_left_out(self) -> int:
        """How often a tick was sent without a machine, and by machines without a front of theirs."""
        figures = [machine.figures for machine in self._machines.all if machine.figures is not None]
        return self._machines.left_out + sum(of_machine.fronts_left_out for of_machine in figures)

    @property
    def machines(self) -> list[MachineFigures]:
        return [machine.show() for machine in self._machines.all]
