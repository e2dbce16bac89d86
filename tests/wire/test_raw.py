"""wire.raw: what is sent first on a stream without HTTP, and what opens it, by the fast path and by the slow one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.plan.request import parse_target, text_to_send
from floodtest.wire.answers import MAX_ANSWER, NotOpened, Opened
from floodtest.wire.causes import Cause
from floodtest.wire.framing import lines
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import RAW
from floodtest.wire.template import Column, Place, RequestTemplate

NO_COLUMNS = dict[str, Column]().__getitem__
LONGEST = 1 << 16
ASKED = parse_target("tcp://h:1").asked


def test_what_is_sent_first_is_the_request() -> None:
    sent = RequestTemplate(b"", sent=b"SUBSCRIBE {user}\r\n")
    make = RAW.requests(RAW.request(sent, "h"), NO_COLUMNS)
    assert make([7, 12]) == [b"SUBSCRIBE 7\r\n", b"SUBSCRIBE 12\r\n"]
    assert RAW.sends(sent, NO_COLUMNS) is None
    assert RAW.requests(RequestTemplate(b""), NO_COLUMNS)([7, 12]) == [b"", b""]
    assert RequestTemplate(b"", sent=b"{a}").places() == {"a": {Place.LINE}}
    assert RequestTemplate(b"/", sent=b"{a}").places() == {"a": {Place.BODY}}


@pytest.mark.parametrize("condition", ["first", "id", "text:x{user}", "regex:."])
def test_nothing_has_to_come_for_a_head_and_something_for_all_else(condition: str) -> None:
    assert RAW.answers(OpenWhen("head"), LONGEST).at_once == Opened(lines, 0, [])
    assert RAW.answers(OpenWhen(condition), LONGEST).at_once is None


CASES = [
    ("first", 7, b"hello\n", b"hello\r\n", b"\r\n\r\nhello"),
    ("id", 12, b"price 1.1\nuser 12\n", b"user 12\r\n", b"user 112\r\n"),
    ("text:+ok{user}", 7, b"+ok7\r\n", b"-\n+ok7\nmore", b"+ok77\r\n"),
    ("regex:^hi", 7, b"hi\n", b"hi there\n", b"oh hi\n"),
]


@pytest.mark.parametrize(("condition", "user", "first", "second", "never"), CASES)
def test_a_condition_is_looked_for_in_lines_however_they_are_cut(
    condition: str, user: int, first: bytes, second: bytes, never: bytes
) -> None:
    answers = RAW.answers(OpenWhen(condition), LONGEST)
    for whole in (first, second):
        assert answers.begin(user).add(whole) == Opened(lines, 0, [whole])
        bytewise = answers.begin(user)
        found = [bytewise.add(whole[at : at + 1]) for at in range(len(whole))]
        (opened,) = filter(None, found)
        assert opened.bodies[0] in whole
    assert answers.begin(user).add(never) is None


LINES = st.sampled_from(
    [b"user %d\n", b"user %d\r\n", b"+ok\nuser %d\n", b"hello\r\n", b"user %d\n+", b"%d\n\n", b"\n"]
)


@given(st.lists(st.tuples(st.integers(1, 120), LINES), min_size=1, max_size=6), st.sampled_from(["id", "first"]))
def test_the_fast_path_opens_what_the_slow_one_does(rows: list[tuple[int, bytes]], condition: str) -> None:
    """Whatever answers before have taught, an answer that is recognised by comparing opens by itself as well."""
    answers = RAW.answers(OpenWhen(condition), LONGEST)
    for user, form in rows:
        data = form % user if b"%d" in form else form
        common, alone = answers.common([user], [data]), RAW.answers(OpenWhen(condition), LONGEST).begin(user).add(data)
        assert common is None or (alone is not None and alone.bodies == [data])
        if common is not None:
            assert common == Opened(lines, len(lines.decode(data).payloads), [])
        answers.begin(user).add(data)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_of_either_end_are_learnt(end: bytes) -> None:
    answers = RAW.answers(OpenWhen("id"), LONGEST)
    assert answers.common([12], [b"user 12" + end]) is None
    answers.begin(12).add(b"user 12" + end)
    assert answers.common([13, 47], [b"user 13" + end, b"user 47" + end]) == Opened(lines, 1, [])
    assert answers.common([13], [b"user 14" + end]) is None


def test_a_port_that_wants_tls_is_known_by_its_alert() -> None:
    alert = b"\x15\x03\x01\x00\x02\x02\x16"
    reading = RAW.answers(OpenWhen("first"), LONGEST).begin(7)
    assert reading.add(alert[:1]) is None
    with pytest.raises(NotOpened) as caught:
        reading.add(alert[1:])
    assert caught.value.code == Cause.TLS_PORT


def test_garbage_without_a_line_is_given_up_within_a_bound() -> None:
    reading = RAW.answers(OpenWhen("id"), LONGEST).begin(7)
    assert [reading.add(b"\xff" * 65536) for _ in range(MAX_ANSWER // 65536)] == [None] * (MAX_ANSWER // 65536)
    with pytest.raises(NotOpened) as caught:
        reading.add(b"\xff")
    assert caught.value.code == Cause.OPEN_WHEN_UNMET


def test_escapes_stand_for_bytes_that_no_shell_gives_easily() -> None:
    assert text_to_send(r"a\r\n\t\0\\n\x7F\xff", ASKED) == b"a\r\n\t\0\\n\x7f\xff"
    assert text_to_send("a\r\n", ASKED) == b"a\r\n"
    assert text_to_send(r'{"a": "\n"}', parse_target("ws://h/").asked) == rb'{"a": "\n"}'
    for wrong in (r"\q", r"\x4", "\\"):
        with pytest.raises(ValueError, match=r"\\"):
            text_to_send(wrong, ASKED)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://h", "needs a port"),
        ("tcp://h:0", "needs a port"),
        ("tcp://h:1/path", "has no user and no path"),
        ("tcp://h:1/?a", "has no user and no path"),
        ("tcp://bob:s3cr3t@h:1", "has no user and no path"),
        ("tcp://{user}:1", "must be like"),
        ("tcp:h:1", "must be like"),
    ],
)
def test_a_raw_target_is_a_host_and_a_port(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_target(url)
    assert "s3cr3t" not in str(caught.value)
