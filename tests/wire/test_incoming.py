"""wire.incoming, messages and frames: by the column, what is found is what is there, message by message."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.intake import Reads
from floodtest.wire import stamp
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import FEW, Framing
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.incoming import MANY, MAX_REMEMBERED, Incoming, Parsed, Received, find_stamped
from floodtest.wire.incoming import parse as parse_framed
from floodtest.wire.protocols import EVENTS, UNTIL_CLOSE, Served
from tests.rigs.client import FILES, message
from tests.rigs.peer_input import BODIES, CHUNKS, NUMBERS
from tests.rigs.support import chunk

Found = list[tuple[int, int, int, int, int]]
PLANNED = 1_234_567_890_123_456_789


def stamped(number: int, planned: int = PLANNED, late: int = 5, text: bytes = b"hello") -> bytes:
    """A stamped message, as it travels."""
    return message(number, stamp.FORMAT % (planned, late) + text)


def parse(data: bytes) -> Parsed:
    """Parse one stream by itself."""
    return parse_framed(chunked, data)


def found_in(read: list[bytes]) -> Found:
    """What the columns hold: read, place, number, planned, late."""
    columns = find_stamped(chunked, read)
    rows = (columns.index, columns.place, columns.number, columns.planned, columns.late)
    return sorted(zip(*(column.tolist() for column in rows), strict=True))


def expected_in(read: list[bytes]) -> Found:
    """The same, one read after another; only reads that are stamped messages from end to end."""
    rows: Found = []
    for index, data in enumerate(read):
        parsed = parse(data)
        said = parsed.said
        if parsed.whole and len(said.stamps) == len(said.numbers) == said.count:
            pairs = zip(said.numbers, said.stamps, strict=True)
            rows += [(index, place, number, *times) for place, (number, times) in enumerate(pairs)]
    return rows


@pytest.mark.parametrize("protocol", [EVENTS, UNTIL_CLOSE["events"]])
def test_events_with_ids_are_stamped_messages_like_others(protocol: Served) -> None:
    """By the fast path, as those without, and one by one."""
    text = stamp.FORMAT % (PLANNED, 5) + b"hello"
    reads = [
        b"".join(protocol.frames(np.arange(n, n + 2, dtype=np.uint32), [text] * 2, [b"a-%d" % n] * 2))
        for n in range(1, 20)
    ]
    found = find_stamped(protocol.framing, reads)
    assert found.number.tolist() == [*range(1, 20), *range(2, 21)]
    assert set(found.planned.tolist()) == {PLANNED}
    assert [parse_framed(protocol.framing, read).said.numbers for read in reads] == [(n, n + 1) for n in range(1, 20)]


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
    assert parse(stamped(1, planned)).said.stamps == (((planned, 5),) if holds else ())
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


# -- batches ---------------------------------------------------------------------------------------------------------


def reads_of(*rows: tuple[int, bytes]) -> Reads:
    reads = Reads()
    reads.add([fd for fd, _ in rows], [data for _, data in rows], 1000, 2000)
    return reads


def columns(found: Received) -> list[tuple[int, int]]:
    """Descriptor and `#n` of each numbered message, in the order of each descriptor."""
    fds, numbers, order = found.numbered()
    by = np.lexsort((order, fds))
    return list(zip(fds[by].tolist(), numbers[by].tolist(), strict=True))


def ends_of(incoming: Incoming, fds: Iterable[int]) -> dict[int, Cause]:
    """Return what it is when these descriptors' connections end now."""
    return {fd: incoming.cut(fd) for fd in fds}


def taken(*rows: tuple[int, bytes]) -> Received:
    return Incoming([chunked], FILES).take(reads_of(*rows))


@pytest.mark.parametrize("times", [1, MANY - 1, MANY, 200])
def test_what_many_get_alike_is_counted_for_each(times: int) -> None:
    found = taken(*((fd, message(3, b"tick 9")) for fd in range(times)))
    assert (found.count, found.messages, found.ticks, found.over) == (times, 0, {9: times}, {})
    assert columns(found) == [(fd, 3) for fd in range(times)]


def test_messages_to_single_users_have_a_row_each() -> None:
    found = taken(*((fd, stamped(fd + 1, PLANNED + fd, fd)) for fd in range(100)))
    assert (found.count, found.messages, found.over) == (100, 100, {})
    assert columns(found) == [(fd, fd + 1) for fd in range(100)]
    index, planned, late = (column.tolist() for column in found.stamped())
    assert sorted(zip(index, planned, late, strict=True)) == [(fd, PLANNED + fd, fd) for fd in range(100)]


def test_several_reads_of_one_stay_in_order() -> None:
    rows = [(fd, stamped(number)) for number in (1, 2, 3) for fd in range(40)] + [(7, message(4)), (7, message(5))]
    assert columns(taken(*rows)) == sorted(
        [(fd, number) for fd in range(40) for number in (1, 2, 3)] + [(7, 4), (7, 5)]
    )


@pytest.mark.parametrize("kind", ["ticks", "messages"])
@pytest.mark.parametrize(
    ("odd", "over", "after"),
    [
        (stamped(1)[:-3], {7: Cause.BAD_FRAMING}, 0),
        (b"0\r\n\r\n", {7: Cause.FINISHED}, 1),
        (b"nonsense\r\n", {7: Cause.BAD_FRAMING}, 1),
        (chunk(b"odd") + b"5\r\nh", {7: Cause.BAD_FRAMING}, 0),
    ],
)
def test_reads_of_one_that_is_odd_are_taken_apart_in_order(
    kind: str, odd: bytes, over: dict[int, int], after: int
) -> None:
    rows = [(fd, message(1, b"tick 1") if kind == "ticks" else stamped(1, late=fd)) for fd in range(60)]
    rows += [(7, odd), (7, message(2, b"tick 2"))]
    found = taken(*rows)
    assert found.over == over
    assert columns(found) == [(fd, 1) for fd in range(60)]
    ignored = len(message(2, b"tick 2")) if after else 0  # what stands behind the end of its stream
    assert found.size == sum(len(data) for _, data in rows) - ignored


def test_a_message_in_two_reads_is_put_together_whatever_comes_between() -> None:
    incoming = Incoming([chunked], FILES)
    first = incoming.take(reads_of((3, stamped(1)[:9]), *((fd, stamped(1, late=fd)) for fd in range(50, 90))))
    assert (first.count, first.over) == (40, {})
    second = incoming.take(reads_of((4, stamped(1)), (3, stamped(1)[9:] + message(2)), (4, stamped(2))))
    assert sorted(columns(second)) == [(3, 1), (3, 2), (4, 1), (4, 2)]


def test_a_descriptor_that_is_forgotten_begins_anew() -> None:
    incoming = Incoming([chunked], FILES)
    incoming.take(reads_of((3, b"5\r\nhe")))
    incoming.forget(3)
    assert columns(incoming.take(reads_of((3, message(1))))) == [(3, 1)]


READS = st.one_of(BODIES, st.lists(STAMPED, min_size=1, max_size=3).map(b"".join)).filter(bool)
ROWS = st.lists(st.tuples(st.integers(0, 99), READS), min_size=1, max_size=80)
FEW_KINDS = st.lists(BODIES.filter(bool), min_size=1, max_size=3).flatmap(
    lambda bodies: st.lists(st.tuples(st.integers(0, 99), st.sampled_from(bodies)), min_size=1, max_size=80)
)


@given(st.one_of(ROWS, FEW_KINDS))
def test_sums_are_those_of_parsing_each_stream_by_itself(rows: list[tuple[int, bytes]]) -> None:
    incoming = Incoming([chunked], FILES)
    found = incoming.take(reads_of(*rows))
    streams = {fd: b"".join(data for other, data in rows if other == fd) for fd, _ in rows}
    parsed = {fd: parse(data) for fd, data in streams.items()}
    said = [one.said for one in parsed.values()]
    assert found.count == sum(one.count for one in said)
    assert found.messages == sum(len(one.numbers) - len(one.ticks) for one in said)
    assert found.ticks == Counter(tick for one in said for tick in one.ticks)
    expected = [(fd, number) for fd, one in parsed.items() for number in one.said.numbers]
    assert columns(found) == sorted(expected, key=lambda row: row[0])
    _, planned, late = (column.tolist() for column in found.stamped())
    assert sorted(zip(planned, late, strict=True)) == sorted(stamp for one in said for stamp in one.stamps)
    ends = {fd: one.broken or Cause.FINISHED for fd, one in parsed.items() if one.broken or one.ended}
    assert found.over == ends
    going_on = {fd: Cause.CUT_INSIDE if one.rest else Cause.CUT for fd, one in parsed.items() if fd not in ends}
    assert ends_of(incoming, going_on) == going_on


EVENT_PIECES = st.sampled_from(
    [
        b": hi\n",
        b"\n",
        b"data: a\n",
        b"\n\n",
        b"\r\n",
        b"id: 1\n",
        b"3\r\n:a\n\r\n",
        b"1\r\n",
        b"\r\n",
        b"5;x",
        b":",
        b"\r",
    ]
)


@pytest.mark.parametrize("framing", [sse, lines, InChunks(sse), InChunks(lines)])
@given(pieces=st.lists(EVENT_PIECES, min_size=1, max_size=8))
def test_an_end_is_within_a_message_or_between_two_however_it_is_cut(framing: Framing, pieces: list[bytes]) -> None:
    whole = parse_framed(framing, b"".join(pieces))
    incoming, over = Incoming([framing], FILES), dict[int, int]()
    for piece in pieces:
        if not over:
            over = incoming.take(reads_of((7, piece))).over
    assert bool(over) == bool(whole.broken or whole.ended)
    if not over:
        assert incoming.cut(7) == (Cause.CUT_INSIDE if whole.rest else Cause.CUT)


# -- reads that are parsed -------------------------------------------------------------------------------------------


def test_what_a_read_says() -> None:
    found = parse(message(4) + chunk(b"hello") + message(5, b"tick 17") + b"5\r\nhe")
    assert (found.said.count, found.said.numbers, found.said.ticks) == (3, (4, 5), (17,))
    assert (found.rest, found.ended) == (b"5\r\nhe", False)
    assert parse(message(1, b"ticket 5") + message(2, b"a tick 5")).said.ticks == ()
    assert parse(message(1, b"tick 0") + message(2, b"tick 07") + message(3, b"tick 7x")).said.ticks == ()
    assert parse(message(1, b"tick " + b"9" * 18) + message(2, b"tick " + b"9" * 19)).said.ticks == (10**18 - 1,)
    assert parse(b"0\r\n\r\n").ended
    broken = parse(message(4) + b"nonsense\r\n")
    assert (broken.said.count, broken.broken) == (1, Cause.BAD_FRAMING)


@pytest.mark.parametrize("more", [0, 1])
def test_long_reads_are_not_remembered(more: int) -> None:
    data = chunk(b"x" * (MAX_REMEMBERED - len(b"fff\r\n\r\n") + more))
    assert len(data) == MAX_REMEMBERED + more
    incoming = Incoming([chunked], FILES)
    for _ in range(2):
        assert incoming.take(reads_of((3, data))).count == 1
    assert incoming.parsers[0].cache_info().hits == 1 - more
