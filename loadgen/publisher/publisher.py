"""A publisher, open loop: each message has a planned time, carries it, and is published however late it is.

In: an `Order`. Out: `Generated`, whose deliveries are the connections that should get the messages. Each message is a
request of its own, up to `REQUESTS` under way; when the server holds them back, what falls due meanwhile waits and its
lateness grows. Publishing ends `GRACE` after the planned seconds; what is left then is said to be unpublished. Cost: a
millisecond of CPU a message, which is httpx's. Fails: what the server does not take is counted and named in the
outcome; when the first `HOPELESS` of them are all refused, the others are not tried.
"""

import math
import time
from collections import Counter

import httpx
import numpy as np
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.plan.pacer import steady
from floodtest.loadgen.plan.publication import Order
from floodtest.wire.control import Generated
from floodtest.wire.mark import mark

REQUESTS = 128
"""Requests under way at the most: what waits in the server is bounded by it."""

GRACE = 1.0
PATIENCE = 10.0
"""Seconds for one request, from connect to the end of its answer."""

LATE = 0.1
"""Seconds behind the plan from which a message counts as late."""

HOPELESS = 100

LOOK_SECONDS = 0.5
"""Between two looks at whose connections are open."""


class Publisher:
    """One run of a publisher."""

    def __init__(self, order: Order, client: httpx.AsyncClient, random: np.random.Generator) -> None:
        self.outcome = Generated(planned=0, published=0, deliveries=0, late=0, most_behind=0.0, seconds=0.0, error=None)
        self._order = order
        self._client = client
        self._random = random
        self._pacer = steady(order.rate)
        self._states = np.memmap(order.states, np.uint8, "r")
        self._open = np.flatnonzero(self._states == State.OPEN.value)
        self._looked = 0.0
        self._numbers: Counter[int] = Counter()
        """The last running number of each subject."""
        self._refused: Counter[str] = Counter()
        self._room = trio.Semaphore(REQUESTS)
        self._began = 0.0
        """By trio's clock; `_began_ns` by CLOCK_MONOTONIC, which messages carry."""
        self._began_ns = 0

    async def run(self) -> Generated:
        """Publish for the seconds of the order."""
        order, outcome = self._order, self.outcome
        self._began, self._began_ns = trio.current_time(), time.monotonic_ns()
        outcome.planned = math.ceil(order.rate * order.seconds)
        begun = 0
        with trio.move_on_after(order.seconds + GRACE + PATIENCE):
            async with trio.open_nursery() as requests:
                with trio.move_on_after(order.seconds + GRACE):
                    while begun < outcome.planned and not self._is_hopeless:
                        due = self._pacer.time_of(begun + 1)
                        await trio.sleep(max(0.0, due - self._elapsed()))
                        await self._room.acquire()
                        begun += 1
                        requests.start_soon(self._publish, due)
                left = outcome.planned - begun
                if left and not self._is_hopeless:
                    self._be_late(left, self._elapsed() - self._pacer.time_of(begun + 1))
        outcome.seconds = round(self._elapsed(), 3)
        outcome.error = self._complaint()
        return outcome

    @property
    def _is_hopeless(self) -> bool:
        return not self.outcome.published and self._refused.total() >= HOPELESS

    def _elapsed(self) -> float:
        return trio.current_time() - self._began

    def _be_late(self, count: int, seconds: float) -> None:
        if seconds > LATE:
            self.outcome.late += count
        self.outcome.most_behind = max(self.outcome.most_behind, round(seconds, 6))

    async def _publish(self, due: float) -> None:
        try:
            reach = self._reach()
            if reach == 0:
                self._refused["nobody is connected"] += 1
                return
            subject = 0 if self._order.to_all else self._order.first_user + int(self._random.choice(self._open))
            if cause := await self._post(subject, due):
                self._refused[cause] += 1
            else:
                self.outcome.published += 1
                self.outcome.deliveries += reach
        finally:
            self._room.release()

    def _reach(self) -> int:
        """Return how many connections should get a message now."""
        if self._elapsed() - self._looked > LOOK_SECONDS:
            self._open = np.flatnonzero(self._states == State.OPEN.value)
            self._looked = self._elapsed()
        return len(self._open) if self._order.to_all else min(1, len(self._open))

    async def _post(self, subject: int, due: float) -> str | None:
        """Publish one message; return why the server did not take it, None if it did."""
        request = self._order.request
        self._numbers[subject] += 1
        behind = max(0.0, self._elapsed() - due)
        planned_ns = self._began_ns + int(due * 1e9)
        text = mark(self._order.run, self._numbers[subject], planned_ns, int(behind * 1e6))
        text += " " + "x" * (self._order.size - len(text) - 1) if len(text) < self._order.size else ""
        self._be_late(1, behind)

        def filled(form: str) -> str:
            return form.replace("{user}", str(subject)).replace("{message}", text)

        try:
            answer = await self._client.request(
                request.method,
                filled(request.url),
                headers=[(name, filled(value)) for name, value in request.headers],
                content=filled(request.body).encode(),
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return None if answer.is_success else f"it answered {answer.status_code} {answer.reason_phrase}".rstrip()

    def _complaint(self) -> str | None:
        if not self._refused:
            return None
        causes = "; ".join(f"{count:,} x {cause}" for cause, count in self._refused.most_common(3))
        return f"{counted(self._refused.total(), 'messages')} could not be published: {causes}"


async def publish(order: Order) -> Generated:
    """Carry out an order."""
    limits = httpx.Limits(max_connections=REQUESTS, max_keepalive_connections=REQUESTS)
    async with httpx.AsyncClient(limits=limits, timeout=PATIENCE, trust_env=False) as client:
        return await Publisher(order, client, np.random.default_rng()).run()
