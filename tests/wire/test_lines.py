"""wire.framing.lines: every case whole, byte by byte, and as a matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.framing import lines
from floodtest.wire.framing.frames import FEW, MAX_PAYLOAD, Decoded, find_frames
from floodtest.wire.matrix import PADDING

CASES: list[tuple[bytes, list[bytes], bytes]] = [
    (b"", [], b""),
    (b"one\n", [b"one"], b""),
    (b"one\r\ntwo\n", [b"one", b"two"], b""),
    (b"\n\r\none\n\n", [b"one"], b""),
    (b"one\ntw", [b"one"], b"tw"),
    (b"a\rb\n", [b"a\rb"], b""),
]


@pytest.mark.parametrize(("data", "payloads", "rest"), CASES)
def test_lines_are_split(data: bytes, payloads: list[bytes], rest: bytes) -> None:
    assert lines.decode(data) == Decoded(payloads, rest, ended=False)


@pytest.mark.parametrize(("data", "payloads", "rest"), CASES)
def test_byte_by_byte(data: bytes, payloads: list[bytes], rest: bytes) -> None:
    found: list[bytes] = []
    kept = b""
    for at in range(len(data)):
        decoded = lines.decode(kept + data[at : at + 1])
        found += decoded.payloads
        kept = decoded.rest
    assert (found, kept) == (payloads, rest)


def test_of_a_line_without_end_no_more_is_kept_than_a_bound() -> None:
    begun = lines.beginning(lines.decode(b"x" * MAX_PAYLOAD).rest)
    assert begun.add(b"x" * 500) is None
    assert len(begun.data) <= MAX_PAYLOAD + 1
    whole = begun.add(b"x\nmore")
    assert whole is not None
    assert lines.decode(whole) == Decoded([b"x" * MAX_PAYLOAD], b"more", ended=False)


def test_a_begun_line_waits_for_its_end() -> None:
    begun = lines.beginning(b"on")
    assert begun.add(b"e") is None
    assert begun.add(b" more\nand") == b"one more\nand"


@given(st.lists(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n"]), max_size=8).map(b"".join), max_size=20))
def test_as_a_matrix_no_lines_are_found_that_are_not_there(data: list[bytes]) -> None:
    data *= FEW + 1
    frames = find_frames(lines, b"".join([*data, PADDING]), np.array([len(read) for read in data], np.int64))
    starts = np.cumsum([0, *map(len, data)])
    for index in set(frames.index.tolist()):
        rows = frames.index == index
        found = [
            data[index][start:end].removesuffix(b"\r")
            for start, end in zip(
                (frames.start[rows] - starts[index]).tolist(), (frames.end[rows] - starts[index]).tolist(), strict=True
            )
        ]
        assert [line for line in found if line] == lines.decode(data[index]).payloads
