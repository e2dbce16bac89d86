"""Echoes of clocks over a connection that stands: one host asks, the other one answers with what its clocks show.

In: a connected stream socket that blocks, used for nothing else meanwhile. A question is 8 bytes, a number; the answer
is that number and CLOCK_MONOTONIC and CLOCK_REALTIME of the other host in nanoseconds: 24 bytes, big-endian. Blocking
calls in a thread keep a round trip short: on a virtual link 20 µs, where two event loops take 100.

Fails: ClockFault where the other side ends the connection, is silent for `PATIENCE`, or says something else.
"""

import socket
import struct
from collections.abc import Callable

from floodtest.flyweight.errors import FloodtestError
from floodtest.flyweight.machine.clock_offset import MAX_CLOCK, Clocks, look

PATIENCE = 5.0
"""Seconds without an answer, after which no more is waited for."""

_QUESTION = struct.Struct(">Q")
_ANSWER = struct.Struct(">Qqq")


class ClockFault(FloodtestError):
    """The clocks of another host could not be measured."""


def asking(sock: socket.socket, host: str) -> Callable[[], Clocks]:
    """Return what asks the other side of a connection for its clocks, once a call; the host's name is for errors."""
    _set_up(sock, PATIENCE)
    number = 0

    def ask() -> Clocks:
        nonlocal number
        number += 1
        try:
            sock.sendall(_QUESTION.pack(number))
            said, monotonic, realtime = _ANSWER.unpack(_read(sock, _ANSWER.size))
        except TimeoutError as error:
            raise ClockFault(f"The clock of {host} can't be measured: no answer within {PATIENCE:g} s.") from error
        except (OSError, EOFError) as error:
            why = getattr(error, "strerror", None) or "it has ended the connection"
            raise ClockFault(f"The clock of {host} can't be measured: {why}.") from error
        if said != number or not (0 <= monotonic < MAX_CLOCK and 0 <= realtime < MAX_CLOCK):
            raise ClockFault(f"The clock of {host} can't be measured: it answers what was not asked.")
        return Clocks(monotonic, realtime)

    return ask


def answer(sock: socket.socket, look: Callable[[], Clocks] = look) -> None:
    """Answer the other side of a connection until it ends that."""
    _set_up(sock, None)
    while True:
        try:
            question = _read(sock, _QUESTION.size)
            sock.sendall(question + struct.pack(">qq", *look()))
        except (OSError, EOFError):
            return  # who asked has gone; that is how it ends


def _set_up(sock: socket.socket, timeout: float | None) -> None:
    sock.settimeout(timeout)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _read(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes; EOFError where the stream ends before."""
    data = b""
    while len(data) < size:
        if not (piece := sock.recv(size - len(data))):
            raise EOFError
        data += piece
    return data
