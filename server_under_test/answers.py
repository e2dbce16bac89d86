"""What `comet` says: heads, welcome, refusals and messages, as bytes. Pure, but for the clock of the Date header."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from flyweight import chunks

OUT_OF_NUMBERS = "We ran out of numbers"
HINT = "Not found. Try /test/123 with an id of your own, from 1 on."
WELCOME = b"Welcome, user %b\n"


def message(number: int, text: bytes) -> bytes:
    """The `number`th message of one connection, without framing."""
    return b"Recvd msg #%d: %b\n" % (number, text)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def stream_head(chunked: bool, close: bool = False) -> bytes:
    """The head of a stream that is chunked, or (HTTP/1.0) ends with the connection."""
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    ending = b"" if chunked and not close else b"Connection: close\r\n"
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\n%b%b\r\n" % (
        _date(int(time.time())),
        framing,
        ending,
    )


@lru_cache(maxsize=64)
def _around_id(digits: int, second: int) -> tuple[bytes, bytes]:
    user = b"0" * digits
    whole = stream_head(chunked=True) + chunks.encode(WELCOME % user)
    before, _, after = whole.rpartition(user)
    return before, after


def around_id() -> list[tuple[bytes, bytes]]:
    """By digits of a user's id: what stands before and after it in the whole answer of a chunked stream, just now."""
    second = int(time.time())
    return [(b"", b"")] + [_around_id(digits, second) for digits in range(1, 11)]


def refusal(status: HTTPStatus, text: str, head_only: bool = False) -> bytes:
    """A whole answer that ends the connection."""
    body = (text + "\n").encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date(int(time.time())).decode()}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
