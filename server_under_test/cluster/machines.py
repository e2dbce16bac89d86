"""The front machines of a router: who is there, who is connected where, and what each of them is sent.

In: what machines say (`hear`), turns on the router's bus (`tell`), ticks. Out: orders and row frames in the machines'
channels; the router's whereabouts, in which a machine is a front and a place of it a descriptor; a ledger with a row a
machine. Each machine has a slot, which it keeps as long as the router runs; who comes when there is no slot left is
refused. What machines tell of logins is behind by what the way takes, so that `sync` asks them, before a batch is
routed, for all that they have welcomed until then: who publishes after a client was welcomed reaches it, as on one
machine.

Bounded: by the slots, by the window of each machine's frames, by one report, one sync and one tick under way to and
from each. A machine that does not answer a sync within `SYNC_SECONDS` is not waited for again before it has; one
without a report for `TICK_SILENCE` is left out of ticks until it has written the last one; one without a report for
`SILENCE_SECONDS` is given up, if the bus itself answers: its connections count as lost until it is there again, and
nobody else waits. Fails: nothing; what is none of the dialogue is counted and passed over.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.engine.ledger import TICKS, Ledger
from floodtest.server_under_test.bus_options import MACHINE_NAME
from floodtest.server_under_test.cluster import dialogue
from floodtest.server_under_test.cluster.dialogue import (
    PLACES,
    SILENCE_SECONDS,
    Figures,
    Goodbye,
    Heard,
    Hello,
    Order,
    Refusal,
    Report,
    Sync,
    Tick,
    Welcome,
    Who,
    channel_of,
)
from floodtest.server_under_test.cluster.figures import MachineRow
from floodtest.server_under_test.cluster.outflow import Outflow
from floodtest.server_under_test.cluster.valkey_link import Messages
from floodtest.server_under_test.routing.bus import Deliver, FrontBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.whereabouts import Column
from floodtest.wire.control import MALFORMED, MachineFigures

SYNC_SECONDS = 0.25

TICK_SILENCE = 2.0

WATCH_SECONDS = 0.25
"""Between two looks at who is silent."""


class Machine:
    """One front machine, in its slot."""

    def __init__(self, name: str, slot: int, outflow: Outflow, row: MachineRow) -> None:
        self.name = name
        self.slot = slot
        self.outflow = outflow
        self.row = row
        self.hello: Hello | None = None
        """That of its session; None: it has none."""
        self.has_reported = False
        """Whether it has heard that its session has begun."""
        self.is_given_up = False
        self.at_stake = 0
        """Connections that it had when the last session ended, and that the next one has not told of yet."""
        self.life = ""
        self.heard = 0.0
        """When it last reported, or could not be heard."""
        self.answers = True
        """Whether it is waited for when all are asked: it has said something since it left such a wait in vain."""
        self.synced = self.asked_to_sync = self.asked_before = 0
        """Syncs: the last one answered, the last one asked, and of those the last before its session began."""
        self.ticked = self.asked_to_tick = 0
        self.figures: Figures | None = None
        self.times_lost = self.connections_lost = 0
        self.extra_before = self.gaps_before = self.malformed_before = 0

    @property
    def is_there(self) -> bool:
        return self.hello is not None and self.has_reported

    def forget_start(self) -> None:
        """Keep what the start of the machine that ends here has counted."""
        self.row.begin()
        if self.figures is not None:
            self.extra_before += self.figures.extra
            self.gaps_before += self.figures.gaps
            self.malformed_before += self.figures.malformed
            self.figures = None

    @property
    def extra(self) -> int:
        """Deliveries to connections that were not known when their frame was sent."""
        return self.extra_before + (0 if self.figures is None else self.figures.extra)

    def show(self) -> MachineFigures:
        """Return what GET /stats says of it."""
        figures = self.figures
        return MachineFigures(
            name=self.name,
            is_there=self.is_there,
            connections=self.row.connections,
            times_lost=self.times_lost,
            connections_lost=self.connections_lost,
            frames=self.outflow.frames,
            gaps=self.gaps_before + (0 if figures is None else figures.gaps),
            malformed=self.malformed_before + (0 if figures is None else figures.malformed),
            rows_lost=self.outflow.lost,
            in_window=self.outflow.in_window,
            fronts=[] if figures is None else figures.fronts,
        )


class Machines:
    """All front machines of a router, by slot."""

    def __init__(
        self,
        life: str,
        slots: int,
        ledger: Ledger,
        whereabouts: SharedWhereabouts,
        bus: FrontBus,
        publish: Callable[[str, bytes], Awaitable[int | None]],
        bus_answers: Callable[[], Awaitable[bool]],
        had_tick: Callable[[int], object],
        notice: Callable[[str], None],
    ) -> None:
        """`ledger` has a row for each slot; `publish` says something in a channel; `had_tick` is told the number of a
        tick that a machine has had, be it of an earlier router.
        """
        self._life = life
        self._slots = slots
        self._ledger = ledger
        self._whereabouts = whereabouts
        self._bus = bus
        self._publish = publish
        self._bus_answers = bus_answers
        self._had_tick = had_tick
        self._notice = notice
        self._tasks: trio.Nursery | None = None
        self._by_name: dict[str, Machine] = {}
        self._news = trio.Event()
        self._sync_begun = self._sync_ended = 0
        self._wants_figures = False  # in the next round
        self._tick_sent: dict[int, int] = {}
        self.written, self.dealt_with = np.zeros((2, slots), np.int64)
        """Columns for a `Progress`."""
        self.malformed = 0
        """Words of machines that were none."""
        self.left_out = 0
        """How often a tick was sent without a machine that had not written the one before."""
        self.all: list[Machine] = []
        """By slot."""

    @property
    def there(self) -> list[Machine]:
        return [machine for machine in self.all if machine.is_there]

    async def run(self) -> None:
        """Send machines what is for them, and give up those that are silent, until cancelled."""
        async with trio.open_nursery() as self._tasks:
            while True:
                await trio.sleep(WATCH_SECONDS)
                if self._silent and await self._is_bus_there():
                    for machine in self._silent:
                        self._give_up(machine)

    @property
    def _silent(self) -> list[Machine]:
        """Those that have said nothing for too long, and are not given up yet."""
        last = trio.current_time() - SILENCE_SECONDS
        return [one for one in self.all if one.hello is not None and not one.is_given_up and one.heard < last]

    async def _is_bus_there(self) -> bool:
        """Return whether the bus answers at once; if not, nobody can be heard, and the silence begins anew."""
        began = trio.current_time()
        is_there = await self._bus_answers() and trio.current_time() - began < WATCH_SECONDS
        if not is_there:
            for machine in self.all:
                machine.heard = trio.current_time()
        return is_there

    def tell(self, slot: int, order: Deliver) -> None:
        """Tell the outflow of a slot that there are turns for it."""
        self.all[slot].outflow.tell(order)

    async def joined(self) -> None:
        """Begin anew with all machines, as what was said to them, or by them, may be lost."""
        now = trio.current_time()
        for machine in self.all:
            machine.heard = now  # nobody could be heard until now
            machine.outflow.end_session()
        await self._publish(dialogue.MACHINES, dialogue.encode(Who()))

    async def hear(self, messages: Messages) -> None:
        """Take in what machines say."""
        for _, data in messages:
            try:
                word, places, users = dialogue.read_word(data)
            except MALFORMED:
                self.malformed += 1
                continue
            match word:
                case Hello():
                    await self._greet(word)
                case Report():
                    await self._take_report(word, places, users)
                case Goodbye(machine=name, session=session):
                    machine = self._by_name.get(name)
                    if machine is not None and machine.hello is not None and machine.hello.session == session:
                        self._leave(machine)
                        machine.is_given_up, machine.at_stake = True, 0
                        self._notice(f"the front machine {name} has ended")

    async def _greet(self, hello: Hello) -> None:
        """Begin a session with a machine, or refuse it."""
        machine = self._by_name.get(hello.machine)
        if machine is None:
            if (problem := self._problem_of(hello)) is not None:
                await self._say(hello.machine, Refusal(hello.session, problem))
                return
            machine = self._make(hello.machine)
        if machine.hello is None or machine.hello.session != hello.session:
            machine.at_stake += self._leave(machine)
            machine.hello, machine.answers = hello, True
            machine.synced, machine.asked_before = -1, machine.asked_to_sync
        outflow = machine.outflow
        await self._say(machine.name, Welcome(hello.session, self._life, outflow.frames, outflow.deliveries))

    def _begin_session(self, machine: Machine, hello: Hello) -> None:
        """Begin with a machine that has heard its welcome, as its first report says."""
        if machine.life != hello.life:
            machine.forget_start()
        if machine.life != hello.life or machine.is_given_up:
            self._notice(f"the front machine {machine.name} is there")
        machine.life = hello.life
        machine.has_reported, machine.is_given_up, machine.at_stake = True, False, 0
        machine.ticked = machine.asked_to_tick = hello.last_tick
        self._had_tick(hello.last_tick)
        machine.outflow.begin_session(hello.router == self._life)

    def _problem_of(self, hello: Hello) -> str | None:
        """Return why a machine that is new has no place here, None if it has one."""
        if MACHINE_NAME.fullmatch(hello.machine) is None:
            return f"{hello.machine[:60]!r} is no name of a machine"
        if hello.places > PLACES:
            return f"it has {hello.places:,} places for connections, and {PLACES:,} are the most"
        if len(self.all) >= self._slots:
            return f"the router has room for {self._slots} machines: start it with a larger --machines"
        return None

    def _make(self, name: str) -> Machine:
        """Give a slot to a machine that was never there before."""
        slot = len(self.all)
        publish = partial(self._publish, channel_of(name))
        outflow = Outflow(self._bus, slot, publish, self.written, self.dealt_with)
        machine = self._by_name[name] = Machine(name, slot, outflow, MachineRow(self._ledger.row(slot)))
        machine.heard = trio.current_time()
        self.all.append(machine)
        assert self._tasks is not None, "machines are heard while they run"
        self._tasks.start_soon(outflow.run)
        return machine

    async def _take_report(self, report: Report, places: Column, users: Column) -> None:
        machine = self._by_name.get(report.machine)
        if machine is None or machine.hello is None or machine.hello.session != report.session:
            if MACHINE_NAME.fullmatch(report.machine) is not None:
                await self._say(report.machine, Who())  # it does not know that we do not know it
            return
        machine.heard, machine.answers = trio.current_time(), True
        if not machine.has_reported:
            self._begin_session(machine, machine.hello)
        machine.outflow.acknowledge(report.frame)
        known = places < min(machine.hello.places, PLACES)
        if known.any():
            self._whereabouts.of_front(machine.slot).login(places[known], users[known])
        machine.ticked = report.ticked
        if report.figures is not None:
            machine.figures = report.figures
            machine.row.take(report.figures, self._tick_sent)
        if report.is_whole:
            machine.synced = max(report.synced, machine.asked_before)
        self._change()
        await self._say(machine.name, Heard(report.session, report.number))

    async def _say(self, machine: str, order: Order) -> None:
        await self._publish(channel_of(machine), dialogue.encode(order))

    def _leave(self, machine: Machine) -> int:
        """Let nobody be connected to a machine; return how many were."""
        machine.hello, machine.has_reported = None, False
        machine.outflow.end_session()
        machine.row.lose()
        self._change()
        return self._whereabouts.forget_front(machine.slot)

    def _give_up(self, machine: Machine) -> None:
        """Give a machine up that is silent."""
        count = self._leave(machine) + machine.at_stake
        machine.is_given_up, machine.at_stake = True, 0
        machine.times_lost += 1
        machine.connections_lost += count
        self._notice(
            f"the front machine {machine.name} has said nothing for {SILENCE_SECONDS:.0f} s and is given up; "
            f"lost until it is there again: {counted(count, 'connections')}"
        )

    def _change(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # What all machines are asked for.

    async def sync(self, wants_figures: bool = False) -> None:
        """Have all machines tell what has changed until now; those that do not answer are not waited for for long.

        Several who ask at a time wait for one round, the first that begins after they have asked.
        """
        wanted = self._sync_begun + 1
        self._wants_figures |= wants_figures
        while self._sync_ended < wanted:
            if self._sync_begun > self._sync_ended:
                await self._news.wait()
            else:
                await self._hold_sync()

    async def _hold_sync(self) -> None:
        self._sync_begun += 1
        number, wants_figures, self._wants_figures = self._sync_begun, self._wants_figures, False
        try:
            asked = [machine for machine in self.all if machine.hello and machine.answers]
            for machine in asked:
                machine.asked_to_sync = number
            with trio.move_on_after(SYNC_SECONDS) as patience:
                for machine in asked:
                    await self._say(machine.name, Sync(number, wants_figures))
                while any(machine.hello and machine.synced < number for machine in asked):
                    await self._news.wait()
            if patience.cancelled_caught:
                for machine in asked:
                    machine.answers = machine.synced >= number
        finally:  # whoever asked may be cancelled; others still wait for this round
            self._sync_ended = number
            self._change()

    async def wait_for_one(self) -> None:
        """Wait until a machine is there."""
        while not self.there:
            await self._news.wait()

    async def send_tick(self, number: int) -> None:
        """Have all machines write a tick; return when they have, or are not waited for."""
        self._tick_sent[number] = time.monotonic_ns()
        self._tick_sent.pop(number - TICKS, None)
        there = self.there
        asked = [machine for machine in there if machine.ticked >= machine.asked_to_tick]
        self.left_out += len(there) - len(asked)
        for machine in asked:
            machine.asked_to_tick = number
            await self._say(machine.name, Tick(number))
        while any(self._is_writing(machine, number) for machine in asked):
            with trio.move_on_after(WATCH_SECONDS):
                await self._news.wait()

    def _is_writing(self, machine: Machine, number: int) -> bool:
        """Return whether a machine is to be waited for: it writes a tick, and says something now and then."""
        is_asked = machine.is_there and machine.asked_to_tick == number and machine.ticked < number
        return is_asked and trio.current_time() - machine.heard <= TICK_SILENCE
