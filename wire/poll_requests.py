"""Requests of polls: what a connection that polls asks for, the first time and after each answer. Pure.

What a poll begins behind, its cursor, is what the answer before it said: its ETag and Last-Modified, sent back as
If-None-Match and If-Modified-Since, or what a pattern finds in its body, sent where `{cursor}` stands in the request.
An answer may say nothing of it, as after a time-out: so the last one is kept, in a column by descriptor whose rows are
as wide as the longest cursor so far (32 bytes or a power of two above, 256 at the most); where no cursor has come no
page of it is touched.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from floodtest.wire.poll_options import Polling
from floodtest.wire.template import CURSOR, Column, RequestTemplate

_NARROWEST = 32
"""Bytes of a cursor of nchan: a date of 29, and a number."""

_CONDITIONAL = frozenset({b"if-none-match", b"if-modified-since"})


class Cursors:
    """The cursor of each connection, by descriptor; its bytes have no NUL."""

    def __init__(self, files_limit: int) -> None:
        self._column = np.zeros(files_limit, f"S{_NARROWEST}")
        self._used = 0
        """Rows from which on none has been written."""

    def keep(self, fds: list[int], cursors: list[bytes]) -> None:
        """Keep a cursor for each descriptor."""
        longest = max(map(len, cursors), default=0)
        if longest > self._column.itemsize:
            wider = np.zeros(len(self._column), f"S{1 << (longest - 1).bit_length()}")
            wider[: self._used] = self._column[: self._used]
            self._column = wider
        if self._used or longest:
            self._used = max([self._used, *(fd + 1 for fd in fds)])
            self._column[fds] = cursors

    def of(self, fds: list[int]) -> list[bytes]:
        """Return what is kept for descriptors."""
        found: list[bytes] = self._column[fds].tolist()
        return found


class Polls:
    """Makes the polls of one worker's connections."""

    def __init__(
        self, request: RequestTemplate, column: Callable[[str], Column], files_limit: int, polling: Polling
    ) -> None:
        self._first = polling.first_cursor.encode()
        self._in_headers = polling.cursor is None
        self._is_conditional = not _CONDITIONAL.isdisjoint(name.lower() for name, _ in request.headers)
        self._cursors = Cursors(files_limit)
        self._now: list[bytes] = []
        """The cursors of the users whose polls are being made."""
        has_place = polling.cursor is not None  # otherwise {cursor} may be a column of --users
        self._make = request.requests(
            lambda name: self._cursor_column if has_place and name == CURSOR else column(name)
        )

    def _cursor_column(self, users: list[int]) -> list[bytes]:
        return self._now

    def first(self, users: list[int]) -> list[bytes]:
        """Return the first polls of users."""
        self._now = [self._first] * len(users)
        return self._make(users)

    def begin(self, fds: list[int]) -> None:
        """Keep no cursor of another connection for descriptors whose first polls are made."""
        self._cursors.keep(fds, [self._first] * len(fds))

    def take(self, fds: list[int], cursors: list[bytes]) -> None:
        """Keep the cursors that answers had; an empty one says that the answer had none."""
        if all(cursors):
            self._cursors.keep(fds, cursors)
        elif any(cursors):
            pairs = [(fd, cursor) for fd, cursor in zip(fds, cursors, strict=True) if cursor]
            self._cursors.keep([fd for fd, _ in pairs], [cursor for _, cursor in pairs])

    def next(self, fds: list[int], users: list[int]) -> list[bytes]:
        """Return the next polls of the users that have these descriptors."""
        self._now = self._cursors.of(fds)
        polls = self._make(users)
        if not self._in_headers or self._is_conditional:
            return polls
        return [_with_lines(poll, _lines_of(cursor)) for poll, cursor in zip(polls, self._now, strict=True)]


def _with_lines(poll: bytes, lines: bytes) -> bytes:
    head, end, body = poll.partition(b"\r\n\r\n")
    return b"%b%b%b%b" % (head, lines, end, body)


@lru_cache(maxsize=64)
def _lines_of(cursor: bytes) -> bytes:
    """Return what a cursor adds to a head, each line with its end before it."""
    etag, _, modified = cursor.partition(b"\n")
    lines = b"\r\nIf-None-Match: %b" % etag if etag else b""
    return lines + (b"\r\nIf-Modified-Since: %b" % modified if modified else b"")
