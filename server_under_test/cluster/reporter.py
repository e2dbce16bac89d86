"""A reporter: tells the router what becomes of a front machine, and takes its orders.

In: the whereabouts of this machine's fronts, whose changes it hears, their figures, the relay's counts, and orders of
the router. Out: a hello until the router answers, then reports, one at a time, each with up to `CHANGES` logins and
logouts in the order in which they were found. At a sync all is looked up that has changed, and told at once.
A report that is not heard in time, and a router that asks who is there, begin a session anew, with all connections.

Bounded: one report under way; changes are kept only within a session. Fails: Refused where the router has no place for
this machine. While the bus or the router is gone nothing is lost here but what the router knows; connections stay.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import trio

from floodtest.flyweight.engine.ledger import TICKS
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.cluster.dialogue import (
    CHANGES,
    HELLO_SECONDS,
    REPORT_SECONDS,
    ROUTER,
    UNHEARD_SECONDS,
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
    encode,
    encode_report,
)
from floodtest.server_under_test.cluster.relay import Relay
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.whereabouts import Column

LOOK_SECONDS = 0.1
"""Between two looks at who has come and gone, where nobody asks."""


@dataclass(frozen=True)
class Identity:
    """What a machine says of itself."""

    name: str
    life: str
    """Of this start."""
    model: str
    has_tls: bool


class Reporter:
    """One machine's end of the dialogue; `publish` says something in a channel, `figures` makes those of the fronts."""

    def __init__(
        self,
        identity: Identity,
        whereabouts: SharedWhereabouts,
        relay: Relay,
        figures: Callable[[dict[int, int]], Figures],
        send_tick: Callable[[int], Awaitable[None]],
        publish: Callable[[str, bytes], Awaitable[int | None]],
    ) -> None:
        self._identity = identity
        self._whereabouts = whereabouts
        self._relay = relay
        self._figures = figures
        self._send_tick = send_tick
        self._publish = publish
        self._sessions = 0
        self._session = ""
        self._is_welcomed = self._is_over = False
        self._refusal: str | None = None
        self._heard = 0  # the number of the last report that was
        self._sync = self._synced = 0
        self._owes_figures = False
        self._wanted_tick = self._ticked = self._told_ticked = 0
        self._told_frame = 0
        self._came: dict[int, int] = {}  # when the order for each tick did
        self._changes: list[tuple[Column, Column]] = []
        self._news = trio.Event()

    def obey(self, order: Order) -> None:
        """Take an order of the router; frames that came before it have been dealt with."""
        match order:
            case Welcome(session=session) if session == self._session and not self._is_welcomed:
                self._is_welcomed = True
                self._relay.begin(order)
            case Refusal(session=session, reason=reason) if session == self._session:
                self._refusal = reason
            case Heard(session=session, number=number) if session == self._session:
                self._heard = number
            case Who():
                self._is_over = True
            case Sync(number=number, wants_figures=wants_figures):
                self._sync = number
                self._owes_figures |= wants_figures
            case Tick(number=number) if number > self._wanted_tick:
                self._came[number] = time.monotonic_ns()
                self._came.pop(number - TICKS, None)
                self._wanted_tick = number
            case _:
                return  # it is for an earlier session
        self._change()

    def wake(self) -> None:
        """Look whether there is something to report: the relay has dealt with frames."""
        self._change()

    def begin_anew(self) -> None:
        """Say hello again, as something that was said may be lost."""
        self._is_over = True
        self._change()

    async def run(self) -> None:
        """Say hello and report, until cancelled."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._tick_on)
            while True:
                await self._say_hello()
                await self._report_on()
                self._whereabouts.changed = None

    async def say_goodbye(self) -> None:
        """Tell the router that this machine ends."""
        await self._publish(ROUTER, encode(Goodbye(self._identity.name, self._session)))

    async def _tick_on(self) -> None:
        """Have ticks written, one at a time; of several that were asked for meanwhile, the last."""
        while True:
            while self._ticked >= self._wanted_tick:
                await self._news.wait()
            number = self._wanted_tick
            await self._send_tick(number)
            self._ticked = number
            self._change()

    async def _say_hello(self) -> None:
        """Begin a session; returns when the router has answered."""
        one = self._identity
        self._sessions += 1
        self._session = f"{one.life}.{self._sessions}"
        self._is_welcomed = self._is_over = False
        self._heard = self._sync = self._synced = 0
        places = self._whereabouts.places
        router = self._relay.router
        hello = Hello(one.name, self._session, one.life, router, places, self._wanted_tick, one.model, one.has_tls)
        while not self._is_welcomed:
            await self._publish(ROUTER, encode(hello))
            with trio.move_on_after(HELLO_SECONDS):
                while not self._is_welcomed:
                    if self._refusal is not None:
                        raise Refused(f"The router takes no front machine {one.name}: {self._refusal}.")
                    await self._news.wait()
        await self._catch_up()
        self._changes = [self._whereabouts.everybody()]
        self._whereabouts.changed = self._note

    def _note(self, places: Column, users: Column) -> None:
        self._changes.append((places, users))

    async def _catch_up(self) -> None:
        for _ in self._whereabouts.catch_up():
            await trio.lowlevel.checkpoint()

    async def _report_on(self) -> None:
        """Send reports until a new session is to begin."""
        number, last_figures = 0, -REPORT_SECONDS
        while not self._is_over:
            sync = self._sync  # before looking: what is asked for while looking is another report's
            await self._catch_up()
            now = trio.current_time()
            if not (self._changes or self._has_news() or now - last_figures >= REPORT_SECONDS):
                with trio.move_on_after(LOOK_SECONDS):
                    await self._news.wait()
                continue
            places, users = self._take_changes()
            is_due = now - last_figures >= REPORT_SECONDS or self._owes_figures or self._ticked != self._told_ticked
            figures = self._figures(self._came) if is_due else None
            if is_due:
                last_figures, self._owes_figures = now, False
            number += 1
            one, frame, ticked, is_whole = self._identity.name, self._relay.frame, self._ticked, not self._changes
            report = Report(one, self._session, number, frame, sync, is_whole, ticked, figures)
            self._told_frame, self._told_ticked = frame, ticked
            self._synced = sync if is_whole else self._synced
            await self._publish(ROUTER, encode_report(report, places, users))
            with trio.move_on_after(UNHEARD_SECONDS):
                while self._heard < number and not self._is_over:
                    await self._news.wait()
            self._is_over |= self._heard < number

    def _has_news(self) -> bool:
        """Return whether there is something that the router waits for."""
        return self._sync != self._synced or self._relay.frame != self._told_frame or self._ticked != self._told_ticked

    def _take_changes(self) -> tuple[Column, Column]:
        """Return the next changes; what is too much for one report stays."""
        if not self._changes:
            return np.zeros(0, np.uint32), np.zeros(0, np.uint32)
        places, users = (np.concatenate(columns) for columns in zip(*self._changes, strict=True))
        rest = places[CHANGES:], users[CHANGES:]
        self._changes = [rest] if len(rest[0]) else []
        return places[:CHANGES], users[:CHANGES]

    def _change(self) -> None:
        self._news.set()
        self._news = trio.Event()
