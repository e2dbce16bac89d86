"""Message generators, open loop: each message has a planned time, carries it, and is published however late it is.

In: a schedule, a `comet serve` and its users. Out: `Generated`. What is due is posted every `PERIOD` seconds in one
batch, up to `POSTS` batches under way at a time; when the server holds them back, what falls due meanwhile waits for
the next batch and its lateness grows. Publishing ends `GRACE` after the planned seconds; what then is left is said to
be unpublished, as is what has no answer `PATIENCE` later. Fails: a server that refuses or is gone ends it, and the
outcome says so.
"""

import time
from collections.abc import Callable

import numpy as np
import trio

from floodtest.server_under_test.generator.schedule import Schedule, Times
from floodtest.wire import stamp
from floodtest.wire.control import GRACE, LATE, MAX_BATCH_BYTES, PUBLICATION_LINE, Generated
from floodtest.wire.control_client import ControlClient, ControlError

PERIOD = 0.02
"""Seconds between batches: each is a request, which takes milliseconds of CPU at both ends. A message waits for half of
it on average."""

POSTS = 4
BATCH = 2048
"""Messages of one batch at the most: what waits in the server is bounded by this and `POSTS`."""

PATIENCE = 10.0
"""Seconds to wait at the end for the answers under way."""

LINE = 100
"""Bytes of a line around its text, at the most."""


class Generator:
    """One run of the generators."""

    def __init__(
        self, control: ControlClient, schedule: Schedule, users: int, size: int, random: np.random.Generator
    ) -> None:
        self.outcome = Generated(planned=0, published=0, deliveries=0, late=0, most_behind=0.0, seconds=0.0, error=None)
        self._control = control
        self._schedule = schedule
        self._users = users
        self._filler = b"x" * (size - stamp.SIZE)
        self._most = min(BATCH, MAX_BATCH_BYTES // (size + LINE))
        self._random = random
        self._waiting = 0
        self._under_way = 0
        self._answered = trio.Event()
        self._began_ns = 0

    async def run(self, seconds: float, report: Callable[[Generated], None]) -> Generated:
        """Publish for so many seconds; `report` is called each second."""
        self._began_ns = time.monotonic_ns()
        async with trio.open_nursery() as posts:
            posts.start_soon(self._report_on, report)
            with trio.move_on_after(seconds + GRACE):
                while self.outcome.error is None:
                    elapsed = self._elapsed()
                    self._plan(min(elapsed, seconds))
                    while self._waiting and self._under_way < POSTS:
                        self._under_way += 1
                        posts.start_soon(self._post, self._take(self._most))
                    if elapsed >= seconds and not self._waiting:
                        break
                    await self._next_turn()
            self._give_up(seconds)
            with trio.move_on_after(PATIENCE) as waited:
                while self._under_way:
                    await self._answer()
            if waited.cancelled_caught and self.outcome.error is None:
                self.outcome.error = f"the server has not answered for {PATIENCE:.0f} s"
            posts.cancel_scope.cancel()
        self.outcome.seconds = round(self._elapsed(), 3)
        return self.outcome

    def _give_up(self, seconds: float) -> None:
        """Account for what is not published any more: it is as late as it has waited."""
        elapsed = self._elapsed()
        self._plan(min(elapsed, seconds))
        while self._waiting:
            self._be_late(elapsed - self._take(1 << 20))

    def _elapsed(self) -> float:
        return (time.monotonic_ns() - self._began_ns) / 1e9

    def _plan(self, until: float) -> None:
        due = self._schedule.plan(until)
        self.outcome.planned += due
        self._waiting += due

    def _take(self, most: int) -> Times:
        times = self._schedule.take(most)
        self._waiting -= len(times)
        return times

    def _be_late(self, seconds: Times) -> None:
        self.outcome.late += int(np.count_nonzero(seconds > LATE))
        self.outcome.most_behind = max(self.outcome.most_behind, round(float(seconds.max()), 6))

    async def _next_turn(self) -> None:
        """Wait for the next period, and when all posts are under way for an answer as well."""
        await trio.sleep(PERIOD - self._elapsed() % PERIOD)
        if self._under_way == POSTS:
            await self._answer()

    async def _answer(self) -> None:
        self._answered = trio.Event()
        await self._answered.wait()

    async def _post(self, planned: Times) -> None:
        body = self._body(planned)
        try:
            published = await self._control.publish(body, len(planned))
        except ControlError as error:
            self.outcome.error = error.brief
        else:
            self.outcome.published += published.messages
            self.outcome.deliveries += published.deliveries
        self._under_way -= 1
        self._answered.set()

    def _body(self, planned: Times) -> bytes:
        due = self._began_ns + (planned * 1e9).astype(np.int64)
        late = np.clip((time.monotonic_ns() - due) // 1000, 0, stamp.MAX_LATE_US)
        self._be_late(late / 1e6)
        subjects = self._random.integers(1, self._users, len(planned), endpoint=True)
        line = PUBLICATION_LINE.replace(b"%b", stamp.FORMAT + self._filler)
        return b"".join(map(line.__mod__, zip(subjects.tolist(), due.tolist(), late.tolist(), strict=True)))

    async def _report_on(self, report: Callable[[Generated], None]) -> None:
        while True:
            await trio.sleep(1)
            report(self.outcome)
