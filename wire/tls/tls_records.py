"""Records of TLS 1.3 and what stands in them: headers, types, alerts, the messages behind a handshake. Pure.

In: bytes as they come. Out: whole records, and the rest. Fails: `RecordFault`, with the cause, for what no peer may
send. (RFC 8446, sections 5 and 6; numbers are those of its appendix B.)
"""

import struct
from typing import NamedTuple

from floodtest.wire.causes import Cause

HEADER = 5
"""Bytes before the encrypted part: type, version, length."""

TAG = 16
"""Bytes by which any of the suites makes a text longer."""

MOST = 1 << 14
"""Bytes of a record's text, without its type."""

MOST_SEALED = MOST + 256
"""Bytes behind a header that a peer may send."""

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
"""Types of records, and of what is sealed in one."""

NEW_TICKET, KEY_UPDATE = 4, 24
"""Types of messages that may come behind a handshake."""

KEYS_UPDATED = bytes([KEY_UPDATE, 0, 0, 1, 0])
"""The message by which the sender's keys are updated, and the receiver is not asked to update its own."""

MOST_MESSAGE = 1 << 16
"""Bytes of a message behind a handshake that are kept while it is not whole: a ticket of 64 KiB is the largest."""

ALERT_SIZE = 2
"""Bytes of an alert: a level, which says nothing any more, and a description."""

USER_CANCELED = 90
"""A description: another alert follows, which says that this is the end (RFC 8446, section 6.1)."""

CLOSE_NOTIFY = b"\1\0"
BAD_MAC = b"\2\x14"
OVERFLOW = b"\2\x16"
UNEXPECTED = b"\2\x0a"
"""Alerts that are sent."""

HEAD = struct.Struct(">BHH")
"""What stands before the encrypted part: type, a version that says nothing any more, bytes behind it."""

VERSION = 0x0303
"""That version; who reads it has to take any (RFC 8446, section 5.1)."""


class RecordFault(Exception):
    """What a peer may not send; `alert` says so to it."""

    def __init__(self, cause: Cause, alert: bytes) -> None:
        super().__init__(cause)
        self.cause = cause
        self.alert = alert


class Message(NamedTuple):
    """A message behind a handshake."""

    kind: int
    body: bytes


def split(data: bytes) -> tuple[list[bytes], bytes, RecordFault | None]:
    """Return the whole sealed records at the beginning of what came, each with its header, the rest, and what is wrong
    with that: it has to be a record's beginning.
    """
    whole: list[bytes] = []
    at, size = 0, len(data)
    while size - at >= HEADER:
        kind, _, sealed = HEAD.unpack_from(data, at)
        if kind != DATA:
            return whole, b"", RecordFault(Cause.TLS_BAD_RECORD, UNEXPECTED)
        if sealed > MOST_SEALED:
            return whole, b"", RecordFault(Cause.TLS_RECORD_TOO_LARGE, OVERFLOW)
        end = at + HEADER + sealed
        if end > size:
            break
        whole.append(data[at:end])
        at = end
    return whole, data[at:], None


def unwrap(text: bytes) -> tuple[int, bytes]:
    """Return the type and the bytes of an opened record, without its padding, which counts among its bytes."""
    if len(text) > MOST + 1:
        raise RecordFault(Cause.TLS_RECORD_TOO_LARGE, OVERFLOW)
    bare = text.rstrip(b"\0")
    if not bare:
        raise RecordFault(Cause.TLS_BAD_RECORD, UNEXPECTED)
    return bare[-1], bare[:-1]


def messages(data: bytes) -> tuple[list[Message], bytes]:
    """Return the whole messages of a handshake at the beginning of some bytes, and the rest."""
    found = []
    at, size = 0, len(data)
    while size - at >= 4:
        end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if end > at + 4 + MOST_MESSAGE:
            raise RecordFault(Cause.TLS_RECORD_TOO_LARGE, OVERFLOW)
        if end > size:
            break
        found.append(Message(data[at], data[at + 4 : end]))
        at = end
    return found, data[at:]
