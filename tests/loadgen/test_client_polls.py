"""loadgen.client.streams on connections that poll: when they are open, what they ask for next, and how they end.

A test plays the server on socket pairs. Time is what it hands to `expire`; answers come in no time, as their bytes do.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.client.poll_timing import Pollers
from floodtest.wire.grammar import Marks
from floodtest.wire.mark import EVERYBODY, mark
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.poll_options import Polling
from floodtest.wire.poll_requests import Polls
from floodtest.wire.protocols import client_protocol
from floodtest.wire.template import Column, RequestTemplate
from tests.rigs.client import DEADLINE, FILES, ClientRig
from tests.rigs.peer_input import answers_to_polls, cut

RUN = "0123abcd"
HELD, PAUSE = 1.0, 5.0
BEGAN = 0.0
"""When connections are begun whose deadline is `DEADLINE`."""


class PollRig(ClientRig):
    """Connections that poll, and whose polls tests read."""

    def __init__(self, folder: Path, open_when: str = "held", cursor: str | None = None) -> None:
        polling = Polling(HELD, PAUSE, cursor)
        request = RequestTemplate(b"/{user}" if cursor is None else b"/{user}?{cursor}")
        polls = Polls(request, _no_columns, FILES, polling)
        condition = OpenWhen(open_when)
        self.pollers = Pollers(polls, polling, FILES, condition.is_held)
        super().__init__(
            folder, 300, client_protocol("longpoll", polling), condition, pollers=self.pollers, grammar=Marks(RUN)
        )

    def hold(self, *users: int) -> None:
        """Begin connections, and let their first polls be held."""
        for user in users:
            self.connect(user)
        self.streams.expire(BEGAN + HELD)

    def asked(self, user: int) -> list[bytes]:
        """Return what was asked for by a user since this was last called: request lines, and what they begin behind."""
        server = self.servers[user]
        server.setblocking(False)
        try:
            data = server.recv(1 << 16)
        except OSError:  # nothing, or nothing more
            return []
        return [
            b" | ".join([head.split(b" ")[1], *head.split(b"\r\n")[1:]]) for head in data.split(b"\r\n\r\n") if head
        ]


def _no_columns(name: str) -> Column:
    raise AssertionError(name)


def answer(body: bytes, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields, body)


def message(number: int, tag: int = 0) -> bytes:
    """An answer with a message of a run, as nchan has it."""
    text = mark(RUN, EVERYBODY, number, 1, 0).encode()
    return answer(b"{%b}" % text, b"Last-Modified: now\r\nEtag: %d\r\n" % tag)


TIME_OUT = answer(b"", status=b"408 Request Timeout")
NOTHING = answer(b"", status=b"304 Not Modified")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[PollRig]:
    made = PollRig(tmp_path)
    yield made
    made.end()


Make = Callable[..., PollRig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[PollRig] = []

    def one(open_when: str, cursor: str | None = None) -> PollRig:
        made.append(PollRig(tmp_path, open_when, cursor))
        return made[-1]

    yield one
    for rig in made:
        rig.end()


# -- what opens ------------------------------------------------------------------------------------------------------


def test_a_poll_that_is_not_answered_for_so_long_is_held_and_open(rig: PollRig) -> None:
    rig.connect(1)
    rig.connect(2, DEADLINE + 0.5)
    assert rig.streams.polls_due == BEGAN + HELD
    rig.streams.expire(BEGAN + HELD - 0.01)
    assert rig.state(1) == State.IN_FLIGHT
    rig.streams.expire(BEGAN + HELD)
    assert [rig.state(user) for user in (1, 2)] == [State.OPEN, State.IN_FLIGHT]
    rig.streams.expire(BEGAN + HELD + 0.5)
    assert rig.state(2) == State.OPEN
    assert (rig.streams.polls_due, dict(rig.streams.in_flight)) == (float("inf"), {})
    assert (int(rig.ledger.total("opens")), int(rig.ledger.total("open_us").sum())) == (2, 2)
    assert int(rig.ledger.total("first_byte_us").sum()) == 0


def test_an_answer_opens_as_well_and_is_the_first_message(rig: PollRig) -> None:
    for user in range(1, 101):
        rig.connect(user).sendall(message(1, user))
    rig.settle()
    assert [rig.state(user) for user in range(1, 101)] == [State.OPEN] * 100
    assert (rig.received, rig.out_of_sequence) == ((100, sum(len(message(1, user)) for user in range(1, 101))), (0, 0))
    assert rig.asked(9) == [b"/9 | If-None-Match: 9 | If-Modified-Since: now"]
    assert (int(rig.ledger.total("polls")), int(rig.ledger.total("first_byte_us").sum())) == (100, 100)
    rig.streams.expire(BEGAN + HELD)
    assert int(rig.ledger.total("opens")) == 100


def test_a_request_that_is_not_written_yet_is_not_held(rig: PollRig) -> None:
    rig.connect(1, request=b"x" * 5_000_000)
    rig.streams.expire(BEGAN + 2 * HELD)
    assert rig.state(1) == State.IN_FLIGHT


def test_a_poll_that_was_written_late_has_its_time_to_be_held_whatever_the_deadline(rig: PollRig) -> None:
    """The connection took all but half a second of the time-out, and a poll is held after a second."""
    rig.connect(1, request=b"x" * 5_000_000)
    rig.connect(2)
    rig.streams.expire(DEADLINE - 0.5)
    assert (rig.state(1), rig.state(2)) == (State.IN_FLIGHT, State.OPEN)
    rig.pollers.wrote_first([rig.descriptors[1]], DEADLINE - 0.5)
    rig.connect(3, DEADLINE + 0.1, request=b"x" * 5_000_000)
    assert rig.streams.in_flight.due(DEADLINE - 0.1) == DEADLINE
    rig.streams.expire(DEADLINE)
    assert (rig.state(1), rig.streams.polls_due) == (State.IN_FLIGHT, DEADLINE + 0.5)
    assert rig.streams.in_flight.due(DEADLINE) == DEADLINE + 0.1
    rig.streams.expire(DEADLINE + 0.1)
    assert rig.failed == {"ETIMEDOUT@request": 1}
    rig.streams.expire(DEADLINE + 0.5)
    assert rig.state(1) == State.OPEN
    assert rig.streams.in_flight.due(DEADLINE + 0.5) == float("inf")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (answer(b"no", status=b"401 Unauthorized"), "HTTP_401"),
        (answer(b"", status=b"503 Service Unavailable"), "HTTP_503"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "not_kept_alive"),
        (b"SSH-2.0\r\n", "not_http"),
    ],
)
def test_what_ends_polling_fails_a_connection_or_closes_an_open_one(said: bytes, name: str, rig: PollRig) -> None:
    rig.connect(1)
    rig.feed(1, said)
    assert rig.failed == {f"{name}@response": 1}
    rig.hold(2)
    rig.feed(2, said)
    assert rig.closed == {"bad_framing" if name == "not_http" else name: 1}
    assert int(rig.ledger.total("polls")) == 0


def test_a_page_for_people_and_a_stream_that_does_not_end_are_no_answers_to_polls(rig: PollRig) -> None:
    rig.connect(1)
    rig.feed(1, answer(b"<title>Log in</title>", b"Content-Type: text/html\r\n"))
    rig.connect(2)
    rig.feed(2, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert rig.failed == {"web_page@response": 1, "media_type@response": 1}


def test_other_conditions_wait_for_what_is_said_and_poll_until_then(make: Make) -> None:
    rig = make("text:ready {user}.")
    rig.connect(1)
    rig.streams.expire(BEGAN + HELD)
    assert rig.state(1) == State.IN_FLIGHT
    rig.feed(1, message(1, 4), answer(b"ready 12."))
    assert (rig.state(1), rig.asked(1)) == (State.IN_FLIGHT, [b"/1 | If-None-Match: 4 | If-Modified-Since: now"] * 2)
    last = answer(b"ready 1.", b"Etag: 5\r\n")
    rig.feed(1, last[:50], last[50:])
    assert (rig.state(1), rig.received[0], rig.out_of_sequence) == (State.OPEN, 3, (0, 0))
    assert rig.asked(1) == [b"/1 | If-None-Match: 5"]
    rig.feed(1, message(2, 6))
    assert (rig.asked(1), rig.out_of_sequence) == ([b"/1 | If-None-Match: 6 | If-Modified-Since: now"], (0, 0))


def test_head_takes_an_answer(make: Make) -> None:
    rig = make("head")
    rig.connect(1)
    rig.streams.expire(BEGAN + HELD)
    assert rig.state(1) == State.IN_FLIGHT
    rig.feed(1, message(1)[:-5])
    assert rig.state(1) == State.OPEN


# -- what is asked for next ------------------------------------------------------------------------------------------


def test_each_answer_is_followed_by_a_poll_behind_it(rig: PollRig) -> None:
    users = range(1, 201)
    rig.hold(*users)
    for number in (1, 2, 3):
        for user in users:
            rig.servers[user].sendall(message(number, number if user % 2 else user))
        rig.settle()
        for user in users:
            assert rig.asked(user) == [
                b"/%d | If-None-Match: %d | If-Modified-Since: now" % (user, number if user % 2 else user)
            ]
    assert (rig.received[0], rig.out_of_sequence, int(rig.ledger.total("polls"))) == (600, (0, 0), 600)
    rig.feed(7, message(3), message(5))
    assert rig.out_of_sequence == (1, 1)


def test_answers_in_pieces_among_others_are_answered_once_they_are_whole(rig: PollRig) -> None:
    rig.hold(*range(1, 51))
    whole = message(1, 3)
    for user in range(1, 51):
        rig.servers[user].sendall(whole[: 3 * user])
    rig.settle()
    assert {len(rig.asked(user)) for user in range(1, 51) if 3 * user < len(whole)} == {0}
    for user in range(1, 51):
        rig.servers[user].sendall(whole[3 * user :])
    rig.settle()
    assert {tuple(rig.asked(user)) for user in range(1, 51) if 3 * user < len(whole)} == {
        (b"/%d | If-None-Match: 3 | If-Modified-Since: now" % user,) for user in range(1, 51) if 3 * user < len(whole)
    }
    assert (rig.received[0], rig.out_of_sequence) == (50, (0, 0))


def test_a_pattern_s_cursor_is_asked_for_and_stays_where_an_answer_has_none(make: Make) -> None:
    rig = make("held", 'next":"([^"]*)"')
    rig.hold(1)
    rig.feed(1, answer(b'{"next":"a b"}'), answer(b"{}"), answer(b'{"next":"c"}'))
    assert rig.asked(1) == [b"/1?a%20b", b"/1?a%20b", b"/1?c"]
    rig.feed(1, answer(b'{"next":"\r\nX: y"}'))
    assert (rig.asked(1), rig.closed, rig.received[0]) == ([], {"bad_cursor": 1}, 4)


def test_a_list_is_one_message_with_a_mark_for_each_that_was_published(rig: PollRig) -> None:
    rig.hold(1)
    rig.feed(1, answer(b"[%b]" % b",".join(mark(RUN, EVERYBODY, number, 1, 0).encode() for number in (1, 2, 3))))
    assert (rig.received[0], int(rig.ledger.total("messages")), rig.out_of_sequence) == (1, 3, (0, 0))


# -- answers without a message ---------------------------------------------------------------------------------------


def test_who_is_answered_at_once_and_gets_nothing_pauses(rig: PollRig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = BEGAN + HELD
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    rig.hold(1, 2)
    rig.feed(1, NOTHING)
    assert rig.asked(1) == []
    assert rig.streams.polls_due == pytest.approx(now + PAUSE)
    rig.streams.expire(now + PAUSE - 0.01)
    assert rig.asked(1) == []
    rig.streams.expire(now + PAUSE)
    assert rig.asked(1) == [b"/1"]
    assert rig.streams.polls_due == float("inf")
    now += PAUSE
    rig.feed(2, TIME_OUT)
    assert rig.asked(2) == [b"/2"]
    assert (rig.received[0], int(rig.ledger.total("polls"))) == (0, 2)


def test_a_pause_is_no_time_that_the_server_has_waited(rig: PollRig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = BEGAN + HELD
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    rig.hold(1)
    for _ in range(3):
        rig.feed(1, NOTHING)
        assert rig.asked(1) == []
        now += PAUSE
        rig.streams.expire(now)
        assert rig.asked(1) == [b"/1"]
    now += PAUSE
    rig.feed(1, TIME_OUT)
    assert rig.asked(1) == [b"/1"]


def test_answers_that_nobody_asked_for_neither_pile_up_nor_are_polled_behind(
    rig: PollRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = BEGAN + HELD
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    rig.hold(1)
    rig.feed(1, *[NOTHING] * 20, message(1, 3), NOTHING)
    assert (rig.asked(1), len(rig.pollers._pausing), rig.received[0]) == ([], 1, 1)
    rig.streams.expire(now + PAUSE)
    assert rig.asked(1) == [b"/1 | If-None-Match: 3 | If-Modified-Since: now"]
    assert int(rig.ledger.total("polls")) == 1


def test_what_paused_and_ended_asks_for_nothing(rig: PollRig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = BEGAN + HELD
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    rig.hold(1)
    rig.feed(1, NOTHING)
    rig.servers[1].close()
    rig.settle()
    assert rig.closed == {"cut": 1}
    rig.hold(2)
    assert rig.descriptors[2] == rig.descriptors[1]
    rig.streams.expire(now + PAUSE)
    assert (rig.asked(2), int(rig.ledger.total("polls"))) == ([], 0)


def test_a_pause_is_its_connections_own_where_a_descriptor_is_used_again_within_it(
    rig: PollRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = BEGAN + HELD
    monkeypatch.setattr("time.monotonic_ns", lambda: int(now * 1e9))
    rig.hold(1)
    rig.feed(1, NOTHING)
    rig.servers[1].close()
    rig.settle()
    rig.hold(2)
    assert rig.descriptors[2] == rig.descriptors[1]
    now += PAUSE / 2
    rig.feed(2, NOTHING)
    rig.streams.expire(BEGAN + HELD + PAUSE)
    assert rig.asked(2) == []
    rig.streams.expire(now + PAUSE)
    assert (rig.asked(2), rig.streams.polls_due) == ([b"/2"], float("inf"))


# -- ends ------------------------------------------------------------------------------------------------------------


def test_the_last_answer_of_a_connection_is_counted_and_ends_it(rig: PollRig) -> None:
    rig.hold(1)
    rig.feed(1, message(1).replace(b"Etag", b"Connection: close\r\nEtag"))
    assert (rig.received[0], rig.closed, rig.asked(1)) == (1, {"not_kept_alive": 1}, [])


def test_a_server_that_answers_and_goes_gets_no_further_poll(rig: PollRig) -> None:
    rig.hold(1, 2)
    rig.servers[1].sendall(message(1))
    rig.servers[1].close()
    rig.servers[2].sendall(message(1)[:-1])
    rig.servers[2].close()
    rig.settle()
    assert (rig.received[0], rig.closed) == (1, {"cut": 1, "cut_inside": 1})
    assert int(rig.ledger.total("polls")) == 0


def test_a_descriptor_that_is_used_again_inherits_no_cursor(rig: PollRig) -> None:
    rig.hold(1)
    rig.feed(1, message(1))
    rig.servers[1].close()
    rig.settle()
    rig.hold(2)
    assert rig.descriptors[2] == rig.descriptors[1]
    rig.feed(2, answer(b"x"))
    assert rig.asked(2) == [b"/2"]


# -- by the batch as one by one --------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    said=st.lists(
        st.lists(st.one_of(answers_to_polls(), st.just(TIME_OUT)), max_size=4).map(b"".join), min_size=3, max_size=3
    ),
    places=st.lists(st.integers(0, 500), max_size=4),
    open_when=st.sampled_from(["held", "head", "first", "text:hello"]),
)
def test_what_comes_for_many_at_once_counts_as_what_comes_for_each_by_itself(
    said: list[bytes], places: list[int], open_when: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each text goes to ten users, in pieces that are cut at the same places."""
    found = []
    for at_once in (True, False):
        rig = PollRig(tmp_path_factory.mktemp("polls"), open_when)
        rig.hold(*range(1, 31))
        pieces = {user: cut(said[user % 3], places) for user in range(1, 31)}
        for step in range(max(map(len, pieces.values()), default=0)):
            for user, texts in pieces.items():
                with suppress(OSError):
                    rig.servers[user].sendall(b"".join(texts[step : step + 1]))
                if not at_once:
                    rig.settle()
            rig.settle()
        found.append((rig.everything(), int(rig.ledger.total("polls")), [rig.asked(user) for user in range(1, 31)]))
        rig.end()
    assert found[0] == found[1]
