"""server_under_test.generator.msggen: every message at its planned time or accounted for, on a clock of its own."""

from collections.abc import Awaitable, Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import trio
from trio.testing import MockClock

from floodtest.server_under_test.control.messages import read_publications
from floodtest.server_under_test.generator import msggen
from floodtest.server_under_test.generator.msggen import BATCH, PATIENCE, PERIOD, POSTS, Generator
from floodtest.server_under_test.generator.schedule import EvenSchedule, ProducerSchedule, Schedule
from floodtest.server_under_test.routing.subjects import MAX_USER
from floodtest.wire import stamp
from floodtest.wire.control import GRACE, LATE, MAX_BATCH, MAX_BATCH_BYTES, Generated
from floodtest.wire.control_client import ControlClient
from tests.server_under_test.test_schedule import due

Answerer = Callable[[int, int], Awaitable[httpx.Response]]
"""Called with the number of a batch, from 1, and how many messages it has."""

START_NS = 10**15


async def taken(number: int, messages: int) -> httpx.Response:
    """Answer at once, with two deliveries a message."""
    return httpx.Response(200, json={"messages": messages, "deliveries": 2 * messages})


class Server:
    """A control API that keeps what it was sent, and when."""

    def __init__(self, answer: Answerer = taken) -> None:
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.subjects: list[Any] = []
        self.texts: list[bytes] = []
        self.sizes: list[int] = []
        self.waiting = 0
        self.most_waiting = 0
        self._answer = answer

    async def handle(self, request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/publish")
        subjects, texts = read_publications(request.content)  # which knows all bounds of a batch
        self.bodies.append(request.content)
        self.times.append(trio.current_time())
        self.subjects += subjects
        self.texts += texts
        self.sizes.append(len(texts))
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            return await self._answer(len(self.bodies), len(texts))
        finally:
            self.waiting -= 1

    def client(self) -> ControlClient:
        return ControlClient("http://server", None, transport=httpx.MockTransport(self.handle))

    @property
    def stamps(self) -> list[tuple[int, int]]:
        """What the messages carry: nanoseconds after the start, and microseconds of lateness."""
        matches = [stamp.PATTERN.match(text) for text in self.texts]
        return [(int(match[1]) - START_NS, int(match[2])) for match in matches if match]

    @property
    def planned(self) -> list[float]:
        """Seconds after the start at which the messages were due, by their stamps."""
        return [planned / 1e9 for planned, _ in self.stamps]

    @property
    def arrivals(self) -> list[float]:
        """When each message came."""
        arrivals: list[float] = np.repeat(self.times, self.sizes).tolist()
        return arrivals


def virtual_clock() -> SimpleNamespace:
    """Return what stands for `time`: the clock of trio, which begins at 0, and a nanosecond more at each look."""
    looks = count()
    return SimpleNamespace(monotonic_ns=lambda: START_NS + round(trio.current_time() * 1e9) + next(looks))


def generate(
    server: Server,
    schedule: Schedule,
    seconds: float,
    users: int = 1000,
    size: int = 100,
    report: Callable[[Generated], None] = lambda outcome: None,
) -> Generated:
    """Run a generator to its end; return its outcome, of which the sums are checked."""

    async def main() -> Generated:
        async with server.client() as control:
            return await Generator(control, schedule, users, size, np.random.default_rng(1)).run(seconds, report)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(msggen, "time", virtual_clock())
        outcome = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert outcome.planned == outcome.published + outcome.unpublished
    assert outcome.published <= len(server.texts) <= outcome.planned
    assert server.most_waiting <= POSTS
    return outcome


def after(seconds: float) -> Answerer:
    async def answer(number: int, messages: int) -> httpx.Response:
        await trio.sleep(seconds)
        return await taken(number, messages)

    return answer


def close_to(times: list[float]) -> Any:
    return pytest.approx(times, abs=1e-8)


def test_a_server_that_keeps_up_gets_each_message_within_a_period() -> None:
    server = Server()
    outcome = generate(server, EvenSchedule(1000), 2)
    assert (outcome.planned, outcome.published, outcome.deliveries, outcome.error) == (2000, 2000, 4000, None)
    assert server.planned == close_to(due(EvenSchedule(1000), 2).tolist())
    assert (outcome.late, outcome.unpublished) == (0, 0)
    assert 0 < outcome.most_behind <= PERIOD + 0.001
    assert outcome.seconds == pytest.approx(2, abs=PERIOD)
    assert len(server.bodies) < 3 / PERIOD  # what is due goes in one batch


def test_planned_times_are_kept_though_answers_are_late() -> None:
    on_time, slow = Server(), Server(after(0.5))
    first = generate(on_time, EvenSchedule(1000), 2)
    second = generate(slow, EvenSchedule(1000), 2)
    assert sorted(slow.planned) == close_to(on_time.planned)
    assert (second.planned, second.published, second.unpublished) == (2000, 2000, 0)
    assert slow.most_waiting == POSTS
    assert second.late > 1000 > first.late
    assert second.most_behind == pytest.approx(0.5, abs=0.1)


def test_lateness_counts_from_the_plan_and_is_in_the_stamp() -> None:
    """Four answers take a second: what falls due meanwhile is late by all of it, not by its own batch's time."""

    async def answer(number: int, messages: int) -> httpx.Response:
        await trio.sleep(1 if number <= POSTS else 0)
        return await taken(number, messages)

    server = Server(answer)
    outcome = generate(server, EvenSchedule(100), 2)
    lateness = [late / 1e6 for _, late in server.stamps]
    assert lateness == pytest.approx(np.subtract(server.arrivals, server.planned).tolist(), abs=1e-5)
    assert max(lateness) == pytest.approx(1 - POSTS * PERIOD, abs=2 * PERIOD)
    assert outcome.most_behind == pytest.approx(max(lateness), abs=1e-5)
    assert outcome.late == sum(late > LATE for late in lateness) == pytest.approx(85, abs=5)
    assert lateness[-50:] == pytest.approx([0] * 50, abs=PERIOD + 0.001)  # the backlog went in one batch


def test_publishing_ends_a_grace_after_the_planned_seconds() -> None:
    server = Server(after(0.9))
    outcome = generate(server, EvenSchedule(20_000), 2)
    assert outcome.planned == 40_000
    assert 0 < outcome.unpublished < 20_000
    assert outcome.published == len(server.texts)
    assert max(server.times) <= 2 + GRACE + PERIOD
    assert outcome.seconds <= 2 + GRACE + PERIOD + 0.9 + 0.1
    assert sorted(server.planned) == close_to((np.arange(outcome.published) / 20_000).tolist())  # the first of them


def test_a_server_that_holds_everything_back_leaves_the_rest_unpublished_and_said() -> None:
    server = Server(after(PATIENCE - 1))
    outcome = generate(server, EvenSchedule(100), 1)
    assert (outcome.planned, len(server.bodies), outcome.error) == (100, POSTS, None)
    assert outcome.published == sum(server.sizes)
    assert outcome.unpublished == 100 - outcome.published > 80
    assert outcome.late == pytest.approx(93, abs=1)  # what waits in vain is late by then, but for the last 0.1 s
    assert outcome.most_behind == pytest.approx(2 - 0.07, abs=0.02)


def test_a_server_that_never_answers_is_not_waited_for_without_end() -> None:
    server = Server(after(1e9))
    outcome = generate(server, EvenSchedule(100), 1)
    assert (outcome.planned, outcome.published) == (100, 0)
    assert outcome.error == "the server has not answered for 10 s"
    assert outcome.seconds == pytest.approx(1 + GRACE + PATIENCE, abs=PERIOD)


def test_a_backlog_costs_nothing() -> None:
    schedule = EvenSchedule(10_000_000)
    assert schedule.plan(86_400) == 864_000_000_000
    assert schedule.take(3).tolist() == [0, 1e-7, 2e-7]


@pytest.mark.parametrize("size", [stamp.SIZE, 100, 2000, stamp.MAX_TEXT])
def test_batches_keep_the_bounds_of_the_server_and_messages_have_their_size(size: int) -> None:
    server = Server(after(0.5))  # so that much waits
    generate(server, EvenSchedule(20_000), 0.2, users=MAX_USER, size=size)
    assert {len(text) for text in server.texts} == {size}
    assert max(map(len, server.bodies)) <= MAX_BATCH_BYTES
    assert max(server.sizes) == min(BATCH, MAX_BATCH_BYTES // (size + msggen.LINE))
    assert BATCH <= MAX_BATCH


@pytest.mark.parametrize("users", [1, 2, 10])
def test_subjects_are_the_ids_from_1_on(users: int) -> None:
    server = Server()
    generate(server, EvenSchedule(500), 1, users)
    assert set(server.subjects) == set(range(1, users + 1))


@pytest.mark.parametrize("seconds", [0.0001, 0.25, 1.0, 1.005])
def test_nothing_is_planned_for_after_the_seconds(seconds: float) -> None:
    server = Server()
    outcome = generate(server, EvenSchedule(100), seconds)
    assert outcome.planned == outcome.published == np.ceil(100 * seconds)
    assert max(server.planned) < seconds


def test_producers_send_what_their_schedule_says() -> None:
    server = Server(after(0.1))
    outcome = generate(server, ProducerSchedule(20, 0.1, np.random.default_rng(1)), 3)
    assert outcome.planned == outcome.published == pytest.approx(20 / 0.1 * 3, rel=0.05)
    assert max(server.planned) < 3


def test_a_report_comes_each_second() -> None:
    planned: list[int] = []
    generate(Server(), EvenSchedule(100), 3.5, report=lambda outcome: planned.append(outcome.planned))
    assert planned == pytest.approx([100, 200, 300], abs=100 * PERIOD + 1)


# -- a server that refuses, or is none -------------------------------------------------------------------------------


Failure = httpx.HTTPError | tuple[int, bytes]


def fails_at(batch: int, failure: Failure) -> Answerer:
    """Take every batch but one."""

    async def answer(number: int, messages: int) -> httpx.Response:
        if number != batch:
            return await taken(number, messages)
        if isinstance(failure, httpx.HTTPError):
            raise failure
        return httpx.Response(failure[0], content=failure[1])

    return answer


FAILURES: list[tuple[Failure, str]] = [
    (httpx.ConnectError("refused"), "the server does not answer (ConnectError)"),
    (httpx.ReadTimeout("slow"), "the server does not answer (ReadTimeout)"),
    (httpx.RemoteProtocolError("gone"), "the server does not answer (RemoteProtocolError)"),
    ((400, b"Line 3: no.\n"), "the server answered 400: Line 3: no."),
    ((401, b"This call needs the token\n"), "the server answered 401: This call needs the token"),
    ((503, b""), "the server answered 503: "),
    ((302, b"elsewhere"), "the server answered 302: elsewhere"),
    ((200, b"<html>"), "what answers is no comet serve (JSON is malformed: invalid character (byte 0))"),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES)
@pytest.mark.parametrize("batch", [1, 20])
def test_a_server_that_refuses_or_is_gone_ends_it(batch: int, failure: Failure, words: str) -> None:
    server = Server(fails_at(batch, failure))
    outcome = generate(server, EvenSchedule(1000), 10)
    assert outcome.error == words
    assert len(server.bodies) == batch
    assert outcome.published == sum(server.sizes[: batch - 1])
    assert outcome.unpublished >= server.sizes[batch - 1]
    assert outcome.seconds < 1


def test_after_an_error_the_answers_under_way_still_count() -> None:
    async def answer(number: int, messages: int) -> httpx.Response:
        if number == 2:
            return httpx.Response(503, text="no")
        await trio.sleep(5)
        return await taken(number, messages)

    server = Server(answer)
    outcome = generate(server, EvenSchedule(1000), 10)
    assert (outcome.error, len(server.bodies)) == ("the server answered 503: no", 2)
    assert outcome.published == server.sizes[0]
    assert outcome.seconds == pytest.approx(5, abs=0.1)
