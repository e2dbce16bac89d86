"""Causes of our own: why a connection did not open, or ended, where neither an errno nor an HTTP status says it.

Codes of failures are an errno (below 200), an HTTP status (three digits), or one of these. Their names in a summary are
the members', in small letters; `analysis.record.causes` has a sentence and a remedy for each. Pure.
"""

import enum
import re
from http import HTTPStatus


class Cause(enum.IntEnum):
    """What ended a connection, or kept it from opening."""

    NO_ANSWER = 1000
    """It ended before a byte of an answer had come."""
    TLS_PORT = 1001
    HTTP2_PORT = 1002
    NOT_HTTP = 1003
    HEAD_TOO_LARGE = 1004
    BAD_HEAD = 1005
    """The head of an answer that breaks the rules of HTTP/1, or that is none of a last answer."""
    WEB_PAGE = 1006
    MEDIA_TYPE = 1007
    """Another one than the protocol's."""
    NOT_A_STREAM = 1008
    """A body that says how long it is."""
    NOT_CHUNKED = 1009
    """A body that ends with its connection, where the protocol has chunks only."""
    TRANSFER_CODING = 1010
    OPEN_WHEN_UNMET = 1011
    """Messages came, but not what was to open the connection."""
    BAD_FRAMING = 1012
    FINISHED = 1013
    """The framing said that the stream is over."""
    CUT = 1014
    """It ended between two messages, or before it was open."""
    CUT_INSIDE = 1015
    """It ended within a message."""
    FRAME_TOO_LARGE = 1016
    """A message of a WebSocket, which was closed for it (RFC 6455, status 1009)."""
    BAD_HANDSHAKE = 1017
    """An answer of 101 that does not fit the request for a WebSocket."""
    CONTENT_CODING = 1018
    """A body that is packed, such as by gzip, though nothing but `identity` was accepted."""
    NOT_KEPT_ALIVE = 1019
    """An answer to a poll after which the same connection can't poll again."""
    BAD_CURSOR = 1020
    """What the next poll would have to say is longer than is kept, or would break its head."""
    SAID_ERROR = 1021
    """What came first on a raw stream that was open already looks like an error; such a connection goes on, and is
    counted by no name."""
    TLS_EXPIRED = 1022
    TLS_WRONG_NAME = 1023
    TLS_UNKNOWN_ISSUER = 1024
    TLS_BAD_CERTIFICATE = 1025
    """What else can be wrong with one."""
    TLS_WANTS_CERTIFICATE = 1026
    TLS_UNKNOWN_NAME = 1027
    TLS_VERSION = 1028
    TLS_NO_CIPHER = 1029
    TLS_PLAIN = 1030
    """What came first is no TLS, such as HTTP in plain text."""
    TLS_FAILED = 1031
    """A handshake that failed in another way."""
    TLS_ALERT = 1032
    """An alert that has no cause of its own."""
    TLS_BAD_RECORD = 1033
    """A record, or what was sealed in it, that may not come there."""
    TLS_RECORD_TOO_LARGE = 1034
    TLS_BAD_MAC = 1035
    """A record that its key does not open: it was altered, or is out of order."""
    TLS_CUT = 1036
    """An end without the alert that announces it, on a connection behind its handshake."""
    TLS_TOO_MANY_KEPT = 1037
    """A handshake that ended in TLS 1.2, with as many such connections as may be kept."""


CODES = 1100
"""Columns of a table of failures by code."""

_TLS_ALERT = (0x15, 3)
"""An alert of any version of TLS, by which a server answers what is no handshake (RFC 8446, section 5.1)."""

_SETTINGS = (0, 0, None, 4, 0, 0, 0, 0, 0)
"""The frame that a server of HTTP/2 begins with: SETTINGS, of under 256 bytes and of stream 0 (RFC 9113, 4.1)."""

_FOREIGN = ((_TLS_ALERT, Cause.TLS_PORT), (_SETTINGS, Cause.HTTP2_PORT))


_TOLD_TO_SPEAK_TLS = re.compile(
    rb"(?i)to HTTPS port|to an HTTPS server|SSL-enabled server port|requires TLS|port speaks TLS"
)
"""What nginx, Go, Apache, Tomcat and `comet` say in an answer of 400 to who asks without TLS where they speak it."""


def refused_by(status: int, answer: bytes) -> int:
    """Return the code of a failure for an answer of that status: `TLS_PORT` where its text says that TLS is spoken.

    Only what has come of the text together with the head is looked at. Cost: nothing for another status than 400.
    """
    is_told = status == HTTPStatus.BAD_REQUEST and _TOLD_TO_SPEAK_TLS.search(answer)
    return Cause.TLS_PORT if is_told else status


def foreign(data: bytes) -> tuple[Cause | None, bool]:
    """Return what other protocol the first bytes of an answer are of, and whether they may still become of one.

    Cost: nothing for what begins with a letter, as HTTP does.
    """
    if not data or data[0] > max(form[0] for form, _ in _FOREIGN):
        return None, False
    for form, cause in _FOREIGN:
        if all(wanted in (None, byte) for wanted, byte in zip(form, data, strict=False)):
            return (cause, False) if len(data) >= len(form) else (None, True)
    return None, False
