"""Messages between a parent and one worker: whole ones, over a SOCK_SEQPACKET pair, as msgspec structs.

The socket keeps message boundaries, so there is no framing; end of file says that the other side is gone, however it
went. Both sides name the union of the structs they expect; anything else is a fault of ours and raises.
"""

import errno
import socket
import threading
from typing import Any, Generic, TypeVar

import msgspec
import trio

from floodtest.flyweight.engine.sweep import drain

M = TypeVar("M")
MAX_MESSAGE = 1 << 17
"""Bytes: below the kernel's default bound for one message (net.core.wmem_default, 212,992)."""


_ONE_AT_A_TIME = threading.Lock()


def decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """Return a decoder for a struct, or a union of them.

    One thread at a time makes one: where several meet a struct for the first time, msgspec (0.22) follows a null
    pointer in one of them, which ends the process and all of its workers.
    """
    with _ONE_AT_A_TIME:
        return msgspec.msgpack.Decoder(kind)


class Message(msgspec.Struct, tag=True, frozen=True):
    """Base of all messages; the class's name travels with it."""


class Channel(Generic[M]):
    """One end of a pair: sends any `Message`, receives those of `kind`."""

    def __init__(self, sock: socket.socket, kind: Any) -> None:
        self._plain = sock
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._sending = trio.Lock()  # no two tasks may wait for the same descriptor
        self._decoder = decoder(kind)

    async def send(self, message: Message) -> bool:
        """Send; False if the other side is gone (which the receiver of this end hears as well), or this one closed."""
        try:
            async with self._sending:
                await self._socket.send(msgspec.msgpack.encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return False
        except (OSError, trio.ClosedResourceError):
            if self._is_open:
                raise
            return False
        return True

    def send_nowait(self, message: Message) -> bool:
        """Send without waiting; False if the other side is gone, or has so much to receive that there is no room."""
        try:
            self._plain.send(msgspec.msgpack.encode(message))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def receive(self) -> M | None:
        """Return the next message, or None when the other side is gone, or this one was closed."""
        try:
            data = await self._socket.recv(MAX_MESSAGE)
        except ConnectionResetError:
            return None
        except (OSError, trio.ClosedResourceError):
            if self._is_open:
                raise
            return None
        message: M | None = self._decoder.decode(data) if data else None
        return message

    def receive_waiting(self, most: int) -> list[M | None]:
        """Return up to `most` messages that are there now; None behind the last one of a side that is gone."""
        packets, error = drain(self._plain.recv, MAX_MESSAGE, most)
        if b"" in packets or error == errno.ECONNRESET:
            ended: list[M | None] = [None]
            packets = [packet for packet in packets if packet]
        else:
            ended = []
        return list(map(self._decoder.decode, packets)) + ended

    @property
    def _is_open(self) -> bool:
        """Whether this end has not been closed.

        A task that waits while it is closed is told so by trio; one that trio is about to wake then finds EBADF.
        """
        return self._plain.fileno() >= 0

    @property
    def descriptor(self) -> int:
        """What to watch for messages that can be received."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
