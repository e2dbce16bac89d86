"""Row frames: messages and whom they are for, as a router sends them to a front machine in a channel of Valkey.

A frame has some texts and a row for each delivery, a user's id and which text. It names users, not connections: a front
machine finds its own connections of each user when the frame arrives, so that none crosses the network and a connection
that has ended meanwhile is not met. `docs/cluster.md` has the format byte by byte. A driver in any language may as well
send lines, `{123, "Hello"}`, which are a frame each line of which is a row.

In and out: bytes and columns; no I/O, no clock. Cost: 8 bytes a row, 4 a text, and the texts. Bounded: `frames_of` cuts
what it is given into frames of about `FRAME` bytes; `read_frame` takes what is no larger than the bus of a machine has
room for. Fails: BadFrame, with what is wrong, for bytes that are no frame.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.server_under_test.routing.bus import MESSAGES, ROWS, TEXTS, Column, Rows
from floodtest.server_under_test.routing.subjects import MAX_USER
from floodtest.wire.stamp import MAX_TEXT

MAGIC = b"CMT1"
"""What a frame begins with: its kind and its version."""

FRAME = 1 << 17
"""Bytes that a frame is cut at: about a thousand messages of a hundred bytes. The last text may go beyond."""

_HEAD = struct.Struct("<4sIIIQQ")
"""Magic, texts, rows, deliveries, number, and deliveries of all frames before."""

_LINE = re.compile(rb'\{\s*(\d{1,10})\s*,\s*("(?:[^"\\]|\\.)*")\s*\}\s*\.?\s*')


class BadFrame(ValueError):
    """Bytes that are no frame: what is wrong with them, in words."""


@dataclass(frozen=True)
class RowFrame:
    """Rows by the column, and the texts they are of."""

    users: Column
    which: Column
    """The index of each row's text; ascending, so that a user's messages are in order."""
    texts: list[bytes]
    deliveries: int = 0
    """Connections that its router knows of for these rows."""
    number: int = 0
    """Counts the frames of one router to one machine from 1; 0: from somebody who does not count."""
    before: int = 0
    """Deliveries of all frames before this one."""

    def __len__(self) -> int:
        return len(self.users)


def encode_frame(frame: RowFrame) -> bytes:
    """Return a frame as it travels."""
    offsets = np.cumsum([0, *map(len, frame.texts)], dtype="<u4")
    head = _HEAD.pack(MAGIC, len(frame.texts), len(frame), frame.deliveries, frame.number, frame.before)
    columns = (frame.users.astype("<u4"), frame.which.astype("<u4"), offsets)
    return b"".join([head, *(column.tobytes() for column in columns), *frame.texts])


def read_frame(data: bytes) -> RowFrame:
    """Return the frame that bytes are; BadFrame."""
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise BadFrame(f"it does not begin with {MAGIC.decode()} and a head of {_HEAD.size} bytes")
    _, texts, rows, deliveries, number, before = _HEAD.unpack_from(data)
    if rows > ROWS or texts > MESSAGES:
        raise BadFrame(f"it has {rows:,} rows and {texts:,} texts, and {ROWS:,} and {MESSAGES:,} are the most")
    begin = _HEAD.size + 8 * rows + 4 * (texts + 1)
    if len(data) < begin:
        raise BadFrame(f"it has {len(data):,} bytes, and its columns alone take {begin:,}")
    users, which = (np.frombuffer(data, "<u4", rows, _HEAD.size + 4 * rows * at).astype(np.uint32) for at in range(2))
    offsets = np.frombuffer(data, "<u4", texts + 1, _HEAD.size + 8 * rows).astype(np.int64)
    sizes = np.diff(offsets)
    if offsets[0] != 0 or (sizes < 0).any() or (sizes > MAX_TEXT).any() or len(data) != begin + int(offsets[-1]):
        raise BadFrame(f"its offsets are not those of texts of up to {MAX_TEXT:,} bytes that fill its {len(data):,}")
    if int(offsets[-1]) > TEXTS:
        raise BadFrame(f"its texts have {int(offsets[-1]):,} bytes, and {TEXTS:,} are the most")
    if rows and int(which.max()) >= texts:
        raise BadFrame(f"a row is of text {int(which.max()):,}, and there are {texts:,}")
    if (which[1:] < which[:-1]).any():
        raise BadFrame("its rows are not in the order of their texts")
    ends = (begin + offsets).tolist()
    return RowFrame(users, which, [data[start:end] for start, end in pairwise(ends)], deliveries, number, before)


def read_lines(data: bytes) -> RowFrame:
    """Return lines such as `{123, "Hello"}` as a frame; BadFrame names the first one that is none."""
    users: list[int] = []
    texts: list[bytes] = []
    for line in data.splitlines():
        if line.strip():
            user, text = _read_line(line)
            users.append(user)
            texts.append(text)
    size = sum(map(len, texts))
    if len(users) > MESSAGES or size > TEXTS:
        raise BadFrame(f"{len(users):,} lines with {size:,} bytes; {MESSAGES:,} with {TEXTS:,} are the most")
    return RowFrame(np.array(users, np.uint32), np.arange(len(users), dtype=np.uint32), texts)


def _read_line(line: bytes) -> tuple[int, bytes]:
    match = _LINE.fullmatch(line.strip())
    shown = line[:60].decode(errors="replace")
    if match is None or not 1 <= int(match[1]) <= MAX_USER:
        raise BadFrame(f'{shown!r} is no line such as {{123, "Hello"}}, with an id from 1 to {MAX_USER:,}')
    try:
        text = msgspec.json.decode(match[2], type=str).encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadFrame(f"the text in {shown!r} is no string of JSON: {error}") from error
    if len(text) > MAX_TEXT:
        raise BadFrame(f"a text has {len(text):,} bytes, and {MAX_TEXT:,} are the most")
    return int(match[1]), text


def frames_of(rows: Rows, number: int, before: int) -> Iterator[RowFrame]:
    """Cut what one machine has of a turn into frames, the first of which has this number.

    Rows of a user's several connections become one row, which counts as so many deliveries.
    """
    keys, counts = np.unique(rows.which.astype(np.uint64) << np.uint64(32) | rows.users, return_counts=True)
    users, which = keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)
    texts, which = np.unique(which, return_inverse=True)
    is_first = np.append(True, which[1:] != which[:-1])[: len(which)]
    ends = np.cumsum(8 + np.where(is_first, 4 + rows.sizes_of(texts)[which], 0))
    start = 0
    while start < len(users):
        limit = (int(ends[start - 1]) if start else 0) + FRAME
        end = max(start + 1, int(np.searchsorted(ends, limit, "right")))
        first, last = int(which[start]), int(which[end - 1])
        some: npt.NDArray[np.uint32] = texts[first : last + 1]
        deliveries = int(counts[start:end].sum())
        own = (which[start:end] - first).astype(np.uint32)
        yield RowFrame(users[start:end], own, list(map(bytes, rows.texts_of(some))), deliveries, number, before)
        number, before, start = number + 1, before + deliveries, end
