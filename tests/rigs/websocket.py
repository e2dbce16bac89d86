"""The client's end of a WebSocket, for tests: a handshake, masked frames, and what a server's frames hold."""

from floodtest.wire.framing.websocket import frame, head_at, masked

KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of RFC 6455, section 1.3."""


def handshake(user: int, key: bytes = KEY, more: str = "") -> bytes:
    """Return a request for the WebSocket of a user."""
    head = f"GET /ws/{user} HTTP/1.1\r\nHost: comet\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}"
    return head.encode() + b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % key


def sent(opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame as a client sends it."""
    return masked(frame(opcode, payload))


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """Return opcode and payload of all frames that a server sent; none may be cut."""
    found, at = [], 0
    while (head := head_at(data, at, is_masked=False)) is not None:
        at = head.start + head.size
        found.append((head.opcode, data[head.start : at]))
    assert at == len(data)
    return found
