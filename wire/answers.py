"""Answers: what `comet` writes at the beginning of a stream or instead of one, and how a client reads it.

The server half makes heads and refusals as bytes; pure, but for the clock of the header Date. The client half reads an
answer from its first byte to the message that names the user, which opens the connection. In: bytes as they come. Out:
the bytes behind that message, None for "need more", or `NotOpened` raised. Almost all answers are alike but for the
user's id, so what surrounds the id in the last one of its kind is remembered, and others are compared with that.
"""

import errno
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from floodtest.flyweight.engine.intake import END
from floodtest.wire import http
from floodtest.wire.framing.frames import MAX_PAYLOAD, Beginning, Framing, FramingError

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


MAX_ANSWER = 2 * MAX_PAYLOAD
"""Bytes of an answer before the message that names the user is whole: informational answers, comments and itself."""

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


def whole_number(user: bytes, text: bytes) -> Iterator[re.Match[bytes]]:
    """Find a user's id in a text where it is not a part of a longer number."""
    return re.finditer(rb"(?<!\d)%b(?!\d)" % user, text)


class Answers:
    """Tells the answers that open a connection; remembers what common ones look like."""

    def __init__(self, framings: Sequence[Framing], media_type: str | None, longest: int) -> None:
        """Take answers in one of these framings, which differ in their transfer coding, and of this media type if one
        is named. Those that are shorter than `longest` bytes, which one read holds whole, are remembered.
        """
        self._framings = {framing.CODING: framing for framing in framings}
        self._media_type = media_type
        self._longest = longest
        self._known: dict[int, tuple[bytes, Framing]] = {}  # by digits of the id: the whole answer, %d for the id

    def common(self, users: list[int], read: list[bytes]) -> Framing | None:
        """Return the framing of answers that are all whole and like one before, each with its user's id, or None; they
        are compared in one go.
        """
        digits = len(str(min(users)))
        known, framing = self._known.get(digits, (b"", None))
        alike = framing is not None and digits == len(str(max(users))) and read == list(map(known.__mod__, users))
        return framing if alike else None

    def begin(self, user: int) -> "Answer":
        """Return what reads the answer to a user."""
        return Answer(self, b"%d" % user)

    def require_stream(self, head: http.Response) -> Framing:
        """Return the framing of an answer with this head. NotOpened if it is no stream: by its status, or EPROTO
        where its transfer coding or its media type is another one, or it says how long its body is.

        A status below 200 is none of a last answer, and as a code it would be read as an errno: EPROTO.
        """
        if head.status != 200:
            raise NotOpened(head.status if head.status > 200 else errno.EPROTO)
        framing = self._framings.get(head.coding)
        is_other = self._media_type is not None and head.media_type != self._media_type
        if framing is None or is_other or (head.is_sized and head.coding is None):
            raise NotOpened(errno.EPROTO)
        return framing

    def remember(self, answer: bytes, welcome: bytes, last: "re.Match[bytes]", framing: Framing) -> None:
        """Remember a whole answer whose message `welcome` has the user's id at `last`, if the message is its end."""
        for end in (framing.TAIL, b"\n" + framing.TAIL):
            if len(answer) < self._longest and answer.endswith(welcome + end):
                at = len(answer) - len(end) - len(welcome)
                before, after = answer[: at + last.start()], answer[at + last.end() :]
                self._known[last.end() - last.start()] = http.numbered(before, after), framing


class Answer:
    """One answer, from its first byte to the message that names the user."""

    def __init__(self, answers: Answers, user: bytes) -> None:
        self._answers = answers
        self._user = user
        self._head = b""
        self._framing: Framing | None = None
        self._begun: Beginning | None = None
        self.size = 0
        """Bytes so far."""

    def add(self, data: bytes) -> tuple[bytes, Framing] | None:
        """Return what follows the message that names the user, and in which framing; None if that is not whole yet.

        NotOpened: a status other than 200 (that status), no HTTP, a body that is framed otherwise or more than
        `MAX_ANSWER` bytes (EPROTO), a first message without the user's id (EBADMSG), a body that ended (`END`).
        """
        is_first = not self.size
        self.size += len(data)
        try:
            if self.size > MAX_ANSWER:
                raise NotOpened(errno.EPROTO)
            body = self._body(data)
            if body is None or self._framing is None:
                return None
            decoded = self._framing.decode(body, most=1)
        except (http.HeadError, FramingError) as error:
            raise NotOpened(errno.EPROTO) from error
        if not decoded.payloads:
            if decoded.ended:
                raise NotOpened(END)
            self._begun = self._framing.beginning(decoded.rest) if decoded.rest else None
            return None
        *_, last = [None, *whole_number(self._user, decoded.payloads[0])]
        if last is None:
            raise NotOpened(errno.EBADMSG)
        if is_first and not decoded.rest:
            self._answers.remember(data, decoded.payloads[0], last, self._framing)
        return decoded.rest, self._framing

    def _body(self, data: bytes) -> bytes | None:
        """Return what there is to decode of the body, None if there is nothing new."""
        if self._framing is None:
            self._head += data
            parsed = http.parse_response(self._head)
            if parsed is None:
                return None
            self._framing = self._answers.require_stream(parsed[0])
            self._head = b""
            return parsed[1]
        return data if self._begun is None else self._begun.add(data)
