"""What the bytes of an answer and of a stream say: whether it opens, which messages there are. Pure.

Answers are `after_welcome`; what follows is `read_messages`. A stream that could be split anywhere is parsed from the
beginning of a chunk on; the caller keeps the rest.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from floodtest.wire import http, stamp
from floodtest.wire.framing import chunked as chunks

_NUMBERED = re.compile(rb"Recvd msg #(\d{1,9}): (?:tick ([1-9]\d{0,17})\b|%b)?" % stamp.PATTERN.pattern)
"""A numbered message, which may be a tick or begin with a stamp. As many digits as are accepted fit into the columns:
uint32 for `#n`, int64 for ticks, which are counted from 1. What has more digits is no number."""


@dataclass(frozen=True)
class Messages:
    """What the bytes of a stream held, from the beginning of a chunk on."""

    count: int
    numbers: tuple[int, ...]
    """`#n` of the numbered messages."""
    ticks: tuple[int, ...]
    stamps: tuple[tuple[int, int], ...]
    """When each stamped message was planned, in ns, and how late it was published, in µs."""
    rest: bytes
    """The beginning of a chunk that is not whole."""
    ended: bool
    broken: bool
    """What follows is no chunk."""

    @property
    def whole(self) -> bool:
        """Whether the stream goes on with the beginning of a chunk."""
        return not (self.rest or self.ended or self.broken)


def parse_messages(data: bytes) -> Messages:
    """Decode the chunks in `data` and the numbers in them; no data at all is the end."""
    if not data:
        return _END
    broken = False
    try:
        decoded = chunks.decode(data)
    except chunks.ChunkError as error:
        decoded = chunks.Decoded(error.payloads, b"", ended=False)
        broken = True
    return parse_payloads(decoded.payloads, decoded.rest, decoded.ended, broken)


def parse_payloads(payloads: list[bytes], rest: bytes = b"", ended: bool = False, broken: bool = False) -> Messages:
    """Read the numbers in the payloads of chunks; the others say what followed them."""
    found = [match for match in map(_NUMBERED.match, payloads) if match]
    numbers = tuple(int(match[1]) for match in found)
    ticks = tuple(int(match[2]) for match in found if match[2])
    stamps = tuple((int(match[3]), int(match[4])) for match in found if match[3])
    return Messages(len(payloads), numbers, ticks, stamps, rest, ended, broken)


MAX_REMEMBERED = 4096
"""Bytes of the longest read that is remembered: a hundred ticks. A server decides how long reads are, and those that
are remembered count as the client's memory."""

remembered_messages = lru_cache(maxsize=64)(parse_messages)


def read_messages(data: bytes) -> Messages:
    """Decode as `parse_messages` does, but a short read that many connections get alike only once."""
    return remembered_messages(data) if len(data) <= MAX_REMEMBERED else parse_messages(data)


_END = Messages(0, (), (), (), b"", ended=True, broken=False)


class NotOpened(Exception):
    """An answer that does not open the connection; `code` is an errno, an HTTP status or END_OF_STREAM."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def require_stream(head: http.Response) -> None:
    """NotOpened unless an answer with this head is a stream: by its status, or EPROTO where its body is not chunked.

    A status below 200 is none of a last answer, and as a code it would be read as an errno: EPROTO.
    """
    if head.status != 200:
        raise NotOpened(head.status if head.status > 200 else errno.EPROTO)
    if not head.chunked:
        raise NotOpened(errno.EPROTO)


def after_welcome(data: bytes, user: bytes) -> bytes | None:
    """Return what follows the head and the chunk that names the user; None if they are not whole yet.

    NotOpened: a status other than 200 (that status), no HTTP or no chunked body (EPROTO), a first chunk without the
    user's id (EBADMSG), a body that ended (END_OF_STREAM).
    """
    try:
        parsed = http.parse_response(data)
        if parsed is None:
            return None
        response, body = parsed
        require_stream(response)
        decoded = chunks.decode(body, most=1)
    except (http.HeadError, chunks.ChunkError) as error:
        raise NotOpened(errno.EPROTO) from error
    if decoded.ended:
        raise NotOpened(END_OF_STREAM)
    if not decoded.payloads:
        return None
    if not any(whole_number(user, decoded.payloads[0])):
        raise NotOpened(errno.EBADMSG)
    return decoded.rest


def whole_number(user: bytes, text: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"(?<!\d)%b(?!\d)" % user, text)


END_OF_STREAM = 0
"""The failure code for an orderly end where none was due."""
