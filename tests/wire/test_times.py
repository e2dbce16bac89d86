"""wire.times: what a server writes as a time is one, to the nanosecond, or none; whatever it writes."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.intake import Reads
from floodtest.wire import stamp
from floodtest.wire.framing import lines
from floodtest.wire.grammar import Marks, Ours, Times
from floodtest.wire.incoming import MANY, Incoming
from floodtest.wire.messages import Said
from floodtest.wire.times import GROUPS, MAX_SEARCHED, nanoseconds, pattern_of, reader_of

NOON = 1_764_504_000 * 10**9
"""2025-11-30, 12:00 UTC."""


@pytest.mark.parametrize(
    ("group", "text", "ns"),
    [
        ("s", b"1764504000", NOON),
        ("s", b"1764504000.5", NOON + 500_000_000),
        ("s", b"1764504000.1234567891", NOON + 123_456_789),
        ("ms", b"1764504000001", NOON + 1_000_000),
        ("ms", b"1764504000001.25", NOON + 1_250_000),
        ("us", b"1764504000000001", NOON + 1000),
        ("ns", b"1764504000000000001", NOON + 1),
        ("ns", b"1764504000000000001.9", NOON + 1),
        ("s", b"0", 0),
        ("iso", b"2025-11-30T12:00:00Z", NOON),
        ("iso", b"2025-11-30 12:00:00.5+00:00", NOON + 500_000_000),
        ("iso", b"2025-11-30T14:00:00.000001+02:00", NOON + 1000),
        ("iso", b"2025-11-30T07:30:00.123456789-04:30", NOON + 123_456_000),
        ("iso", b"20251130T120000Z", NOON),
        ("iso", b"1969-12-31T23:59:59Z", -(10**9)),
    ],
)
def test_a_time_is_read_to_the_nanosecond(group: str, text: bytes, ns: int) -> None:
    assert nanoseconds(group, text) == ns


@pytest.mark.parametrize(
    ("group", "text"),
    [
        *[
            ("ms", text)
            for text in (b"", b"-1", b"+1", b"1e3", b" 1", b"1.", b".5", b"0x1", b"nan", b"1" * 20, b"\xb2")
        ],
        ("iso", b"2025-11-30T12:00:00"),
        ("iso", b"2025-11-30"),
        ("iso", b"2025-13-30T12:00:00Z"),
        ("iso", b"yesterday"),
        ("iso", b"2025-11-30T12:00:00\xe2\x80\x93"),
        ("iso", b"2025-11-30T12:00:00." + b"1" * 40 + b"Z"),
    ],
)
def test_what_is_no_time_is_none(group: str, text: bytes) -> None:
    assert nanoseconds(group, text) is None


def read(pattern: str, *payloads: bytes, ahead_ns: int = 0) -> tuple[tuple[int, ...], int]:
    return reader_of(pattern, ahead_ns)(payloads)


T = r"t=(?P<ns>[^ ]+)"


@pytest.mark.parametrize(
    ("ns", "ahead_ns", "is_time"),
    [
        (0, 0, True),
        (stamp.END_NS - 1, 0, True),
        (stamp.END_NS, 0, False),
        (10**19 - 1, 0, False),
        (stamp.END_NS, 1, True),
        (4, 5, False),
        (stamp.END_NS - 1, -1, False),
    ],
)
def test_a_time_of_our_clock_fits_into_a_column(ns: int, ahead_ns: int, is_time: bool) -> None:
    assert read(T, b"t=%d" % ns, ahead_ns=ahead_ns) == (((ns - ahead_ns,), 0) if is_time else ((), 1))


def test_a_message_has_one_time_or_none() -> None:
    assert read(T, b"t=5 t=6", b"no time", b"\nt=7", b"t=x") == ((5, 7), 1)
    assert read(r"a|(?P<ns>\d)", b"a5", b"5") == ((5,), 0)


def test_a_time_is_looked_for_in_the_beginning_of_a_message() -> None:
    assert read(T, b" " * (MAX_SEARCHED - 3) + b"t=5") == ((5,), 0)
    assert read(T, b" " * (MAX_SEARCHED - 2) + b"t=5") == ((), 0)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?P<ms>\d+", "is no regular expression"),
        (r"\d+", "needs one group that is named s, ms, us, ns, iso"),
        (r"(\d+)", "needs one group"),
        (r"(?P<time>\d+)", "needs one group"),
        (r"(?P<ms>\d+)(?P<iso>.)", "needs one group"),
    ],
)
def test_a_pattern_needs_one_group_with_a_unit(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pattern_of(pattern)


def test_other_groups_of_a_pattern_are_nobody_s() -> None:
    assert read(r"(?P<kind>a|b)(.)(?P<ms>\d+)", b"b:5") == ((5_000_000,), 0)


@given(
    st.sampled_from(GROUPS),
    st.lists(st.binary(max_size=60) | st.from_regex(rb"[0-9TZ:.+-]{1,50}")),
    st.integers(-(10**14), 10**14),
)
def test_whatever_a_server_writes_is_counted_once(group: str, payloads: list[bytes], ahead_ns: int) -> None:
    sent, unreadable = reader_of(f"(?P<{group}>.+)", ahead_ns)(payloads)
    assert all(0 <= ns < stamp.END_NS for ns in sent)
    assert len(sent) + unreadable == sum(map(bool, payloads))


def said(grammar: Times | Marks | Ours, payloads: Sequence[bytes]) -> Said:
    return grammar.reader()(payloads)


def test_each_grammar_reads_its_own() -> None:
    ours = b"Recvd msg #3: tick 7"
    assert said(Ours(), [ours]) == Said(1, (3,), (7,), ())
    assert said(Marks("0123abcd"), [ours]).is_plain
    assert said(Times(r"#(?P<s>\d)", 10**9), [ours, b"x", b"#0"]) == Said(3, (), (), (), (2 * 10**9,), 1)


@pytest.mark.parametrize("kinds", [1, 3, MANY * 3])
def test_reads_that_are_alike_are_as_they_are_one_by_one(kinds: int) -> None:
    grammar, count = Times(r"t=(?P<ns>\S+)"), MANY * 3
    data = [b"t=%d\nno time\nt=x\n" % (row % kinds) for row in range(count)]
    together = Reads()
    together.add(list(range(10, 10 + count)), data, 1, 2)
    found = Incoming((lines,), 1000, grammar).take(together)
    rows, sent = found.sent()
    order = np.argsort(rows)
    assert rows[order].tolist() == list(range(count))
    assert sent[order].tolist() == [row % kinds for row in range(count)]
    assert (found.count, found.unreadable, found.messages) == (3 * count, count, 0)
