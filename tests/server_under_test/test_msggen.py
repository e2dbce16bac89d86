"""Message generators: what is due when, that it is published however late that gets, and both commands that publish."""

import json
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from floodtest.server_under_test.commands import publishing
from floodtest.server_under_test.control.messages import read_publications
from floodtest.server_under_test.generator import msggen
from floodtest.server_under_test.generator.msggen import BATCH, GRACE, LATE, PATIENCE, PERIOD, POSTS, Generator
from floodtest.server_under_test.generator.schedule import SPREAD, EvenSchedule, ProducerSchedule, Schedule
from floodtest.server_under_test.routing.subjects import MAX_USER
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire import stamp
from floodtest.wire.control import MAX_BATCH, MAX_BATCH_BYTES, Generated
from floodtest.wire.control_client import ControlClient
from tests.rigs.support import Comet, comet, run, run_here, scripted_server
from tests.server_under_test.test_comet import streams

# -- what is due -----------------------------------------------------------------------------------------------------


def due(schedule: Schedule, until: float) -> npt.NDArray[np.float64]:
    """Return the planned times of all that is newly due."""
    return schedule.take(schedule.plan(until))


@pytest.mark.parametrize(
    ("rate", "until", "times"),
    [
        (10, 0.0, []),
        (10, 0.0001, [0.0]),
        (10, 0.1, [0.0]),
        (10, 0.1001, [0.0, 0.1]),
        (10, -1.0, []),
        (0.5, 2.1, [0.0, 2.0]),
        (4, 1.0, [0.0, 0.25, 0.5, 0.75]),
    ],
)
def test_an_even_schedule_begins_at_once_and_keeps_equal_distances(
    rate: float, until: float, times: list[float]
) -> None:
    assert due(EvenSchedule(rate), until).tolist() == times


_asks = st.lists(st.floats(0, 20), max_size=12)


@given(st.floats(0.01, 5000), _asks)
def test_an_even_schedule_says_the_same_however_often_it_is_asked(rate: float, asks: list[float]) -> None:
    schedule = EvenSchedule(rate)
    said = [time for until in [*asks, 20.0] for time in due(schedule, until).tolist()]
    assert said == due(EvenSchedule(rate), 20.0).tolist()
    assert len(said) == int(np.ceil(20.0 * rate))


@given(st.integers(0, 2**32), _asks)
def test_a_producer_says_the_same_however_often_it_is_asked(seed: int, asks: list[float]) -> None:
    often, once = (ProducerSchedule(1, 0.5, np.random.default_rng(seed)) for _ in range(2))
    said = [time for until in [*asks, 20.0] for time in due(often, until).tolist()]
    assert said == due(once, 20.0).tolist()


@given(st.integers(0, 2**32), st.integers(1, 30), st.floats(0.01, 5), _asks)
def test_producers_say_what_is_due_by_then_and_no_more(
    seed: int, producers: int, interval: float, asks: list[float]
) -> None:
    schedule = ProducerSchedule(producers, interval, np.random.default_rng(seed))
    before = 0.0
    for until in asks:
        times = due(schedule, until)
        assert (np.diff(times) >= 0).all()
        assert ((before <= times) & (times < until)).all()
        before = max(before, until)


def test_the_producers_of_2008_send_16666_messages_a_second() -> None:
    times = due(ProducerSchedule(1000, 0.06, np.random.default_rng(1)), 10)
    assert len(times) / 10 == pytest.approx(1000 / 0.06, rel=0.005)
    each_second, _ = np.histogram(times, bins=10, range=(0, 10))
    assert each_second.tolist() == pytest.approx([1000 / 0.06] * 10, rel=0.03)  # the first one is like the others


def test_a_producer_begins_within_its_interval_and_pauses_as_in_2008() -> None:
    times = due(ProducerSchedule(1, 0.06, np.random.default_rng(1)), 600)
    pauses = np.diff(times)
    assert 0 <= times[0] < 0.06
    assert pytest.approx((0.011 / 0.06, 0.109 / 0.06)) == SPREAD
    assert (pauses.min(), pauses.max()) == (pytest.approx(0.011, abs=0.0005), pytest.approx(0.109, abs=0.0005))
    assert pauses.mean() == pytest.approx(0.06, rel=0.02)


def test_a_seed_decides_when_producers_send() -> None:
    first, same, other = (due(ProducerSchedule(50, 0.1, np.random.default_rng(seed)), 5).tolist() for seed in (1, 1, 2))
    assert first == same
    assert first != other


# -- the generator, on a clock of its own ----------------------------------------------------------------------------

START_NS = 10**15

Answerer = Callable[[int, int], Awaitable[httpx.Response]]
"""Called with the number of a batch, from 1, and how many messages it has."""


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


# -- comet msggen and comet publish ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comet_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    db = tmp_path_factory.mktemp("store") / "db"
    with Store(db, create=True) as store:
        store.add_subscriptions([(5, 1), (6, 1), (5, "photo:1")])
    with comet("--max-users", "1000", "--db", str(db)) as server:
        yield server


def url_of(server: Comet) -> str:
    return f"http://127.0.0.1:{server.control}"


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """A URL whose port nobody can listen on meanwhile: it is bound, and does not listen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def answering(response: bytes) -> Callable[[socket.socket], None]:
    """Return a handler that reads the head of one request and answers it."""

    def handle(connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(1 << 16)
            if not piece:
                return
            data += piece
        connection.sendall(response)

    return handle


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


SHORT = ("--rate", "200", "--seconds", "0.5", "--size", "60", "--seed", "7")


def test_msggen_publishes_what_it_planned(comet_serve: Comet) -> None:
    with ExitStack() as stack:
        (client,) = streams(stack, comet_serve, 5)
        done = run("comet", "msggen", "--control", url_of(comet_serve), *SHORT, "--users", "1", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert {name: told[name] for name in ("planned", "published", "unpublished", "deliveries", "error")} == {
            "planned": 100,
            "published": 100,
            "unpublished": 0,
            "deliveries": 100,
            "error": None,
        }
        assert set(told) == {*Generated.__struct_fields__, "unpublished"}
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(
            r"published 100 of 100 messages, 100 deliveries; \d+ late, \d\.\d{3} s behind at the most", last
        )
        times = []
        for number in range(1, 101):
            match = re.fullmatch(rf"Recvd msg #{number}: @(\d{{19}})\+\d{{8}} x{{30}}\n", client.chunk() or "")
            assert match is not None
            times.append(int(match[1]))
        times.sort()  # batches may overtake each other
        assert [planned - times[0] for planned in times] == pytest.approx([at * 5_000_000 for at in range(100)], abs=2)


def test_msggen_has_producers_unless_a_rate_is_given(comet_serve: Comet) -> None:
    options = ("--producers", "20", "--interval", "100ms", "--seconds", "1", "--json")
    done = run_here("comet", "msggen", "--control", url_of(comet_serve), *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["planned"] == pytest.approx(20 / 0.1, rel=0.1)


@pytest.mark.parametrize("schedule", [("--rate", "300"), ("--producers", "30", "--interval", "100ms")])
def test_a_seed_decides_on_the_subjects_however_the_messages_are_batched(
    schedule: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def subjects(period: float) -> list[Any]:
        monkeypatch.setattr(msggen, "PERIOD", period)
        server = Server()
        monkeypatch.setattr(publishing, "ControlClient", lambda url, token: server.client())
        done = run_here("comet", "msggen", *schedule, "--seconds", "0.4", "--seed", "7")
        assert done.returncode == 0, done.stderr
        return server.subjects

    often, seldom = subjects(0.02), subjects(0.07)
    least = min(len(often), len(seldom))
    assert least == pytest.approx(120, rel=0.2)
    assert often[:least] == seldom[:least]


def test_publish_says_how_many_it_went_to(comet_serve: Comet) -> None:
    with ExitStack() as stack:
        five, one = streams(stack, comet_serve, 5, 1)
        for subject, message, clients in (("1", "Grüße", [five, one]), ("photo:1", "x y", [five]), ("77", "z", [])):
            done = run_here("comet", "publish", "--control", url_of(comet_serve), subject, message)
            assert (done.returncode, done.stderr) == (0, "")
            counted = f"{len(clients)} connection{'' if len(clients) == 1 else 's'}"
            assert done.stdout == f"The message went to {counted}.\n"
            for client in clients:
                assert (client.chunk() or "").endswith(f": {message}\n")


def test_a_token_is_sent_and_a_wrong_one_is_no_success() -> None:
    with comet("--max-users", "10", "--token", "secret") as server:
        at = ("--control", url_of(server))
        assert run_here("comet", "publish", *at, "1", "x", "--token", "secret").returncode == 0
        assert run_here("comet", "msggen", *at, *SHORT, "--token", "secret").returncode == 0
        publish = run_here("comet", "publish", *at, "1", "x", "--token", "other")
        assert (publish.returncode, publish.stdout) == (3, "")
        assert "answered 401: This call needs the token" in publish.stderr
        generated = run_here("comet", "msggen", *at, *SHORT)
        assert generated.returncode == 4
        assert "comet: the server answered 401: This call needs the token" in generated.stderr


def test_without_a_server_nothing_is_published(nowhere: str) -> None:
    publish = run_here("comet", "publish", "--control", nowhere, "1", "x")
    assert (publish.returncode, publish.stdout) == (3, "")
    (line,) = publish.stderr.splitlines()
    assert line.startswith(f"comet: No comet serve answers at {nowhere}")
    generated = run_here("comet", "msggen", "--control", nowhere, *SHORT, "--json")
    told = json.loads(generated.stdout)
    assert (generated.returncode, told["published"]) == (4, 0)
    assert told["unpublished"] == told["planned"]
    assert generated.stderr.splitlines()[-1] == "comet: the server does not answer (ConnectError)"


@pytest.mark.parametrize(
    ("response", "publish_words", "msggen_words"),
    [
        (
            http("200 OK", "hello"),
            "is no comet serve (JSON is malformed",
            "what answers is no comet serve (JSON is malformed",
        ),
        (http("404 Not Found", "no"), "answered 404: no", "the server answered 404: no"),
        (b"rubbish\r\n\r\n", "No comet serve answers at", "the server does not answer (RemoteProtocolError)"),
        (
            http("302 Found\r\nLocation: a: //[", ""),
            "No comet serve answers at",
            "the server does not answer (InvalidURL)",
        ),
        (
            http("200 OK", f'{{"messages":1,"deliveries":{2**32 + 1}}}'),
            "is no comet serve (4,294,967,297 deliveries). Name its --control URL.",
            "what answers is no comet serve",
        ),
    ],
)
def test_a_server_that_is_another_is_told(response: bytes, publish_words: str, msggen_words: str) -> None:
    with scripted_server(answering(response)) as target:
        url = target.removesuffix("/test/{user}")
        publish = run_here("comet", "publish", "--control", url, "1", "x")
        generated = run_here("comet", "msggen", "--control", url, *SHORT)
    (line,) = publish.stderr.splitlines()
    assert publish.returncode == 3
    assert publish_words in line
    assert generated.returncode == 4
    assert generated.stderr.splitlines()[-1].startswith(f"comet: {msggen_words}")


def test_messages_that_a_slow_server_leaves_over_are_a_shortfall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its answers takes longer than the seconds and the grace together."""
    server = Server(after(1.5))
    monkeypatch.setattr(publishing, "ControlClient", lambda url, token: server.client())
    done = run_here("comet", "msggen", "--rate", "50", "--seconds", "0.3", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["planned"], told["error"]) == (4, 15, None)
    assert told["unpublished"] == 15 - sum(server.sizes) > 0


@pytest.mark.parametrize("command", [("publish", "1", "x"), ("msggen", *SHORT)])
def test_a_control_that_is_no_url_is_refused(command: tuple[str, ...]) -> None:
    done = run_here("comet", *command, "--control", "http://127.0.0.1:port")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("comet: --control http://127.0.0.1:port is no URL")


def test_options_of_msggen_that_make_no_sense_are_all_named_at_once(nowhere: str) -> None:
    wrong = {
        "--token": " ",
        "--users": "0",
        "--producers": "many",
        "--interval": "0",
        "--rate": "-1",
        "--seconds": "soon",
        "--size": str(stamp.SIZE - 1),
    }
    done = run_here("comet", "msggen", "--control", nowhere, *(word for pair in wrong.items() for word in pair))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [["comet:", name] for name in wrong]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--users", str(MAX_USER + 1)), "--users takes at most 4,294,967,295"),
        (("--size", str(stamp.MAX_TEXT + 1)), "--size takes"),
        (("--rate", "inf"), "--rate takes"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "x"), "--seed"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_an_option_of_msggen_that_makes_no_sense_is_named(options: tuple[str, ...], words: str, nowhere: str) -> None:
    done = run_here("comet", "msggen", "--control", nowhere, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("0", "x"), 2, "A user is a whole number from 1 to"),
        (("", "x"), 2, "A subject is a user's id, or a name of 1 to 255 bytes, not ''."),
        (("x" * 256, "x"), 2, "A subject is"),
        (("\udcff", "x"), 2, "A subject is"),
        (("1", "x", "--token", "é"), 2, "--token takes"),
        (("1",), 2, "Missing argument 'MESSAGE'"),
        (("1", "x" * (stamp.MAX_TEXT + 1)), 3, "answered 400: Line 1: The message has 65,537 bytes"),
        (("1", "\udcff"), 3, "answered 400: Line 1: "),
    ],
)
def test_what_cannot_be_published_is_told(
    arguments: tuple[str, ...], code: int, words: str, comet_serve: Comet
) -> None:
    done = run_here("comet", "publish", "--control", url_of(comet_serve), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
