"""server_under_test.cluster.row_frames: what is cut is all there, what is no frame is named, whatever the bytes are."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.server_under_test.cluster import row_frames
from floodtest.server_under_test.cluster.row_frames import (
    BadFrame,
    RowFrame,
    encode_frame,
    frames_of,
    read_frame,
    read_lines,
)
from floodtest.server_under_test.routing.bus import Rows

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"


def frame(*rows: tuple[int, int], texts: tuple[bytes, ...], number: int = 0, before: int = 0) -> RowFrame:
    users, which = np.array(rows, np.uint32).reshape(-1, 2).T
    return RowFrame(users, which, list(texts), len(rows), number, before)


def shown(one: RowFrame) -> tuple[list[tuple[int, bytes]], int, int, int]:
    rows = [(user, one.texts[at]) for user, at in zip(one.users.tolist(), one.which.tolist(), strict=True)]
    return rows, one.deliveries, one.number, one.before


def test_a_frame_is_these_bytes() -> None:
    """As docs/cluster.md shows it: whoever writes one in another language holds it against this."""
    data = encode_frame(frame((123, 0), (7, 1), texts=(b"Hello", b"Hi"), number=4, before=9))
    assert data == bytes.fromhex(
        "434d5431 02000000 02000000 02000000 0400000000000000 0900000000000000"
        "7b000000 07000000 00000000 01000000 00000000 05000000 07000000 48656c6c6f 4869"
    )
    assert shown(read_frame(data)) == ([(123, b"Hello"), (7, b"Hi")], 2, 4, 9)


def test_the_frame_of_the_documents_is_one() -> None:
    example = DOCS.read_text().split("in hexadecimal:")[1].split("A program")[0]
    assert shown(read_frame(bytes.fromhex(example))) == ([(123, b"Hello"), (7, b"Hi")], 0, 0, 0)


def rows_of(*deliveries: tuple[int, int, int], texts: list[bytes]) -> Rows:
    """Deliveries: descriptor, user, text; those of a descriptor together, as a bus has them."""
    fds, users, which = np.array(sorted(deliveries), np.uint32).reshape(-1, 3).T
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.uint32)
    return Rows(fds, users, which, offsets, memoryview(b"".join(texts)))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), max_size=40, unique=True),
    st.integers(20, 200),
)
def test_frames_have_all_rows_of_a_turn_in_order(deliveries: list[tuple[int, int]], size: int) -> None:
    texts = [b"text %d" % at * at for at in range(10)]
    several = [(fd, user, which) for user, which in deliveries for fd in ([user] if user > 2 else [user, 10 + user])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_frames, "FRAME", size)
        made = list(frames_of(rows_of(*several, texts=texts), 5, 100))
    read = [read_frame(encode_frame(one)) for one in made]
    assert [one.number for one in read] == list(range(5, 5 + len(made)))
    assert sum(one.deliveries for one in read) == len(several)
    assert [one.before for one in read] == np.cumsum([100, *(one.deliveries for one in read)]).tolist()[: len(read)]
    rows = [row for one in read for row in shown(one)[0]]
    assert sorted(rows) == sorted((user, texts[which]) for user, which in deliveries)
    for user in range(1, 7):
        of_user = sorted(which for one, which in deliveries if one == user)
        assert [text for one, text in rows if one == user] == [texts[which] for which in of_user]


def test_a_thousand_messages_are_a_frame() -> None:
    made = list(frames_of(rows_of(*((n, n, n) for n in range(1, 1001)), texts=[b"x" * 100] * 1001), 1, 0))
    assert [len(one) for one in made] == [1000]


@given(st.binary(max_size=80), st.binary(max_size=60))
def test_whatever_comes_is_a_frame_or_is_named(head: bytes, more: bytes) -> None:
    for data in (head, b"CMT1" + head + more, b"{1," + head):
        for read in (read_frame, read_lines):
            try:
                one = read(data)
            except BadFrame:
                continue
            assert len(one.users) == len(one.which)
            assert not len(one.which) or one.which.max() < len(one.texts)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (4, 3, "columns alone|its offsets"),
        (8, 1 << 20, "are the most"),
        (4, 1 << 20, "are the most"),
        (32 + 8, 2, "a row is of text 2, and there are 2"),
        (32 + 8, 1, "not in the order"),
        (32 + 16, 1, "its offsets"),
        (32 + 20, 9, "its offsets"),
        (32 + 24, 6, "its offsets"),
    ],
)
def test_a_number_that_is_wrong_is_named(at: int, value: int, words: str) -> None:
    data = bytearray(encode_frame(frame((123, 0), (7, 0), texts=(b"Hello", b"Hi"))))
    struct.pack_into("<I", data, at, value)
    with pytest.raises(BadFrame, match=words):
        read_frame(bytes(data))


def test_lines_are_read_as_erlang_and_json_write_them() -> None:
    lines = '{123, "Hello"}\n\n {7,"gr\\u00f6\\u00dfer \\"x\\"\\n"} .\r\n{4294967295, ""}'
    rows, deliveries, number, _ = shown(read_lines(lines.encode()))
    assert rows == [(123, b"Hello"), (7, 'größer "x"\n'.encode()), (4294967295, b"")]
    assert (deliveries, number) == (0, 0)


NO_LINES = [
    '{0, "x"}',
    '{4294967296, "x"}',
    "{1, x}",
    '{1, "x}',
    '{1, "\\q"}',
    '{-1, "x"}',
    '[1, "x"]',
    '{1, "\\ud800"}',
]


@pytest.mark.parametrize("line", NO_LINES)
def test_a_line_that_is_none_is_shown(line: str) -> None:
    with pytest.raises(BadFrame, match=r"is no line such as|is no string of JSON"):
        read_lines(b'{1, "good"}\n' + line.encode())
    with pytest.raises(BadFrame, match=r"65,536"):
        read_lines(b'{1, "%b"}' % (b"x" * 65_537))
