"""Protocols: what the two ends of a stream do, as objects with a client half and a server half. Pure.

A protocol has a name, by which the command line and the server's columns know it, and a framing (`wire.framing`);
what its messages say is one grammar for all (`wire.messages`). Nothing of one connection is kept here.

To add one: a module in `wire/framing` for its frames, its name in `wire.names`, and an entry in `OPENED`, whose paths
are those that `wire.requests` serves; in `UNTIL_CLOSE` what clients of HTTP/1.0 get for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from floodtest.wire import answers, http, messages
from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import Framing, encode
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.incoming import Incoming


@dataclass(frozen=True, eq=False)  # each of them is there once
class Protocol:
    """A stream of messages that is the body of an HTTP answer, and never ends."""

    name: str
    path: str
    """Where our server has it: `/PATH/<id>`."""
    framing: Framing
    content_type: str = "text/plain; charset=utf-8"
    accept: str | None = None
    """The media type that a request says that it accepts, and an answer has to have; None: any."""

    @property
    def framings(self) -> tuple[Framing, ...]:
        """Return how a body may come: as our server frames it, or without chunks around it if these are none of its
        own.
        """
        return (self.framing, self.framing.inner) if isinstance(self.framing, InChunks) else (self.framing,)

    # The client half.

    def request(self, path: str, host: str) -> tuple[str, str]:
        """Return the request for a path with `{user}` in it, cut in two where the id goes."""
        before, after = path.split("{user}")
        accept = "" if self.accept is None else f"Accept: {self.accept}\r\n"
        return f"GET {before}", f"{after} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: floodtest\r\n{accept}\r\n"

    def requests(self, before: str, after: str) -> Callable[[int], bytes]:
        """Return what makes a user's request, from what stands in it before and after the user's id."""
        return http.numbered(before.encode(), after.encode()).__mod__

    def answers(self, longest: int) -> answers.Answers:
        """Return what tells the answers that open a connection."""
        return answers.Answers(self.framings, self.accept, longest)

    def incoming(self, files_limit: int) -> Incoming:
        """Return what takes batches of reads apart."""
        return Incoming(self.framings, files_limit)

    # The server half.

    def head(self, close: bool = False) -> bytes:
        """Return the head of a stream, or with `close` that of a connection on which nothing follows."""
        return answers.stream_head(self.content_type, self.framing.CODING, close)

    def welcomes(self, users: list[int]) -> list[bytes]:
        """Return the whole beginning of a stream, its head and the welcome, for each user."""
        head = self.head()
        digits = len(str(min(users)))
        if digits == len(str(max(users))):
            return list(map(_welcome(self, digits, head).__mod__, users))
        return [_welcome(self, len(str(user)), head) % user for user in users]

    def frame(self, number: int, text: bytes) -> bytes:
        """Return the message of a number and a text, as it travels."""
        text = messages.with_line_ends(text, self.framing.LINE_END)
        return encode(self.framing, messages.MESSAGE % (number, text))

    def frames(self, numbers: npt.NDArray[np.uint32], texts: Sequence[bytes | memoryview]) -> list[bytes]:
        """Return the messages of connections that have come to `numbers[i]`, as they travel."""
        line_end = self.framing.LINE_END
        if line_end is not None:
            texts = [messages.with_line_ends(bytes(text), line_end) for text in texts]
        heads = self.framing.heads(messages.sizes(numbers, texts))
        form = b"%b" + messages.MESSAGE + self.framing.TAIL
        return list(map(form.__mod__, zip(heads, numbers.tolist(), texts, strict=True)))


@lru_cache(maxsize=64)
def _welcome(protocol: Protocol, digits: int, head: bytes) -> bytes:
    """Return the beginning of a stream for ids of so many digits, with %d for the id."""
    user = 10 ** (digits - 1)
    before, _, after = (head + encode(protocol.framing, messages.WELCOME % user)).rpartition(b"%d" % user)
    return http.numbered(before, after)


CHUNKED = Protocol("chunked", "test", chunked)
EVENTS = Protocol("sse", "events", InChunks(sse), "text/event-stream", accept="text/event-stream")
LINES = Protocol("lines", "lines", InChunks(lines))

UNTIL_CLOSE: dict[str, Protocol] = {
    protocol.path: replace(protocol, framing=framing)
    for protocol, framing in ((CHUNKED, lines), (EVENTS, sse), (LINES, lines))
}
"""By path: what clients of HTTP/1.0 get, which know no chunks: a stream that ends with its connection."""

OPENED: dict[str, Protocol] = {protocol.name: protocol for protocol in (CHUNKED, EVENTS, LINES)}
"""What the client opens, by name."""

SERVED: tuple[Protocol, ...] = (CHUNKED, EVENTS, LINES, *UNTIL_CLOSE.values())
"""What the server speaks; a column of connections holds their places in this table."""
