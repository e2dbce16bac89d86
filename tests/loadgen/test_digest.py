"""loadgen.client.digest and stamped: by the column, the same is found as message by message."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.loadgen.client.digest import MANY, Digest, Reads, digest
from floodtest.wire import stamp
from floodtest.wire.parsing import parse_messages
from floodtest.wire.stamped import FEW, read_stamped
from tests.rigs.client import message
from tests.rigs.peer_input import BODIES, CHUNKS, NUMBERS
from tests.rigs.support import chunk

Found = list[tuple[int, int, int, int, int]]
PLANNED = 1_234_567_890_123_456_789


def stamped(number: int, planned: int = PLANNED, late: int = 5, text: bytes = b"hello") -> bytes:
    """A stamped message, as it travels."""
    return message(number, stamp.FORMAT % (planned, late) + text)


def found_in(read: list[bytes]) -> Found:
    """What the columns hold: read, place, number, planned, late."""
    columns = read_stamped(read)
    rows = (columns.index, columns.place, columns.number, columns.planned, columns.late)
    return sorted(zip(*(column.tolist() for column in rows), strict=True))


def expected_in(read: list[bytes]) -> Found:
    """The same, one read after another; only reads that are stamped messages from end to end."""
    rows: Found = []
    for index, data in enumerate(read):
        messages = parse_messages(data)
        if messages.whole and len(messages.stamps) == len(messages.numbers) == messages.count:
            pairs = zip(messages.numbers, messages.stamps, strict=True)
            rows += [(index, place, number, *times) for place, (number, times) in enumerate(pairs)]
    return rows


# -- stamped messages ------------------------------------------------------------------------------------------------


def enough_of(read: list[bytes]) -> list[bytes]:
    """So many of each that none is too few for a step."""
    return read * (FEW + 1)


def test_one_a_read() -> None:
    numbers = (1, 9, 10, 123, 999_999_999, 5)
    read = [stamped(number, PLANNED + number, number % 1000) for number in numbers]
    assert found_in(read) == [
        (index, 0, number, PLANNED + number, number % 1000) for index, number in enumerate(numbers)
    ]


def test_several_a_read_of_different_lengths() -> None:
    read = enough_of(
        [
            b"".join(stamped(first + place, text=b"x" * (first * 3 + place)) for place in range(count))
            for first, count in ((1, 1), (9, 3), (98, 5), (5, 2), (1, 6), (7, 1), (20, 7))
        ]
    )
    assert found_in(read) == expected_in(read)
    assert len(found_in(read)) == len(enough_of([b""] * 25))


ODD = [
    b"",
    b"0\r\n\r\n",
    message(1),
    message(1, b"tick 7"),
    chunk(b"plain"),
    stamped(1)[:-1],
    stamped(1)[:-2] + b"xx",
    stamped(1) + b"1",
    stamped(1) + b"0\r\n\r\n",
    stamped(1).replace(b"+", b"-"),
    stamped(1).replace(b"Recvd", b"recvd"),
    stamped(1).replace(b"#1", b"#x"),
    stamped(1).replace(b"@1", b"@x"),
    stamped(1)[1:],
    b"zz\r\n" + stamped(1)[4:],
    stamped(1) + message(2),
    message(1) + stamped(2),
    stamped(1).upper(),
    chunk(b"Recvd msg #1: @"),
    chunk(stamp.FORMAT % (PLANNED, 1)),
    chunk(b"Recvd msg #1234567890: " + stamp.FORMAT % (PLANNED, 1)),
    chunk(b"Recvd msg #: " + stamp.FORMAT % (PLANNED, 1)),
    b"fffff\r\n" + stamped(1),
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_something_else_is_left_out_and_costs_the_others_nothing(odd: bytes) -> None:
    read = enough_of([stamped(1), odd, stamped(2)])
    assert found_in(read) == expected_in(read)
    assert len({index for index, *_ in found_in(read)}) >= len(enough_of([b""] * 2))


def test_few_are_left_to_others() -> None:
    assert found_in([stamped(1)] * FEW) == []
    assert found_in([]) == []


@pytest.mark.parametrize("planned", [0, 1, 2**53, 10**18, 9 * 10**18 - 1, 9 * 10**18, 2**63 - 1, 2**63, 10**19 - 1])
def test_a_planned_time_that_no_column_may_hold_is_no_stamp(planned: int) -> None:
    read = enough_of([stamped(1, planned), stamped(2)])
    holds = planned < 9 * 10**18
    assert parse_messages(stamped(1, planned)).stamps == (((planned, 5),) if holds else ())
    assert found_in(read) == expected_in(read)
    assert {planned for *_, planned, _ in found_in(read)} == ({planned, PLANNED} if holds else {PLANNED})


STAMPED = st.builds(stamped, st.integers(0, 10**9 - 1), NUMBERS.filter(lambda number: number < 10**19))
OURS_OR_ODD = st.one_of(STAMPED, st.sampled_from(ODD))


@given(st.lists(st.lists(OURS_OR_ODD, max_size=4).map(b"".join), max_size=30))
def test_what_is_found_is_what_is_there(read: list[bytes]) -> None:
    assert set(found_in(read)) <= set(expected_in(read))
    assert found_in(enough_of(read)) == expected_in(enough_of(read))


@given(st.lists(st.lists(st.one_of(CHUNKS, STAMPED), max_size=4).map(b"".join), max_size=30))
def test_nothing_is_found_that_is_not_there(read: list[bytes]) -> None:
    """A chunk that is framed otherwise than ours, say with its size in capitals, may be left to others."""
    assert set(found_in(enough_of(read))) <= set(expected_in(enough_of(read)))


# -- digests ---------------------------------------------------------------------------------------------------------


def reads_of(*rows: tuple[int, bytes]) -> Reads:
    reads = Reads()
    reads.add([fd for fd, _ in rows], [data for _, data in rows], 1000, 2000)
    return reads


def columns(found: Digest) -> list[tuple[int, int]]:
    """Descriptor and `#n` of each numbered message, in the order of each descriptor."""
    fds, numbers, order = found.numbered()
    by = np.lexsort((order, fds))
    return list(zip(fds[by].tolist(), numbers[by].tolist(), strict=True))


@pytest.mark.parametrize("times", [1, MANY - 1, MANY, 200])
def test_the_same_to_many_is_counted_for_each(times: int) -> None:
    found = digest(reads_of(*((fd, message(3, b"tick 9")) for fd in range(times))), {})
    assert (found.chunks, found.messages, found.ticks, found.left) == (times, 0, {9: times}, [])
    assert columns(found) == [(fd, 3) for fd in range(times)]


def test_messages_to_single_users_have_a_row_each() -> None:
    rows = [(fd, stamped(fd + 1, PLANNED + fd, fd)) for fd in range(100)]
    found = digest(reads_of(*rows), {})
    assert (found.chunks, found.messages, found.left) == (100, 100, [])
    assert columns(found) == [(fd, fd + 1) for fd in range(100)]
    index, planned, late = (column.tolist() for column in found.stamped())
    assert sorted(zip(index, planned, late, strict=True)) == [(fd, PLANNED + fd, fd) for fd in range(100)]


def test_several_reads_of_one_stay_in_order() -> None:
    rows = [(fd, stamped(number)) for number in (1, 2, 3) for fd in range(40)] + [(7, message(4)), (7, message(5))]
    assert columns(digest(reads_of(*rows), {})) == sorted(
        [(fd, number) for fd in range(40) for number in (1, 2, 3)] + [(7, 4), (7, 5)]
    )


@pytest.mark.parametrize("kind", ["ticks", "messages"])
@pytest.mark.parametrize("odd", [stamped(1)[:-3], b"", b"0\r\n\r\n", b"nonsense\r\n"])
def test_all_reads_of_one_that_is_odd_are_left_in_order(kind: str, odd: bytes) -> None:
    rows = [(fd, message(1, b"tick 1") if kind == "ticks" else stamped(1, late=fd)) for fd in range(60)]
    rows += [(7, odd), (7, message(2, b"tick 2"))]
    found = digest(reads_of(*rows), {})
    assert found.left == [7, 60, 61]
    assert columns(found) == [(fd, 1) for fd in range(60) if fd != 7]


def test_all_reads_of_one_that_had_begun_a_chunk_are_left() -> None:
    rows = [(fd, stamped(1, late=fd)) for fd in range(60)]
    found = digest(reads_of(*rows), {3, 99})
    assert (found.left, found.chunks) == ([3], 59)


READS = st.one_of(BODIES, st.lists(STAMPED, min_size=1, max_size=3).map(b"".join))
ROWS = st.lists(st.tuples(st.integers(0, 99), READS), min_size=1, max_size=80)
FEW_KINDS = st.lists(BODIES, min_size=1, max_size=3).flatmap(
    lambda bodies: st.lists(st.tuples(st.integers(0, 99), st.sampled_from(bodies)), min_size=1, max_size=80)
)


@given(st.one_of(ROWS, FEW_KINDS))
def test_sums_are_those_of_parsing_each_by_itself(rows: list[tuple[int, bytes]]) -> None:
    found = digest(reads_of(*rows), {})
    regular = [(index, fd, parse_messages(data)) for index, (fd, data) in enumerate(rows) if index not in found.left]
    odd = {fd for fd, data in rows if not parse_messages(data).whole}
    assert {fd for _, fd, _ in regular}.isdisjoint(odd)
    assert set(found.left) == {index for index, (fd, _) in enumerate(rows) if fd in odd}
    assert found.chunks == sum(messages.count for *_, messages in regular)
    assert found.messages == sum(len(messages.numbers) - len(messages.ticks) for *_, messages in regular)
    assert found.ticks == Counter(tick for *_, messages in regular for tick in messages.ticks)
    expected = [(fd, number) for _, fd, messages in regular for number in messages.numbers]
    assert columns(found) == sorted(expected, key=lambda row: row[0])
    stamps = [(index, *times) for index, _, messages in regular for times in messages.stamps]
    assert sorted(zip(*(column.tolist() for column in found.stamped()), strict=True)) == sorted(stamps)


def test_reads_of_a_sweep_are_spread_over_its_time() -> None:
    reads = Reads()
    reads.add([1, 2, 3, 4], [b"x"] * 4, 1000, 2000)
    reads.add([], [], 2000, 3000)
    reads.add([5], [b"yy"], 5000, 6000)
    assert reads.times().tolist() == [1250, 1500, 1750, 2000, 6000]
    assert (reads.first, reads.last, reads.size, len(reads)) == (1000, 6000, 6, 5)
