"""Protocols: what the two ends of a stream do, as objects with a client half and a server half. Pure.

A protocol has a name, by which the command line and the server's columns know it, and a framing (`wire.framing`);
what its messages say is one grammar for all (`wire.messages`). Nothing of one connection is kept here.

To add one: a module in `wire/framing` for its frames, its name in `wire.names`, and an entry in `CLIENT_PROTOCOLS`; if
our server speaks it, in `BY_PATH`, and in `UNTIL_CLOSE` what clients of HTTP/1.0 get for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from floodtest.wire import answers, handshake, http, messages
from floodtest.wire.answers import NotOpened
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import Framing, encode
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.framing.poll_answers import TAKEN, Polled, is_framed
from floodtest.wire.framing.websocket import FROM_SERVER, NORMAL, accept_of, close, masked, masked_message
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.incoming import Incoming, Users
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.poll_opening import FirstPollAnswers
from floodtest.wire.poll_options import Polling
from floodtest.wire.raw import RawAnswers
from floodtest.wire.template import Column, Requests, RequestTemplate

_PAGES = ("text/html", "application/xhtml+xml")
"""Media types of what people look at in browsers, such as a page to log in."""

_EVENT_STREAM = "text/event-stream"
"""The media type of what does not end by itself, so that nobody polls for it."""


@dataclass(frozen=True, eq=False)  # each of them is there once
class Protocol:
    """A stream of messages that is the body of an HTTP answer, or follows one, and never ends: the client half."""

    name: str
    framings: tuple[Framing, ...]
    """All in which a body may come."""
    accept: str | None = None
    """What a request says that it accepts; None: nothing is said."""

    @property
    def media_type(self) -> str | None:
        """That an answer has to have; None: any."""
        return self.accept

    def request(self, asked: RequestTemplate, host: str) -> RequestTemplate:
        """Return what a connection sends to a host, with the headers that this protocol has where none is given."""
        accept = [] if self.accept is None else [(b"Accept", self.accept.encode())]
        # Without Accept-Encoding any coding would be acceptable (RFC 9110, 12.5.3), and none is read here.
        plain = (b"Accept-Encoding", b"identity")
        return asked.with_headers([(b"Host", host.encode()), (b"User-Agent", b"floodtest"), *accept, plain])

    def requests(self, request: RequestTemplate, column: Callable[[str], Column]) -> Requests:
        """Return what makes requests of users by the batch; `column` has what stands for placeholders in them."""
        return request.requests(column)

    def sends(self, request: RequestTemplate, column: Callable[[str], Column]) -> Requests | None:
        """Return what makes what users send once the heads of their answers have come, as it travels; None: nothing."""
        return None

    def framing_of(self, head: http.Response) -> Framing:
        """Return the framing of an answer with this head. NotOpened if it is no stream of this protocol, by its status
        or by the `Cause`.

        A status below 200 is none of a last answer, and as a code it would be read as an errno: BAD_HEAD.
        """
        if head.status != 200:
            raise NotOpened(head.status if head.status > 200 else Cause.BAD_HEAD, head.note)
        if head.content_coding is not None:
            raise NotOpened(Cause.CONTENT_CODING, f"Content-Encoding: {head.content_coding}")
        framing = self._framing_in(head)
        is_sized, is_other = head.is_sized and head.coding is None, self.media_type not in (None, head.media_type)
        if framing is not None and not is_sized and not is_other:
            return framing
        if head.media_type in _PAGES:
            raise NotOpened(Cause.WEB_PAGE)
        if is_other:
            raise NotOpened(Cause.MEDIA_TYPE, f"Content-Type: {head.media_type or 'none'}")
        if is_sized:
            raise NotOpened(Cause.NOT_A_STREAM)
        if head.coding is None:
            raise NotOpened(Cause.NOT_CHUNKED)
        raise NotOpened(Cause.TRANSFER_CODING, f"Transfer-Encoding: {head.coding}")

    def _framing_in(self, head: http.Response) -> Framing | None:
        return next((framing for framing in self.framings if head.coding == framing.CODING), None)

    def answers(
        self, open_when: OpenWhen, longest: int, request: RequestTemplate | None = None, grammar: Grammar = OURS
    ) -> answers.Answers:
        """Return what tells the answers to such a request that open a connection, and have messages of a grammar."""
        return answers.Answers(self.framing_of, open_when, longest, grammar)

    def incoming(self, files_limit: int, grammar: Grammar = OURS, users: Users | None = None) -> Incoming:
        """Return what takes batches of reads apart, with messages of a grammar; see `wire.incoming` for `users`."""
        return Incoming(self.framings, files_limit, grammar, users)

    def name_of(self, framing: Framing) -> str:
        """Return the name of the protocol that it was where messages came in a framing of it."""
        return self.name

    def reply(self, owed: bytes) -> bytes:
        """Return what the client writes to a server that is owed this (`Decoded.reply`)."""
        return owed

    def goodbye(self) -> bytes:
        """Return what the client writes on an open connection before it closes it."""
        return b""


@dataclass(frozen=True, eq=False)
class LongPolling(Protocol):
    """Polls on a connection that is kept alive: its stream is all the answers. What is written for them is made by
    `wire.poll_requests`, which knows the cursor of each connection.
    """

    def by_pattern(self, cursor: str | None) -> "LongPolling":
        """Return it with a pattern that finds the cursor; None: headers have it."""
        return self if cursor is None else replace(self, framings=(Polled(cursor),))

    def framing_of(self, head: http.Response) -> Framing:
        """Return the framing of answers of which this head begins the first; NotOpened if it can't be polled again."""
        if head.status not in TAKEN:
            raise NotOpened(head.status if head.status > 200 else Cause.BAD_HEAD, head.note)
        if head.media_type in _PAGES:
            raise NotOpened(Cause.WEB_PAGE)
        if head.media_type == _EVENT_STREAM:
            raise NotOpened(Cause.MEDIA_TYPE, f"Content-Type: {head.media_type}")
        if not is_framed(head):
            raise NotOpened(Cause.NOT_KEPT_ALIVE)
        return self.framings[0]

    def answers(
        self, open_when: OpenWhen, longest: int, request: RequestTemplate | None = None, grammar: Grammar = OURS
    ) -> answers.Answers:
        """Return what tells the first answers that open a connection."""
        (framing,) = self.framings
        assert isinstance(framing, Polled)
        return FirstPollAnswers(self.framing_of, open_when, longest, grammar, framing)


@dataclass(frozen=True, eq=False)
class Upgraded(Protocol):
    """A WebSocket: the client half. The answer that opens it is a 101, which fits the key of its request."""

    def request(self, asked: RequestTemplate, host: str) -> RequestTemplate:
        """Return what a connection sends to a host, as that of any protocol, but for the key."""
        return super().request(asked, host).with_headers(handshake.HEADERS)

    def requests(self, request: RequestTemplate, column: Callable[[str], Column]) -> Requests:
        """Return what makes requests of users by the batch, with a key for each; none of them has a body."""
        make = super().requests(request, column)

        def with_keys(users: list[int]) -> list[bytes]:
            keys = map(handshake.key_of, users)
            heads = (whole.removesuffix(b"\r\n") for whole in make(users))
            return [b"%bSec-WebSocket-Key: %b\r\n\r\n" % pair for pair in zip(heads, keys, strict=True)]

        return with_keys

    def sends(self, request: RequestTemplate, column: Callable[[str], Column]) -> Requests | None:
        """Return what makes the first message of each user: text, or binary where it is no UTF-8."""
        make = request.texts_to_send(column)
        return None if make is None else lambda users: list(map(masked_message, make(users)))

    def answers(
        self, open_when: OpenWhen, longest: int, request: RequestTemplate | None = None, grammar: Grammar = OURS
    ) -> answers.Answers:
        """Return what tells the answers to such a request that open a connection, and have messages of a grammar."""
        offered = frozenset() if request is None else handshake.subprotocols_of(request)
        return handshake.Handshakes(self.framing_of, open_when, longest, grammar, offered)

    def reply(self, owed: bytes) -> bytes:
        """Return frames with masks, as a client writes them."""
        return masked(owed)

    def goodbye(self) -> bytes:
        """Return a close, which tells the server that nothing has gone wrong."""
        return masked(close(NORMAL))


@dataclass(frozen=True, eq=False)
class Raw(Protocol):
    """A TCP stream without HTTP: the client half. What is sent first takes the place of a request."""

    def request(self, asked: RequestTemplate, host: str) -> RequestTemplate:
        """Return what a connection sends: there is no head that could have the host."""
        return asked

    def requests(self, request: RequestTemplate, column: Callable[[str], Column]) -> Requests:
        """Return what makes what users send first, which may be nothing."""
        return request.texts_to_send(column) or (lambda users: [b""] * len(users))

    def answers(
        self, open_when: OpenWhen, longest: int, request: RequestTemplate | None = None, grammar: Grammar = OURS
    ) -> answers.Answers:
        """Return what tells what opens a connection."""
        return RawAnswers(open_when, longest, grammar)


@dataclass(frozen=True, eq=False)
class Served(Protocol):
    """A protocol that our server speaks as well: both halves."""

    _: KW_ONLY
    path: str
    """Where our server has it: `/PATH/<id>`."""
    content_type: str = "text/plain; charset=utf-8"
    is_events: bool = False
    """Whether messages are server-sent events, which have fields besides their data."""

    @property
    def framing(self) -> Framing:
        """Return the one in which our server frames its messages."""
        return self.framings[0]

    def head(self, close: bool = False, more: bytes = b"") -> bytes:
        """Return the head of a stream, or with `close` that of a connection on which nothing follows, perhaps with more
        headers.
        """
        return answers.stream_head(self.content_type, self.framing.CODING, close, more)

    def fields(self, lines: bytes) -> bytes:
        """Return lines of server-sent events that are no message, such as an id or a comment, as they travel; nothing
        where the protocol has no such lines.
        """
        if not (lines and self.is_events):
            return b""
        return lines if self.framing.CODING is None else encode(chunked, lines)

    def welcomes(
        self, users: list[int], keys: Sequence[bytes] = (), more: bytes = b"", lines: bytes = b""
    ) -> list[bytes]:
        """Return the whole beginning of a stream, its head and the welcome, for each user; `keys` are those of their
        requests, where the head answers one, `more` further headers, and `lines` further fields of the first event.
        """
        head = self.head(more=more) + self.fields(lines)
        digits = len(str(min(users)))
        if digits == len(str(max(users))):
            return list(map(_welcome(self, digits, head).__mod__, users))
        return [_welcome(self, len(str(user)), head) % user for user in users]

    def frame(self, number: int, text: bytes, event: bytes = b"") -> bytes:
        """Return the message of a number and a text, as it travels, perhaps with the id of its event."""
        text = messages.with_line_ends(text, self.framing.LINE_END)
        if event and self.is_events:
            text = _WITH_ID % (text, event)
        return encode(self.framing, messages.MESSAGE % (number, text))

    def frames(
        self,
        numbers: npt.NDArray[np.uint32],
        texts: Sequence[bytes | memoryview],
        events: Sequence[bytes] = (),
    ) -> list[bytes]:
        """Return the messages of connections that have come to `numbers[i]`, as they travel, perhaps with the ids of
        their events.
        """
        line_end = self.framing.LINE_END
        if line_end is not None and messages.have_line_ends(texts):
            texts = [messages.with_line_ends(bytes(text), line_end) for text in texts]
        if events and self.is_events:
            texts = list(map(_WITH_ID.__mod__, zip(texts, events, strict=True)))
        heads = self.framing.heads(messages.sizes(numbers, texts))
        form = b"%b" + messages.MESSAGE + self.framing.TAIL
        return list(map(form.__mod__, zip(heads, numbers.tolist(), texts, strict=True)))

    def lost(self, event: bytes) -> bytes:
        """Return the event that says that messages were lost, and behind which event the client is then."""
        return encode(self.framing, _LOST % event)


_WITH_ID = b"%b\nid: %b"
"""A text, and behind its data the id of its event: the order of fields within an event has no meaning."""

_LOST = b"Messages before this event are missing: they are not kept any more.\nevent: lost\nid: %b\n"


@dataclass(frozen=True, eq=False)
class WebSocket(Upgraded, Served):
    """A WebSocket: both halves. Its head is the answer to the key of its request. All messages are text, which has to
    be UTF-8: whatever the server is given to publish is.
    """

    def welcomes(
        self, users: list[int], keys: Sequence[bytes] = (), more: bytes = b"", lines: bytes = b""
    ) -> list[bytes]:
        """Return the answer to a handshake's key and the welcome, for each user; pages need no header to read that."""
        return [
            answers.SWITCHED % accept_of(key) + _welcome(self, len(str(user)), b"") % user
            for user, key in zip(users, keys, strict=True)
        ]


@lru_cache(maxsize=64)
def _welcome(protocol: Served, digits: int, head: bytes) -> bytes:
    """Return the beginning of a stream for ids of so many digits, with %d for the id."""
    user = 10 ** (digits - 1)
    before, _, after = (head + encode(protocol.framing, messages.WELCOME % user)).rpartition(b"%d" % user)
    return http.numbered(before, after)


_IN_CHUNKS = {framing: InChunks(framing) for framing in (sse, lines)}

CHUNKED = Served("chunked", (chunked,), path="test")
EVENTS = Served(
    "sse",
    (_IN_CHUNKS[sse], sse),
    "text/event-stream",
    path="events",
    content_type="text/event-stream",
    is_events=True,
)
LINES = Served("lines", (_IN_CHUNKS[lines], lines), path="lines")
WEBSOCKET = WebSocket("websocket", (FROM_SERVER,), path="ws")

UNTIL_CLOSE: dict[str, Served] = {
    protocol.path: replace(protocol, framings=(framing,))
    for protocol, framing in ((CHUNKED, lines), (EVENTS, sse), (LINES, lines))
}
"""By path: what clients of HTTP/1.0 get, which know no chunks: a stream that ends with its connection. A WebSocket they
can't have."""

BY_PATH: dict[str, Served] = {protocol.path: protocol for protocol in (CHUNKED, EVENTS, LINES, WEBSOCKET)}
"""What is served at each path to clients of HTTP/1.1."""

SERVED: tuple[Served, ...] = (*BY_PATH.values(), *UNTIL_CLOSE.values())
"""What the server speaks; a column of connections holds their places in this table."""


class Auto(Protocol):
    """Any of the others, by what the head of an answer says; what says nothing is chunks, or lines until its end.

    Events are asked for first: a server that has a stream in several forms would otherwise take us for a program that
    knows none of them, and some answer 406.
    """

    @property
    def media_type(self) -> None:
        """That an answer has to have: any."""

    def _framing_in(self, head: http.Response) -> Framing | None:
        if head.media_type in _PAGES:
            return None  # of a login, or of an error: streams that are HTML have to be named
        kind = _KINDS.get(head.media_type, CHUNKED)
        kind = LINES if kind is CHUNKED and head.coding is None else kind
        return kind._framing_in(head)

    def name_of(self, framing: Framing) -> str:
        """Return the name of the protocol that it has turned out to be."""
        return next(kind.name for kind in (CHUNKED, EVENTS, LINES) if framing in kind.framings)


_KINDS: dict[str | None, Served] = {
    _EVENT_STREAM: EVENTS,
    **dict.fromkeys(
        ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"), LINES
    ),
}
"""Media types whose framing is known."""

RAW = Raw("raw", (lines,))

AUTO = Auto("auto", (*CHUNKED.framings, *EVENTS.framings, *LINES.framings), "text/event-stream, */*")

OWN: dict[str, Served] = {protocol.name: protocol for protocol in BY_PATH.values()}
"""What the client opens of our own server, by name."""

LONG_POLLING = LongPolling("longpoll", (Polled(),))

CLIENT_PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol for protocol in (AUTO, *BY_PATH.values(), LONG_POLLING, RAW)
}
"""What the client opens, by name."""


def client_protocol(name: str, polling: Polling | None = None) -> Protocol:
    """Return what the client opens, by its name and how it polls if it does."""
    protocol = CLIENT_PROTOCOLS[name]
    return protocol if polling is None or not isinstance(protocol, LongPolling) else protocol.by_pattern(polling.cursor)
