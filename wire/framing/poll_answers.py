"""Answers to polls, one behind another on a connection that is kept alive: the body of each is a message.

In: the bytes of a connection from the beginning of an answer on. Out: the bodies of answers of status 200 that are not
empty; what a time-out brings (204, 304, 408) is no message. What the server is owed for an answer is the next poll:
`Decoded.reply` is what that has to know (`Owed`). See `wire.framing.frames` for the rest of the contract.

A connection that can't be polled again is over: after `Connection: close`, or a body that ends with its connection
(`Cause.NOT_KEPT_ALIVE`), and with any other status, which is then its code. A list in a body is one message.

Cost: heads that differ from one before in nothing but ETag, Last-Modified, Date and Content-Length take 10 µs; h11
reads the others, in 100. Of the connections that stand within an answer a `BegunAnswer` each is kept.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from floodtest.wire import http
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked
from floodtest.wire.framing.frames import MAX_PAYLOAD, Beginning, Decoded, FramingError
from floodtest.wire.matrix import FAR, Ints
from floodtest.wire.poll_options import MAX_CURSOR

OK = 200
TAKEN = frozenset({OK, 204, 304, 408})
"""Statuses after which a connection polls again."""

_MOVING = frozenset({OK, 204})
"""Those whose answers say where the next poll begins. nchan has an ETag in a 408 that is not that of its last message,
and a 304 says that nothing has changed.
"""

_NO_BODY = frozenset({204, 304})

_IS_TEXT = re.compile(rb"[^\0-\x1f\x7f]*")
"""What can be sent back in a header as it is; without control characters nothing ends a header and begins another."""

_VARYING = re.compile(rb"(?<=\r\n)(etag|last-modified|date|content-length): ([!-~][ -~]*(?<! ))(?=\r\n)", re.IGNORECASE)
"""Headers in which answers of one server differ, where they are written plainly."""

MOST_ANSWERS = 4
"""Answers that are taken of one read. A connection is owed one; h11 takes 0.1 ms for each that is sent beyond that."""

MAX_FORMS = 64
MAX_KNOWN = 1 << 12
"""Bytes of a head that is remembered."""

MAX_DIGITS = 15
"""Digits of a Content-Length that is read without h11."""


class Owed(NamedTuple):
    """What the next poll has to know of the answers before."""

    has_message: bool
    cursor: bytes
    """What the next poll begins behind: ETag and Last-Modified with a line feed between them, or what a pattern found.
    Empty: that of the poll before stays."""

    def packed(self) -> bytes:
        """Return it as `Decoded.reply` has it."""
        return (b"+" if self.has_message else b"-") + self.cursor


def unpacked(reply: bytes) -> Owed:
    """Return what a reply of this framing says."""
    return Owed(reply.startswith(b"+"), reply[1:])


NO_SIZE = -1


class Head(NamedTuple):
    """What has to be known of an answer's head."""

    status: int
    size: int
    """Bytes of the body; `NO_SIZE`: it has none whatever a Content-Length says, or comes in chunks."""
    is_chunked: bool
    is_last: bool
    """Whether the connection ends with this answer."""
    etag: bytes = b""
    modified: bytes = b""


def is_framed(head: http.Response) -> bool:
    """Whether the end of an answer's body is known before its connection ends (RFC 9112, section 6.3)."""
    return head.status in _NO_BODY or head.coding is not None or head.is_sized


def _head_of(head: http.Response) -> Head:
    if head.status not in TAKEN:
        raise _over(head.status)
    if not is_framed(head):
        raise _over(Cause.NOT_KEPT_ALIVE)
    has_body, is_chunked = head.status not in _NO_BODY, head.coding is not None
    etag, modified, length = (
        head.fields.get(name, [""])[0].encode("latin-1") for name in (b"etag", b"last-modified", b"content-length")
    )
    if not _IS_TEXT.fullmatch(etag) or not _IS_TEXT.fullmatch(modified):
        raise _over(Cause.BAD_CURSOR)
    return Head(
        head.status,
        int(length) if has_body and not is_chunked else NO_SIZE,
        has_body and is_chunked,
        not head.is_kept_alive,
        etag,
        modified,
    )


def _over(cause: int) -> FramingError:
    error = FramingError("the connection can't be polled again")
    error.cause = cause
    return error


class _Form(NamedTuple):
    """What heads are alike in, and at which of their varying headers (-1: at none) the values of each stand."""

    head: Head
    etag: int
    modified: int
    length: int

    def filled(self, values: list[bytes]) -> Head | None:
        """Return a head of this form with these values; None: h11 has to look at it."""
        at, size = self.length, 0
        if at >= 0:
            if not values[at].isdigit() or len(values[at]) > MAX_DIGITS:
                return None
            size = int(values[at])
        status, known_size, is_chunked, is_last, _, _ = self.head
        return Head(
            status,
            size if known_size >= 0 else NO_SIZE,
            is_chunked,
            is_last,
            values[self.etag] if self.etag >= 0 else b"",
            values[self.modified] if self.modified >= 0 else b"",
        )


class Heads:
    """Reads heads; remembers what h11 has said of those that others are like."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], _Form] = {}

    def read(self, data: bytes, at: int) -> tuple[Head, int] | None:
        """Return the head that begins there and where its body begins, None while it is not whole.

        FramingError for what can't become a head, and for one after which nobody can poll again.
        """
        return self.read_known(data, at) or self._read_any(data, at)

    def read_known(self, data: bytes, at: int) -> tuple[Head, int] | None:
        """Return the head that begins there if it is like one before, and where its body begins."""
        end = data.find(b"\r\n\r\n", at, at + MAX_KNOWN) + 2 if self._known else 0
        if end < 2:
            return None
        key, values = _taken_apart(data[at:end])
        form = self._known.get(key)
        head = None if form is None else form.filled(values)
        return None if head is None else (head, end + 2)

    def _read_any(self, data: bytes, at: int) -> tuple[Head, int] | None:
        try:
            parsed = http.parse_response(data[at:], limit=http.MAX_ANSWER_HEAD)
        except http.HeadError as error:
            raise FramingError(f"no head of an answer: {error}") from error
        if parsed is None:
            return None
        head, start = _head_of(parsed[0]), len(data) - len(parsed[1])
        self._remember(data[at:start], head)
        return head, start

    def _remember(self, text: bytes, head: Head) -> None:
        """Remember a head, if all that is taken from it stands where it would be looked for in another one."""
        if len(text) > MAX_KNOWN or text.find(b"\r\n\r\n") != len(text) - 4:
            return
        key, values = _taken_apart(text[:-2])
        names = [name.lower() for name in key[1::2]]
        places = [names.index(name) if name in names else -1 for name in (b"etag", b"last-modified", b"content-length")]
        form = _Form(head, *places)
        if len(set(names)) == len(names) and form.filled(values) == head:
            if len(self._known) >= MAX_FORMS:
                self._known.clear()
            self._known[key] = form


def _taken_apart(head: bytes) -> tuple[tuple[bytes, ...], list[bytes]]:
    """Return the texts of a head and the names of its varying headers between them, and the values of these."""
    parts = _VARYING.split(head)
    values = parts[2::3]
    del parts[2::3]
    return tuple(parts), values


class Polled:
    """The answers to polls. With a pattern the cursor is what its first group holds, where it is found last."""

    CODING: str | None = None
    TAIL = b""
    LINE_END: bytes | None = None

    def __init__(self, cursor: str | None = None) -> None:
        self._pattern = None if cursor is None else re.compile(cursor.encode(), re.DOTALL)
        self.known = Heads()

    def heads(self, sizes: Iterable[int]) -> Iterable[bytes]:
        """Return the heads of answers with bodies of these sizes."""
        return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size for size in sizes)

    def decode(self, data: bytes) -> Decoded:
        """Split `data` into whole answers and the rest; FramingError where nobody can poll again."""
        payloads: list[bytes] = []
        owed: Owed | None = None
        at = count = 0
        try:
            while (found := self._next(data, at)) is not None:
                if count == MOST_ANSWERS:
                    raise FramingError("answers to polls that nobody has sent")
                head, body, at = found
                count += 1
                has_message = head.status == OK and bool(body)
                if has_message:
                    payloads.append(body)
                cursor = self._cursor(head, body)
                if head.is_last:
                    raise _over(Cause.NOT_KEPT_ALIVE)
                owed = Owed(has_message or bool(payloads), cursor or (b"" if owed is None else owed.cursor))
        except FramingError as error:
            error.payloads = payloads
            raise
        return Decoded(payloads, data[at:], ended=False, reply=b"" if owed is None else owed.packed())

    def _next(self, data: bytes, at: int) -> tuple[Head, bytes, int] | None:
        """Return the answer that begins there, its body, and where the next one begins; None while it is not whole."""
        found = self.known.read(data, at) if at < len(data) else None
        if found is None:
            return None
        head, start = found
        if not head.is_chunked:
            end = start + max(0, head.size)
            return (head, data[start : min(end, start + MAX_PAYLOAD)], end) if end <= len(data) else None
        body = chunked.decode(data[start:])
        end_of_trailers = _end_of_trailers(body.rest) if body.ended else None
        if end_of_trailers is None:
            return None
        return head, b"".join(body.payloads)[:MAX_PAYLOAD], len(data) - len(body.rest) + end_of_trailers

    def cursor_in(self, body: bytes) -> bytes:
        """Return what the pattern finds, where it finds it last; empty: nothing, or there is no pattern."""
        found = [] if self._pattern is None else list(self._pattern.finditer(body))
        return (found[-1][1] or b"") if found else b""

    def _cursor(self, head: Head, body: bytes) -> bytes:
        if head.status not in _MOVING:
            return b""
        if self._pattern is None:
            cursor = b"%b\n%b" % (head.etag, head.modified) if head.etag or head.modified else b""
        else:
            cursor = self.cursor_in(body)
            if not _IS_TEXT.fullmatch(cursor):
                raise _over(Cause.BAD_CURSOR)
        if len(cursor) > MAX_CURSOR:
            raise _over(Cause.BAD_CURSOR)
        return cursor

    def beginning(self, rest: bytes) -> Beginning:
        """Begin with what `decode` left."""
        found = self.known.read(rest, 0)
        if found is None:
            return BegunHead(rest)
        head, start = found
        return BegunChunks(head, rest, start) if head.is_chunked else BegunBody(head, rest, start)

    def locate(self, joined: bytes, at: Ints) -> tuple[Ints, Ints, Ints]:
        """Return that no answer is found: all are left to `decode`."""
        return at, at, np.full(len(at), FAR)


def _end_of_trailers(rest: bytes | bytearray) -> int | None:
    """Return where the trailers behind a last chunk end, None while they go on (RFC 9112, section 7.1.2)."""
    if rest.startswith(b"\r\n"):
        return 2
    end = rest.find(b"\r\n\r\n")
    if end < 0 and len(rest) > http.MAX_ANSWER_HEAD:
        raise FramingError("trailers that do not end")
    return end + 4 if end >= 0 else None


class BegunHead:
    """The beginning of a head, or of one behind informational ones, which is looked at again with its first bytes, and
    when a blank line may have ended it: one that comes in many reads is not parsed for each of them.
    """

    is_over = True

    def __init__(self, rest: bytes) -> None:
        self.data = bytearray(rest)
        self._at = max((blank.end() for blank in http.BLANK_LINE.finditer(rest)), default=0)
        """Where the last head of those begins that have come."""

    def add(self, data: bytes) -> bytes | None:
        """Return all of it with `data` behind it, or None while `decode` would find nothing new in that."""
        before = len(self.data)
        self.data += data
        is_telling = before - self._at < len("HTTP/1.") or len(self.data) - self._at >= http.MAX_ANSWER_HEAD
        ends = is_telling or http.BLANK_LINE.search(self.data, max(self._at, before - 2))
        return bytes(self.data) if ends else None


def _sized(head: Head, body: bytes | bytearray) -> bytes:
    """Return an answer as its head and its body say, in one piece."""
    etag = b"ETag: %b\r\n" % head.etag if head.etag else b""
    modified = b"Last-Modified: %b\r\n" % head.modified if head.modified else b""
    close = b"Connection: close\r\n" if head.is_last else b""
    form = b"HTTP/1.1 %d .\r\nContent-Length: %d\r\n%b%b%b\r\n%b"
    return form % (head.status, len(body), etag, modified, close, body)


class BegunBody:
    """An answer whose body says how long it is: as much of it is collected as is kept, until its end has come."""

    is_over = True

    def __init__(self, head: Head, rest: bytes, start: int) -> None:
        self.data = bytearray(rest[:start])
        self._head = head
        self._body = bytearray(rest[start : start + MAX_PAYLOAD])
        self._missing = head.size - (len(rest) - start)

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with what comes after it in `data`, or None while it is not whole."""
        part = data[: self._missing]
        self._missing -= len(part)
        self._body += part[: MAX_PAYLOAD - len(self._body)]
        return None if self._missing else _sized(self._head, self._body) + data[len(part) :]


class BegunChunks:
    """An answer whose body comes in chunks, of which the data is collected until its last chunk has come."""

    is_over = True

    def __init__(self, head: Head, rest: bytes, start: int) -> None:
        self.data = bytearray(rest[:start])
        self._head = head
        self._body = bytearray()
        self._chunk: Beginning | None = None
        self._trailers: bytes | None = None
        """What has come behind the last chunk; None: that has not come."""
        self._take(rest[start:])

    def add(self, data: bytes) -> bytes | None:
        """Return what is kept of it with what comes after it in `data`, or None while it is not whole."""
        try:
            if self._trailers is None:
                self._take(data)
            else:
                self._trailers += data
            end = None if self._trailers is None else _end_of_trailers(self._trailers)
        except FramingError:
            return bytes(self.data) + b"no size\r\n"  # in which `decode` finds the error
        if self._trailers is None or end is None:
            return None
        return _sized(self._head, self._body) + self._trailers[end:]

    def _take(self, data: bytes) -> None:
        whole = data if self._chunk is None else self._chunk.add(data)
        if whole is None:
            return
        found = chunked.decode(whole)
        self._body += b"".join(found.payloads)[: MAX_PAYLOAD - len(self._body)]
        if found.ended:
            self._trailers = found.rest
        else:
            self._chunk = chunked.beginning(found.rest) if found.rest else None
