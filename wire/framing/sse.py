"""Server-sent events (WHATWG HTML, section 9.2): an event's data is a message. See `wire.framing.frames` for the
contract.

Lines end with CR LF, LF or CR, and an empty one ends the event. Its data are the values of its `data` lines, joined by
line feeds; an event without such a line, as comments are that keep a connection alive, is no message. Names, ids and
times to retry are passed over. A byte order mark is allowed before any event, and not only before the first: that an
event is the first of its stream is not known here.
"""

import re
from collections.abc import Iterable

import numpy as np

from floodtest.wire.framing.frames import MAX_PAYLOAD, Decoded
from floodtest.wire.matrix import FAR, Ints, windows

CODING: str | None = None
TAIL = b"\n"
"""Behind a payload whose last byte is a line feed already."""

LINE_END: bytes | None = b"\ndata: "

_HEAD = b"data: "
_MARK = b"\xef\xbb\xbf"

_LINE_END = rb"(?:\r\n|\n|\r(?!\n))"
_NOTHING = re.compile(rb"(?:(?::[^\r\n]*)?%b)+" % _LINE_END)
"""Empty lines and comments at the beginning of an event: they belong to no data, and may be all that an idle server
sends. A CR at the end of what has been read may be half a CR LF: its LF then is an empty line more, which says nothing.
"""
_EVENT_END = re.compile(rb"%b%b" % (_LINE_END, _LINE_END))
"""The end of an event's last line, and an empty one."""

_LINES = re.compile(rb"\r\n|\n|\r")

_DATA = np.frombuffer(_HEAD, np.uint8)
_ID = b"id: "
_FEED = ord("\n")
_RETURN = ord("\r")
_IN_PADDING = np.array([48, 32, 16])
"""How far before the end of the padding line feeds are taken to stand, so that there is one behind each place that is
looked at: behind that of an event's first line, of its data, and of an id behind them."""


def heads(sizes: Iterable[int]) -> Iterable[bytes]:
    """Return the beginning of an event for each."""
    return (_HEAD for _ in sizes)


def decode(data: bytes) -> Decoded:
    """Split `data` into whole events and the rest; payloads are the data of those that have any."""
    payloads: list[bytes] = []
    position = 0
    while True:
        if (nothing := _NOTHING.match(data, position)) is not None:
            position = nothing.end()
        if (end := _EVENT_END.search(data, position)) is None:
            return Decoded(payloads, data[position:], ended=False)
        payload = _data_of(data[position : min(end.start(), position + MAX_PAYLOAD)])
        if payload is not None:
            payloads.append(payload)
        position = end.end()


def _data_of(event: bytes) -> bytes | None:
    """Return the data of an event, None if it has no such line."""
    values = []
    for line in _LINES.split(event.removeprefix(_MARK)):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values) if values else None


class BegunEvent:
    """The beginning of an event, of which `MAX_PAYLOAD` bytes are kept, collected until an empty line has come."""

    is_over = True

    def __init__(self, rest: bytes) -> None:
        self.data = bytearray()
        self._last = b""
        self._is_cut = False
        self._keep(rest)

    def _keep(self, data: bytes) -> None:
        """Keep what there is room for, and the last bytes of all, as the end may lie across them and what comes."""
        self.data += data
        self._last = (self._last + data)[-3:]
        if len(self.data) > MAX_PAYLOAD:
            del self.data[MAX_PAYLOAD:]
            self._is_cut = True

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with what comes after it in `data`, or None while `decode` would find nothing new
        in that.
        """
        if (not self.data or self.data.startswith(b":")) and (line := _LINES.search(data)) is not None:
            return b":" + data[line.start() :] if self.data else data  # what a comment says is nothing
        seam = self._last + data
        over = _EVENT_END.search(seam)
        if over is not None and self._is_cut:
            return bytes(self.data) + seam[over.start() :]
        if over is not None:
            return bytes(self.data) + data
        self._keep(data)
        return None


def beginning(rest: bytes) -> BegunEvent:
    """Begin with what `decode` left."""
    return BegunEvent(rest)


def locate(joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
    """Return where the data of events start and end, and where the next begin: events of one line `data: ` and maybe
    one line `id: ` before it or behind it, with line feeds.
    """
    bytes_of = np.frombuffer(joined, np.uint8)
    feeds = np.append(np.flatnonzero(bytes_of == _FEED), len(joined) - _IN_PADDING)
    has_ids = _ID in joined  # somewhere, as the steps of numpy that look for them are a third of the price
    line = _behind_id(joined, at, feeds) if has_ids else at
    fits = (windows(joined, len(_DATA))[line] == _DATA).all(axis=1)
    start = line + len(_DATA)
    end = feeds[np.searchsorted(feeds, start)]
    empty = _behind_id(joined, end + 1, feeds) if has_ids else end + 1
    fits &= bytes_of[empty] == _FEED
    if _RETURN in joined:
        returns = np.append(np.flatnonzero(bytes_of == _RETURN), FAR)
        fits &= returns[np.searchsorted(returns, at)] >= empty
    return start, end, np.where(fits, empty + 1, FAR)


def _behind_id(joined: bytes, line: Ints, feeds: Ints) -> Ints:
    """Return where the line begins that comes behind a line `id: `, and the same place where no such line begins."""
    has_id = (windows(joined, len(_ID))[line] == np.frombuffer(_ID, np.uint8)).all(axis=1)
    return np.where(has_id, feeds[np.searchsorted(feeds, line)] + 1, line)
