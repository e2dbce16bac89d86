"""Bounds on what one connection, and one publisher, may cost the server."""

import errno

import msgspec

MAX_BATCH = 4096
"""Lines of one batch for the control API."""

MAX_BATCH_BYTES = 1 << 22

BODY_SECONDS = 10.0
"""From the first look at a request's body for the control API to its end; past it 408."""

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
