"""A publisher, open loop: each message has a planned time, carries it, and is published however late it is.

In: an `Order`. Out: `Generated`, whose deliveries are the connections that should get the messages. Each message is a
request of its own, up to `REQUESTS` under way; when the server holds them back, what falls due meanwhile waits and its
lateness grows. Publishing ends `GRACE` after the planned seconds; what is left then is said to be unpublished. Cost: a
millisecond of CPU a message, which is httpx's. Fails: what the server does not take is counted and named in the
outcome, and so is, apart from it, what may have been taken; when the first `HOPELESS` are all refused, the others are
not tried.
"""

import math
import ssl
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

import httpx
import numpy as np
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.client.kept_answers import visible
from floodtest.loadgen.plan.pacer import steady
from floodtest.loadgen.plan.publication import Order
from floodtest.loadgen.publisher.remedies import remedy_of
from floodtest.wire.control import GRACE, LATE, Generated
from floodtest.wire.mark import EVERYBODY, mark
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.failures import cause_of

REQUESTS = 128
"""Requests under way at the most: what waits in the server is bounded by it."""

PATIENCE = 10.0
"""Seconds from the beginning of a request to the head of its answer."""

BODY_SECONDS = 1.0
"""Seconds in which the body of an answer is read; the connection ends after it."""

SHOWN = 100
"""Bytes of the body of an answer that are shown, where it refuses a message: it may say why."""

HOPELESS = 100

SAY_SECONDS = 0.5
LOOK_SECONDS = 0.5
"""Between two looks at whose connections are open."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol)


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
        self._unknown: Counter[str] = Counter()
        self._words: dict[str, str] = {}
        """The beginning of the first answer of each status that refuses a message; there are a few hundred of them."""
        self._room = trio.Semaphore(REQUESTS)
        self._began = 0.0
        """By trio's clock; `_began_ns` by CLOCK_MONOTONIC, which messages carry."""
        self._began_ns = 0

    async def run(self, say: Callable[[Generated], None] = lambda outcome: None) -> Generated:
        """Publish for the seconds of the order, and say twice a second how far that has come."""
        order, outcome = self._order, self.outcome
        self._began, self._began_ns = trio.current_time(), time.monotonic_ns()
        outcome.planned = math.ceil(order.rate * order.seconds)
        async with trio.open_nursery() as beside:
            beside.start_soon(self._say_on, say)
            async with trio.open_nursery() as requests:
                begun = await self._begin_all(requests)
                if begun < outcome.planned and not self._is_hopeless:
                    self._be_late(outcome.planned - begun, self._elapsed() - self._pacer.time_of(begun + 1))
            beside.cancel_scope.cancel()
        outcome.seconds = round(self._elapsed(), 3)
        outcome.error = self._complaint()
        return outcome

    async def _begin_all(self, requests: trio.Nursery) -> int:
        """Begin requests as they fall due and as there is room; return how many were begun in time."""
        begun = 0
        with trio.move_on_after(self._order.seconds + GRACE):
            while begun < self.outcome.planned and not self._is_hopeless:
                due = self._pacer.time_of(begun + 1)
                await trio.sleep(max(0.0, due - self._elapsed()))
                await self._room.acquire()
                begun += 1
                requests.start_soon(self._publish, due)
        return begun

    async def _say_on(self, say: Callable[[Generated], None]) -> None:
        while True:
            self.outcome.error = self._complaint()
            say(self.outcome)
            await trio.sleep(SAY_SECONDS)

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
        reach = self._look()
        if reach:
            subject = EVERYBODY if self._order.to_all else self._order.first_user + int(self._random.choice(self._open))
            await self._post(subject, due, reach)
        else:
            self._refused["nobody is connected"] += 1
        self._room.release()

    def _look(self) -> int:
        """Return how many connections should get a message now."""
        if self._elapsed() - self._looked > LOOK_SECONDS:
            self._open = np.flatnonzero(self._states == State.OPEN.value)
            self._looked = self._elapsed()
        return len(self._open) if self._order.to_all else min(1, len(self._open))

    async def _post(self, subject: int, due: float, reach: int) -> None:
        """Publish one message, and count what became of it."""
        behind = max(0.0, self._elapsed() - due)
        self._be_late(1, behind)
        try:
            with trio.fail_after(PATIENCE):
                status, words = await self._ask(subject, due, behind)
        except _NOT_SENT as error:
            self._refused[_why_not_sent(error)] += 1
        except (trio.TooSlowError, httpx.HTTPError) as error:
            self._unknown[f"no answer in {PATIENCE:g} s" if isinstance(error, trio.TooSlowError) else _name(error)] += 1
        else:
            if 200 <= status < 300:
                self.outcome.published += 1
                self.outcome.deliveries += reach
            else:
                self._refused[cause := f"HTTP {status} {_phrase(status)}".rstrip()] += 1
                self._words.setdefault(cause, visible(words))

    async def _ask(self, subject: int, due: float, behind: float) -> tuple[int, bytes]:
        """Send a message, and return the status of the answer, and the beginning of its body."""
        request = self._order.request
        self._numbers[subject] += 1
        planned_ns = self._began_ns + int(due * 1e9)
        text = mark(self._order.run, subject, self._numbers[subject], planned_ns, int(behind * 1e6))
        text += " " + "x" * (self._order.size - len(text) - 1) if len(text) < self._order.size else ""

        def filled(form: str) -> str:
            return form.replace("{user}", str(subject)).replace("{message}", text)

        headers = [(name, filled(value)) for name, value in request.headers]
        content = filled(request.body).encode()
        url, words = filled(request.url), b""
        tls = self._order.tls
        asked_for = {} if tls is None else {"sni_hostname": tls.server_name}
        async with self._client.stream(
            request.method, url, headers=headers, content=content, extensions=asked_for
        ) as answer:
            with trio.move_on_after(BODY_SECONDS):
                async for data in answer.aiter_bytes():
                    words += data[: SHOWN - len(words)]
            return answer.status_code, words

    def _complaint(self) -> str | None:
        """Say how many messages were not published, and how many may not have been, with a remedy for most of them."""
        said = []
        for causes, what in (
            (self._refused, "could not be published"),
            (self._unknown, "may have been published or not"),
        ):
            if causes:
                named = "; ".join(f"{count:,} x {self._told(cause)}" for cause, count in causes.most_common(3))
                remedy = remedy_of(causes.most_common(1)[0][0])
                said.append(
                    f"{counted(causes.total(), 'messages')} {what}: {named}" + (f". {remedy}" if remedy else "")
                )
        left = self.outcome.planned - self._refused.total() - self._unknown.total()
        if self._is_hopeless and left:
            said.append(f"The other {left:,} were not tried, since none of those before them was taken.")
        return " ".join(said) or None

    def _told(self, cause: str) -> str:
        """Return a cause with what the service said of it."""
        words = self._words.get(cause)
        return f"{cause} ({words})" if words else cause


def _name(error: Exception) -> str:
    return type(error).__name__


def _why_not_sent(error: Exception) -> str:
    """Name what kept a request from being sent; httpx calls a handshake of TLS that fails a failure to connect."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return _name(error) if cause is None else cause_of(cause, b"")[0].name.lower()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


async def publish(order: Order, say: Callable[[Generated], None]) -> Generated:
    """Carry out an order."""
    limits = httpx.Limits(max_connections=REQUESTS, max_keepalive_connections=REQUESTS)
    verify = order.tls is not None and client_context(order.tls)  # False: without TLS there is nothing to verify
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False, verify=verify) as client:
        return await Publisher(order, client, np.random.default_rng()).run(say)
