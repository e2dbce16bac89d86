"""TLS of a front whose connections are tasks: trio's SSLStream over a SocketStream, an object a connection.

In: what is said of TLS, and connections that begin. Out: streams behind their handshake, counted as a layer's are, but
for CPU time and key updates, which trio does not show. Fails: `Refuse` for a peer that speaks no TLS; others are
counted, and come to nothing.
"""

import socket
import ssl
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy.typing as npt
import trio

from floodtest.server_under_test.fronts.accounts import TlsAccounts
from floodtest.server_under_test.fronts.renewal import read_again
from floodtest.server_under_test.limits import LINGER
from floodtest.wire.causes import Cause
from floodtest.wire.requests import without_tls
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.counts import TlsCounts
from floodtest.wire.tls.failures import cause_of
from floodtest.wire.tls.handshaking import MOST_HANDSHAKES, SHOWN
from floodtest.wire.tls.settings import ServerTls


class TooMuch(Exception):
    """More was sent than may be."""


class Metered(trio.abc.HalfCloseableStream):
    """What is below the TLS of a connection: what is read of it is counted, where a record may be much longer than its
    text, or have none.
    """

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport
        self._most = self._left = float("inf")

    def allow(self, size: int) -> None:
        """Let so many bytes more be read from now on, whatever was read before; past them `TooMuch` is raised."""
        self._most = self._left = size

    def give_back(self, size: int) -> None:
        """Take bytes that were read for not sent."""
        self._left = min(self._most, self._left + size)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._transport.receive_some(max_bytes)
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._transport.send_eof()

    async def aclose(self) -> None:
        await self._transport.aclose()


TlsStream = trio.SSLStream[Metered]
Stream = trio.SocketStream | TlsStream

_ENDS = (ssl.SSLEOFError, ssl.SSLSyscallError)
"""What OpenSSL calls an end without an alert."""


class TlsStreams:
    """Makes the streams of one front."""

    def __init__(self, tls: ServerTls, row: npt.NDArray[Any]) -> None:
        """The files of `tls` are read."""
        self._tls = tls
        self._context = server_context(tls)
        self._accounts = TlsAccounts(row)
        self._handshakes = 0

    def renew(self) -> None:
        """Have handshakes from now on use the certificate as it is in its file now, if it can be read."""
        self._context = read_again(self._tls) or self._context

    @property
    def has_room(self) -> bool:
        """Whether another handshake may begin."""
        return self._handshakes < MOST_HANDSHAKES

    async def secure(self, transport: trio.SocketStream, deadline: float) -> TlsStream | None:
        """Do the handshake of a connection until a time of trio's clock; None where it comes to nothing."""
        self._handshakes += 1
        try:
            with trio.move_on_at(deadline):
                return await self._shake(transport)
            self._accounts.late.add(1)
            return None
        finally:
            self._handshakes -= 1

    async def _shake(self, transport: trio.SocketStream) -> TlsStream | None:
        begin = b""
        stream = trio.SSLStream(Metered(transport), self._context, server_side=True)
        try:
            # What a peer begins with says whether it speaks TLS at all. It stays there to be read.
            begin = await transport.socket.recv(SHOWN, socket.MSG_PEEK)
            await stream.do_handshake()
        except OSError:
            return None  # it has gone
        except trio.BrokenResourceError as error:
            fault = error.__cause__
            if isinstance(fault, ssl.SSLError) and not isinstance(fault, _ENDS):
                cause, _ = cause_of(fault, begin)
                self._accounts.end(cause)
                if cause == Cause.TLS_PLAIN:
                    raise without_tls() from error
            return None
        self._count(stream)
        return stream

    def _count(self, stream: TlsStream) -> None:
        (cipher, version, _), is_resumed = stream.cipher(), stream.session_reused
        tickets = self._context.num_tickets if version == "TLSv1.3" else 0
        if is_resumed:
            tickets = min(tickets, 1)  # OpenSSL replaces the one that was used
        self._accounts.add(TlsCounts(Counter([cipher]), resumed=int(is_resumed), tickets=tickets))

    def end(self, fault: BaseException | None) -> None:
        """Count a connection behind its handshake that has come to an end by a fault of TLS, if it is one."""
        if isinstance(fault, _ENDS):
            self._accounts.end(Cause.TLS_CUT)
        elif isinstance(fault, ssl.SSLError):
            self._accounts.end(cause_of(fault, b"\x17")[0])


async def end_writing(stream: Stream) -> trio.abc.HalfCloseableStream:
    """Say that nothing follows; return what a connection's peer can still be read from, decrypted or not."""
    if isinstance(stream, trio.SocketStream):
        await stream.send_eof()
        return stream
    transport = stream.transport_stream
    with suppress(trio.BrokenResourceError):  # of a peer that goes on sending, which OpenSSL takes for an error
        await stream.unwrap()
    await transport.send_eof()
    return transport


async def close_in_order(stream: Stream) -> None:
    """Close a stream whose peer has come to its end, and say so where that can be said."""
    with trio.move_on_after(LINGER):
        await stream.aclose()
