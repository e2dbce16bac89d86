"""Answers: what `comet` writes at the beginning of a stream or instead of one, and how a client reads it.

The server half makes heads and refusals as bytes; pure, but for the clock of the header Date. The client half reads
an answer from its first byte to the message that names the user, which opens the connection. In: the bytes so far.
Out: the bytes behind that message, None for "need more", or `NotOpened` raised. Almost all answers are alike but for
the user's id, so what surrounds the id in the last one of its kind is remembered, and others are compared with that.
"""

import errno
import re
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from floodtest.flyweight.engine.intake import END
from floodtest.wire import http
from floodtest.wire.framing.frames import Framing, FramingError

OUT_OF_NUMBERS = "We ran out of numbers"
HINT = "Not found. Try /test/123, /events/123 or /lines/123 with an id of your own, from 1 on."

FOR_BROWSERS = ((b"X-Content-Type-Options", b"nosniff"), (b"Cache-Control", b"no-store"))
"""Headers of every answer. Without nosniff Chromium shows nothing of a text/plain stream before a kilobyte has come, by
which it checks whether that is plain text; without no-store a cache may keep what holds for one moment only."""

FOR_PROXIES = ((b"X-Accel-Buffering", b"no"),)
"""Headers of every stream. nginx otherwise hands nothing on before a buffer of 4 or 8 KiB is full (proxy_buffering of
ngx_http_proxy_module)."""


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


_OF_STREAMS = _lines(FOR_BROWSERS + FOR_PROXIES)
_OF_REFUSALS = _lines(FOR_BROWSERS)
_CLOSE = b"Connection: close\r\n"


# The server half.


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def stream_head(content_type: str, coding: str | None, close: bool = False) -> bytes:
    """The head of a stream in a transfer coding; without one it ends with the connection, as with `close`."""
    transfer = b"" if coding is None else b"Transfer-Encoding: %b\r\n" % coding.encode()
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: %b\r\n%b%b%b\r\n" % (
        _date(int(time.time())),
        content_type.encode(),
        _OF_STREAMS,
        transfer,
        _CLOSE if close or coding is None else b"",
    )


def refusal(status: HTTPStatus, text: str, head_only: bool = False) -> bytes:
    """A whole answer that ends the connection."""
    body = (text + "\n").encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date(int(time.time())).decode()}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n{_OF_REFUSALS.decode()}"
        f"Content-Length: {len(body)}\r\n{_CLOSE.decode()}\r\n"
    )
    return head.encode() + (b"" if head_only else body)


# The client half.


class NotOpened(Exception):
    """An answer that does not open the connection; `code` is an errno, an HTTP status or `END`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def require_stream(status: int, coding: str | None, codings: Container[str | None]) -> None:
    """NotOpened unless an answer is a stream: by its status, or EPROTO where its transfer coding is none of these.

    A status below 200 is none of a last answer, and as a code it would be read as an errno: EPROTO.
    """
    if status != 200:
        raise NotOpened(status if status > 200 else errno.EPROTO)
    if coding not in codings:
        raise NotOpened(errno.EPROTO)


def whole_number(user: bytes, text: bytes) -> Iterator[re.Match[bytes]]:
    """Find a user's id in a text where it is not a part of a longer number."""
    return re.finditer(rb"(?<!\d)%b(?!\d)" % user, text)


class Answers:
    """Reads answers; remembers what common ones look like."""

    def __init__(self, framings: Sequence[Framing], longest: int) -> None:
        """Read answers in one of these framings, which differ in their transfer coding; remember answers that are
        shorter than `longest` bytes: those that one read holds whole.
        """
        self._framings = {framing.CODING: framing for framing in framings}
        self._longest = longest
        self._known: dict[int, tuple[bytes, Framing]] = {}  # by digits of the id: the whole answer, %d for the id

    def common(self, users: list[int], read: list[bytes]) -> Framing | None:
        """Return the framing of answers that are all whole and like one before, each with its user's id, or None;
        they are compared in one go.
        """
        digits = len(str(min(users)))
        known, framing = self._known.get(digits, (b"", None))
        alike = framing is not None and digits == len(str(max(users))) and read == list(map(known.__mod__, users))
        return framing if alike else None

    def parse(self, data: bytes, user: int) -> tuple[bytes, Framing] | None:
        """Return what follows the head and the message that names the user, and in which framing; None if they are not
        whole yet.

        NotOpened: a status other than 200 (that status), no HTTP or a body that is framed otherwise (EPROTO), a first
        message without the user's id (EBADMSG), a body that ended (`END`).
        """
        name = b"%d" % user
        try:
            parsed = http.parse_response(data)
            if parsed is None:
                return None
            response, body = parsed
            require_stream(response.status, response.coding, self._framings)
            framing = self._framings[response.coding]
            decoded = framing.decode(body, most=1)
        except (http.HeadError, FramingError) as error:
            raise NotOpened(errno.EPROTO) from error
        if decoded.ended:
            raise NotOpened(END)
        if not decoded.payloads:
            return None
        if not any(whole_number(name, decoded.payloads[0])):
            raise NotOpened(errno.EBADMSG)
        if not decoded.rest and len(data) < self._longest:
            *_, last = whole_number(name, data)  # in the welcome: nothing comes behind it
            self._known[len(name)] = http.numbered(data[: last.start()], data[last.end() :]), framing
        return decoded.rest, framing
