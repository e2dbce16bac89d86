"""What `comet` says: heads, welcome, refusals and messages, as bytes. Pure, but for the clock of the Date header."""

import time
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import numpy as np
import numpy.typing as npt

from floodtest.wire import http
from floodtest.wire.framing import chunked as chunks

OUT_OF_NUMBERS = "We ran out of numbers"
HINT = "Not found. Try /test/123 with an id of your own, from 1 on."
WELCOME = b"Welcome, user %b\n"

FOR_BROWSERS = ((b"X-Content-Type-Options", b"nosniff"), (b"Cache-Control", b"no-store"))
"""Headers of every answer. Without nosniff Chromium shows nothing of a text/plain stream before a kilobyte has come, by
which it checks whether that is plain text; without no-store a cache may keep what holds for one moment only."""

FOR_PROXIES = ((b"X-Accel-Buffering", b"no"),)
"""Headers of every stream. nginx otherwise hands nothing on before a buffer of 4 or 8 KiB is full (proxy_buffering of
ngx_http_proxy_module)."""


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


_OF_STREAMS = _lines(FOR_BROWSERS + FOR_PROXIES)
_OF_REFUSALS = _lines(FOR_BROWSERS)


def message(number: int, text: bytes) -> bytes:
    """The `number`th message of one connection, without framing."""
    return b"Recvd msg #%d: %b\n" % (number, text)


def message_line(number: int, text: bytes) -> bytes:
    """The same for a stream without framing, where a message is a line: line ends in its text become spaces."""
    return message(number, text.replace(b"\r", b" ").replace(b"\n", b" "))


_CHUNK = b"%%x\r\n%b\r\n" % message(0, b"%b").replace(b"#0", b"#%d")
_POWERS = 10 ** np.arange(1, 10)


def chunked_messages(numbers: npt.NDArray[np.uint32], texts: Sequence[bytes | memoryview]) -> list[bytes]:
    """The messages of connections that have come to `numbers[i]`, each framed as a chunk."""
    around = len(message(0, b"")) + np.searchsorted(_POWERS, numbers, "right")  # a digit is counted already
    sizes = np.fromiter(map(len, texts), np.intp, len(texts)) + around
    return list(map(_CHUNK.__mod__, zip(sizes.tolist(), numbers.tolist(), texts, strict=True)))


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def stream_head(chunked: bool, close: bool = False) -> bytes:
    """The head of a stream that is chunked, or (HTTP/1.0) ends with the connection."""
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    ending = b"" if chunked and not close else b"Connection: close\r\n"
    return b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\n%b%b%b\r\n" % (
        _date(int(time.time())),
        _OF_STREAMS,
        framing,
        ending,
    )


@lru_cache(maxsize=64)
def _welcome(digits: int, second: int) -> bytes:
    user = b"0" * digits
    before, _, after = (stream_head(chunked=True) + chunks.encode(WELCOME % user)).rpartition(user)
    return http.numbered(before, after)


def welcomes(users: list[int]) -> list[bytes]:
    """The whole beginning of a chunked stream, for each user."""
    second = int(time.time())
    digits = len(str(min(users)))
    if digits == len(str(max(users))):
        return list(map(_welcome(digits, second).__mod__, users))
    return [_welcome(len(str(user)), second) % user for user in users]


def refusal(status: HTTPStatus, text: str, head_only: bool = False) -> bytes:
    """A whole answer that ends the connection."""
    body = (text + "\n").encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: {_date(int(time.time())).decode()}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n{_OF_REFUSALS.decode()}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
