"""Bounds on what one connection, and one publisher, may cost the server."""

import errno

import msgspec

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

LINGER = 2.0
"""Seconds in which a refused client may read its answer."""

PAUSE = 0.1
"""Seconds without accepting after the kernel could not give a descriptor."""

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""How accept says so."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection; past each of them there is an answer, a counter and an end."""

    head_size: int = 8192
    """Bytes of a request's head; past it 431."""
    head_seconds: float = 10.0
    """Seconds from accept to the end of the head; past it 408."""
    pending: int = 1 << 18
    """Bytes kept for a client that does not read; past it disconnected, counted as slow."""
    excess: int = 1 << 16
    """Bytes read and dropped after a request; past it disconnected, counted as excess."""
    silence: float = 300.0
    """Seconds in which a client's machine acknowledges neither data nor a probe; past it disconnected, counted as
    silent."""
