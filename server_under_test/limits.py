"""Bounds on what one connection, one publisher, and what is kept for clients that come back, may cost the server."""

import errno
from dataclasses import dataclass

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import option
from floodtest.wire.control import BODY_SECONDS

API_CONNECTIONS = 1024
"""Connections to the control API. Each takes some 100 KiB at the most, besides what `API_BYTES` counts."""

API_BYTES = 1 << 26
"""Bytes of bodies that are not answered and of answers that are not taken: room for sixteen of the largest batches."""

API_SECONDS = BODY_SECONDS
"""How long a client of the control API may keep it waiting: for the rest of a head, for a body in all, and to take the
next piece of an answer. Past it 408, or for an answer the end."""

API_IDLE_SECONDS = 15.0
"""How long a connection to the control API may be without a request: longer than the 5 seconds after which httpx drops
one by itself, so that a request seldom meets a connection that is just being closed."""

REPLAY_BYTES = 1 << 20
"""Bytes of one replay at the most, whatever may be pending."""

LINGER = 2.0
"""Seconds in which a refused client may read its answer."""

PAUSE = 0.1
"""Seconds without accepting after the kernel could not give a descriptor."""

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""How accept says so."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one connection; past each of them there is an answer, a counter and an end."""

    head_size: int = option(8192, parsers.count, "BYTES", "Longest request head; past it 431.", "--limit-head-size")
    head_seconds: float = option(
        10.0, parsers.positive_duration, "SECONDS", "Time for a request head; past it 408.", "--limit-head-time"
    )
    """From accept to the end of the head."""
    pending: int = option(1 << 18, parsers.count, "BYTES", "Kept for a client that does not read.", "--limit-pending")
    """Past it disconnected, counted as slow."""
    excess: int = option(1 << 16, parsers.count, "BYTES", "Dropped from a client that keeps sending.", "--limit-excess")
    """After a request; past it disconnected, counted as excess."""
    silence: float = option(
        300.0, parsers.silence, "SECONDS", "Without an answer of a client's machine.", "--limit-silence"
    )
    """In which it acknowledges neither data nor a probe; past it disconnected, counted as silent."""
    ping: float | None = option(
        None, parsers.positive_duration, "SECONDS", "Ping each WebSocket this often.  [default: never]"
    )
    """Who has not answered one when the next is due is disconnected, counted as unanswered."""
    heartbeat: float | None = option(
        None, parsers.positive_duration, "SECONDS", "Send each stream of events a comment this often.  [default: never]"
    )


@dataclass(frozen=True)
class HistoryBounds:
    """Bounds of what is kept for clients of events that come back; what is beyond them is lost, and they are told."""

    count: int | None = option(
        None, parsers.count, "COUNT", "Messages kept of each subject, for EventSources.  [default: none]", "--history"
    )
    """Off unless it is asked for: it takes memory and time of the router, and some 20 bytes of each event, which a
    benchmark of connections that never come back would measure as theirs."""
    age: float = option(
        300.0, parsers.positive_duration, "SECONDS", "How long each is kept at the most.", "--history-age"
    )
    total: int = option(1 << 26, parsers.count, "BYTES", "What is kept of all subjects.", "--history-bytes")


def replay_bytes(limits: Limits) -> int:
    """Return how many bytes of messages a client that comes back gets at the most, and so what is kept of a subject:
    half of what is kept for one that does not read, so that a replay alone cuts nobody off.
    """
    return min(limits.pending // 2, REPLAY_BYTES)
