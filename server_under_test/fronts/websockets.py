"""What clients send on WebSockets, where the server only tells: frames are checked, pings and closes answered, messages
read and dropped.

In: the bytes of a client as they come. Out: a `FromClient` each time. Between two frames a client has no state here;
the beginning of one is a `Beginning`, which the caller keeps, and bounds with all that it takes from a client. Fails:
never; a client that breaks RFC 6455 is to be told so by the close in `reply`, and its connection is over.
"""

from dataclasses import dataclass

from floodtest.wire.framing.frames import Beginning, begun_behind
from floodtest.wire.framing.websocket import FROM_CLIENT, GOING_AWAY, PING, Violation, close, frame

PING_FRAME = frame(PING)
PONG_SIZE = 6
"""Bytes of the pong that answers it: two, and a mask."""

PONG_RECORD = 96
"""Bytes more of its record, where it comes over TLS, at the most: 22 in TLS 1.3, and in TLS 1.2 by suite up to 85."""

GOING_AWAY_FRAME = close(GOING_AWAY)
"""What is said when the server ends."""


@dataclass(frozen=True)
class FromClient:
    """What some bytes of a client said."""

    reply: bytes
    """What is to be written: a pong, a close, or nothing."""
    is_over: bool
    """Whether nothing is to follow the reply."""
    has_ponged: bool
    begun: Beginning | None
    """The beginning of a frame or a message; None: there is none."""
    violation: int | None = None
    """The status of the close that says what was wrong."""


def hear(begun: Beginning | None, data: bytes) -> FromClient:
    """Take in what a client has sent, behind what had begun before."""
    whole = data if begun is None else begun.add(data)
    if whole is None:
        return FromClient(b"", is_over=False, has_ponged=False, begun=begun)
    try:
        found = FROM_CLIENT.decode(whole)
    except Violation as wrong:
        return FromClient(wrong.reply, is_over=True, has_ponged=False, begun=None, violation=wrong.status)
    rest = None if found.ended else begun_behind(FROM_CLIENT, begun, found)
    return FromClient(found.reply, found.ended, found.pongs > 0, rest)
