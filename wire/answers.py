"""Answers: what `comet` writes at the beginning of a stream or instead of one, and how a client reads it.

The server half makes heads and refusals as bytes; pure, but for the clock of the header Date. The client half reads an
answer from its first byte until what opens the connection has come (`wire.open_when`). In: bytes as they come. Out:
`Opened`, None for "need more", or `NotOpened` raised. Almost all answers are alike but for the user's id, so what
surrounds the id in the last one of its kind is remembered, and others are compared with that.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from itertools import repeat
from typing import NamedTuple

from floodtest.wire import http
from floodtest.wire.causes import Cause, foreign, refused_by
from floodtest.wire.framing import chunked
from floodtest.wire.framing.frames import MAX_PAYLOAD, Beginning, Framing, begun_behind, decode_all
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.messages import Said
from floodtest.wire.open_when import OpenWhen, Search

OUT_OF_NUMBERS = "We ran out of numbers"
HINT = "Not found. Try /test/123, /events/123, /lines/123 or /ws/123 with an id of your own, from 1 on."

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

TELLING = 16
"""The first bytes of a head, each of which may show that it is none."""

SHOWN = 200
"""Bytes of the beginning of an answer, and of a header that says more, that are kept for people."""

_OF_STREAMS = _lines(FOR_BROWSERS + FOR_PROXIES)
_OF_REFUSALS = _lines(FOR_BROWSERS)
_CLOSE = b"Connection: close\r\n"


# The server half.


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def allowing(origin: str | None) -> bytes:
    """The header of streams that lets the web pages of an origin read them, or with * all pages; None: no header."""
    return b"" if origin is None else _lines([(b"Access-Control-Allow-Origin", origin.encode())])


def stream_head(content_type: str, coding: str | None, close: bool = False, more: bytes = b"") -> bytes:
    """The head of a stream in a transfer coding; without one it ends with the connection, as with `close`."""
    transfer = b"" if coding is None else b"Transfer-Encoding: %b\r\n" % coding.encode()
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: %b\r\n%b%b%b%b\r\n" % (
        _date(int(time.time())),
        content_type.encode(),
        _OF_STREAMS,
        more,
        transfer,
        _CLOSE if close or coding is None else b"",
    )


def refusal(
    status: HTTPStatus, text: str, head_only: bool = False, upgrade: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """A whole answer that ends the connection; `upgrade`: headers that say which other protocol it takes."""
    body = (text + "\n").encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date(int(time.time())).decode()}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n{_OF_REFUSALS.decode()}{_lines(upgrade).decode()}"
        f"Content-Length: {len(body)}\r\n{_CLOSE.decode()}\r\n"
    )
    return head.encode() + (b"" if head_only else body)


SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
"""The answer that opens a WebSocket: what its request's key is answered with (RFC 6455, section 4.2.2)."""


# The client half.


class NotOpened(Exception):
    """An answer that does not open the connection.

    `code` is a `Cause` or an HTTP status, `note` the header that says more, if there is one.
    """

    def __init__(self, code: int, note: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.note = note


def why_no_head(error: http.HeadError, is_http: bool) -> Cause:
    """Return the cause when an answer is refused for its head; `is_http`: its first bytes were those of HTTP/1."""
    if not is_http:
        return Cause.NOT_HTTP
    return _CAUSES_OF_HEADS.get(error.status, Cause.BAD_HEAD)


_CAUSES_OF_HEADS = {
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: Cause.HEAD_TOO_LARGE,
    HTTPStatus.NOT_IMPLEMENTED: Cause.TRANSFER_CODING,  # h11 takes no other one than chunked
}


def parse_head(data: bytes, is_upgrade: bool = False) -> tuple[http.Response, bytes] | None:
    """Return the head of an answer and what came after it, None while it is not whole; NotOpened if it can't be one."""
    cause, may_become_foreign = foreign(data)
    if cause is not None:
        raise NotOpened(cause)
    if may_become_foreign:
        return None
    try:
        return http.parse_response(data, limit=http.MAX_ANSWER_HEAD, is_upgrade=is_upgrade)
    except http.HeadError as error:
        raise NotOpened(why_no_head(error, data.startswith(b"HTTP/1."))) from error


class Opened(NamedTuple):
    """What opened one or more connections."""

    framing: Framing
    messages: int
    """In each of the answers, without those in `bodies`."""
    bodies: list[bytes]
    """What each of the answers has besides, from the beginning of a frame on; empty: nothing."""
    said: Sequence[tuple[int, Said]] = ()
    """What messages before those said that did not open it, each with when it was read, in ns; empty: there were none,
    or none that counts here."""


class Answers:
    """Tells the answers that open a connection; remembers what common ones look like."""

    def __init__(
        self,
        framing_of: Callable[[http.Response], Framing],
        open_when: OpenWhen,
        longest: int,
        grammar: Grammar = OURS,
    ) -> None:
        """Take answers whose head has a framing, which raises `NotOpened` where it has none, and that meet a condition.
        Those that are shorter than `longest` bytes, which one read holds whole, are remembered, if no message in them
        says anything of itself.
        """
        self.read = grammar.reader()
        self.framing_of = framing_of
        self.open_when = open_when
        self._longest = longest
        self._known: dict[int, tuple[bytes, Framing, int]] = {}
        """By digits of the id: the whole answer, %d for the id, and how many messages it has. By 0, where answers do
        not depend on the user: the whole answer, or the head, if that is enough.
        """

    @property
    def at_once(self) -> Opened | None:
        """What opens a connection as soon as its request is written; None: an answer has to come."""
        return None

    def common(self, users: list[int], read: list[bytes]) -> Opened | None:
        """Return what opened connections whose answers are all like one before, or None; compared in one go."""
        if not self.open_when.names_user:
            return self._without_users(users, read)
        digits = len(str(min(users)))
        known = self._known.get(digits)
        if known is None or digits != len(str(max(users))):
            return None
        form, framing, messages = known
        return Opened(framing, messages, []) if read == self._made(form, users) else None

    def _made(self, form: bytes, users: list[int]) -> list[bytes]:
        """Return the answers to these users that have a form."""
        return list(map(form.__mod__, users))

    def _form(self, user: int, before: bytes, after: bytes | None) -> bytes:
        """Return the form of an answer with these bytes before and after the id; None: it has none."""
        return before if after is None else http.numbered(before, after)

    def _without_users(self, users: list[int], read: list[bytes]) -> Opened | None:
        known = self._known.get(0)
        if known is None:
            return None
        answer, framing, messages = known
        if read.count(answer) == len(read):
            return Opened(framing, messages, [])
        if not self.open_when.is_head or not all(map(bytes.startswith, read, repeat(answer))):
            return None
        return Opened(framing, messages, [data[len(answer) :] for data in read])

    def looks_like_an_error(self, begin: bytes) -> bool:
        """Return whether an answer that opens looks as if the server had said no; a head has a status for that."""
        return False

    def begin(self, user: int) -> "Answer":
        """Return what reads the answer to a user."""
        return Answer(self, user)

    def read_head(self, user: int, data: bytes) -> tuple[Framing, bytes] | None:
        """Return the framing of an answer and what there is of its body, None while its head is not whole.

        NotOpened if it can't become a head, or if it is one that does not open the connection.
        """
        parsed = parse_head(data)
        return None if parsed is None else (self.framing_of(parsed[0]), parsed[1])

    def remember_head(self, user: int, head: bytes, framing: Framing) -> None:
        """Remember a head that came as a whole, where it is enough."""
        if len(head) < self._longest:
            self._known[0] = self._form(user, head, None), framing, 0

    def remember(self, user: int, answer: bytes, payloads: list[bytes], framing: Framing) -> None:
        """Remember a whole answer to a user that is these messages and nothing else; those that say something of
        themselves are to be counted one by one, and teach nothing.
        """
        if len(answer) >= self._longest or not self.open_when.can_be_learnt or not self.read(payloads).is_plain:
            return
        if not self.open_when.names_user:
            self._known[0] = self._form(user, answer, None), framing, len(payloads)
            return
        *_, last = [None, *self.open_when.find(user, payloads[-1], is_whole=framing is not chunked)]
        for end in (framing.TAIL, b"\n" + framing.TAIL, b"\r\n" + framing.TAIL):
            if last is not None and answer.endswith(payloads[-1] + end):
                begin = len(answer) - len(end) - len(payloads[-1])
                before, after = answer[: begin + last.start("user")], answer[begin + last.end("user") :]
                self._known[len(last["user"])] = self._form(user, before, after), framing, len(payloads)


class Answer:
    """One answer, from its first byte until it opens the connection.

    What is kept of it: its head until that is whole, then what the search keeps, the numbers of messages in `MAX_SAID`
    bytes of text, and the beginning of one message, as of any stream.
    """

    def __init__(self, answers: Answers, user: int) -> None:
        self._answers = answers
        self._user = user
        self._head = bytearray()
        self._head_at = 0
        """Where the last head of those begins that have come; those before are informational."""
        self._framing: Framing | None = None
        self._begun: Beginning | None = None
        self._said: list[tuple[int, Said]] = []
        self.search = Search(answers.open_when, user)
        self.size = 0
        """Bytes so far."""
        self.begin = b""
        """The first of them, for people to look at; of what comes behind a head that opens a stream, since nothing is
        wrong with that one."""
        self._shows_head = True
        self.reply = b""
        """What the server is owed for what was added last, as `Decoded.reply` has it."""
        self.pings = 0
        """How often it has asked for that."""
        self.heard: list[bytes] = []
        """Messages in what was added last, which have not opened the connection."""

    @property
    def has_head(self) -> bool:
        """Whether its head has come, and is that of a stream."""
        return self._framing is not None

    def add(self, data: bytes, read_ns: int = 0) -> Opened | None:
        """Return what opened the connection, with the end of the body that has come; None if that has not come yet.
        The data was read at that time.

        NotOpened: a status other than 200 (that status), or the `Cause`: a text which says that TLS is spoken, no HTTP,
        a body that is no stream of the protocol or broke its framing, messages that do not meet the condition within
        its bound or `MAX_ANSWER` bytes, a body that ended.
        """
        is_first = not self.size
        self.size += len(data)
        self.reply, self.pings, self.heard = b"", 0, []
        if self.has_head and self._shows_head:
            self.begin, self._shows_head = b"", False
        if len(self.begin) < SHOWN:
            self.begin += data[: SHOWN - len(self.begin)]
        if self.size > MAX_ANSWER and not (self.has_head and self._answers.open_when.is_first):
            raise NotOpened(Cause.HEAD_TOO_LARGE if self._framing is None else Cause.OPEN_WHEN_UNMET)
        if self._framing is not None:
            return self._read_body(self._framing, data, None, read_ns)
        if not self._may_be_head(data):
            return None
        whole = bytes(self._head)
        try:
            parsed = self._answers.read_head(self._user, whole)
        except NotOpened as error:
            error.code = refused_by(error.code, whole)
            raise
        if parsed is None:
            return None
        self._framing, body = parsed
        if body:
            self.begin, self._shows_head = body[:SHOWN], False
        self._head.clear()
        if self._answers.open_when.is_head:
            self._answers.remember_head(self._user, whole[: len(whole) - len(body)], self._framing)
            return Opened(self._framing, 0, [body] if body else [])
        return self._read_body(self._framing, body, whole if is_first else None, read_ns)

    def _may_be_head(self, data: bytes) -> bool:
        """Add to the head; return whether it may be whole now, or wrong: one that comes in many reads is not parsed for
        each of them.
        """
        before = len(self._head)
        is_begun = before - self._head_at < TELLING
        self._head += data
        ends = [blank.end() for blank in http.BLANK_LINE.finditer(self._head, max(self._head_at, before - 2))]
        self._head_at = ends[-1] if ends else self._head_at
        return is_begun or bool(ends) or len(self._head) - self._head_at >= http.MAX_ANSWER_HEAD

    def _read_body(self, framing: Framing, data: bytes, whole: bytes | None, read_ns: int) -> Opened | None:
        """Look at what has come of the body; `whole` is all of the answer if it came in one go."""
        fresh = data if self._begun is None else self._begun.add(data)
        if fresh is None:
            return None
        decoded, broken = decode_all(framing, fresh)
        if self.search.add(decoded.payloads, has_borders=framing is not chunked):
            if whole is not None and not (decoded.rest or decoded.reply or decoded.ended or broken):
                self._answers.remember(self._user, whole, decoded.payloads, framing)
            return Opened(framing, 0, [fresh], tuple(self._said))
        self.reply, self.pings, self.heard = decoded.reply, decoded.pings, decoded.payloads
        self._hear(self._answers.read(decoded.payloads), read_ns)
        if broken is not None:
            raise NotOpened(broken)
        if decoded.ended:
            raise NotOpened(Cause.FINISHED)
        if self.search.is_over:
            raise NotOpened(Cause.OPEN_WHEN_UNMET)
        self._begun = begun_behind(framing, self._begun, decoded)
        return None

    def _hear(self, said: Said, read_ns: int) -> None:
        """Keep what messages said; only where that is about a time does it matter when each was read."""
        if self._said and not (said.stamps or said.sent or said.ticks):
            before_ns, before = self._said[-1]
            self._said[-1] = before_ns, before + said
        elif said.count:
            self._said.append((read_ns, said))
