"""A whole front of columns that speaks TLS, in this process: a test takes its turns, and plays the clients.

Its listener is a Unix socket, where what one end writes is there for the other at once: nothing is left to time.
"""

import os
import socket
import ssl
from contextlib import ExitStack, suppress

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.processes.channel import Channel
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER, TLS_CAUSES
from floodtest.server_under_test.fronts.columns import Front
from floodtest.server_under_test.fronts.orders import Specification, ToWorker
from floodtest.server_under_test.fronts.worker import Shared
from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.wire.causes import Cause
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.tls_layer import TlsLayer
from tests.rigs.server import EXCESS, FILES, MAX_USERS, PENDING
from tests.rigs.tls import NAME, Peer

Cert = tuple[str, str]


class TlsClient:
    """A client over TCP whose TLS is OpenSSL's."""

    def __init__(self, front: "TlsFront", context: ssl.SSLContext, name: str = NAME) -> None:
        self.front = front
        self.sock = front.files.enter_context(socket.socket(socket.AF_UNIX))
        self.sock.connect(front.address)
        self.sock.setblocking(False)
        self.peer = Peer(context, is_server=False, name=name)
        self.is_over = False
        """Whether the other side has closed."""

    def send(self, data: bytes) -> None:
        """Send bytes as they are, and let the front take them in."""
        self.sock.sendall(data)
        self.front.turn()

    def receive(self) -> bytes:
        """Return the bytes that have come, as they are."""
        data = b""
        while not self.is_over:
            try:
                piece = self.sock.recv(1 << 16)
            except BlockingIOError:
                break
            except ConnectionResetError:
                piece = b""
            self.is_over = not piece
            data += piece
        return data

    def shake(self, with_last: bytes = b"", size: int = 1 << 16) -> "TlsClient":
        """Do the handshake, in pieces of a size, with a text behind its last flight; what is sent then is one piece."""
        flight = self.peer.step(b"")
        while not self.peer.is_done:
            for at in range(0, len(flight), size):
                self.send(flight[at : at + size])
            answer = self.receive()
            assert answer, "the handshake does not go on"
            flight = self.peer.step(answer)
        self.send(flight + (self.peer.say(with_last) if with_last else b""))
        return self

    def ask(self, request: bytes) -> bytes:
        """Say something, and return what is answered."""
        self.send(self.peer.say(request))
        return self.hear()

    def hear(self) -> bytes:
        """Return what has been said to this client."""
        return self.peer.hear(self.receive())

    def hears_the_end(self) -> bool:
        """Whether nothing has come but the other side's close_notify."""
        self.peer.incoming.write(self.receive())
        try:
            return self.peer.object.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False

    def end_in_order(self) -> None:
        """Send close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.peer.object.unwrap()
        self.send(self.peer.outgoing.read())


class TlsFront:
    """One front, and its clients."""

    def __init__(self, cert: Cert, tickets: int = 0, head_seconds: float = 10.0) -> None:
        self.files = ExitStack()
        self.cert = cert
        ours, theirs = map(self.files.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        self.parent = ours
        listener = self.files.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("")  # the kernel finds an abstract name
        listener.listen()
        listener.setblocking(False)
        self.address = listener.getsockname()
        self.ledger, self.bus = Ledger(FRONT_LEDGER, 1), SharedBus(1)
        whereabouts = SharedWhereabouts(MAX_USERS, 1, FILES)
        for memory in (self.ledger, whereabouts, self.bus):
            self.files.callback(os.close, memory.descriptor)
        limits = Limits(pending=PENDING, excess=EXCESS, head_seconds=head_seconds)
        spec = Specification(0, 1, MAX_USERS, limits, tls=ServerTls(*cert, tickets))
        channel = Channel[ToWorker](theirs, ToWorker)
        self.readiness = Readiness()
        row, places = self.ledger.row(0), whereabouts.of_front(0)
        self.front = Front(Shared(spec, channel, FILES, row, listener, places, self.bus), self.readiness)
        self.front._reception.watch(True)

    @property
    def layer(self) -> TlsLayer:
        layer = self.front._layer
        assert layer is not None
        return layer

    def client(self, tls: ClientTls | None = None) -> TlsClient:
        """Connect a client."""
        return TlsClient(self, client_context(tls or ClientTls(NAME, cafile=self.cert[0])))

    def turn(self) -> None:
        """Let the front do all that there is to do."""
        for _ in range(100):
            if not self.front.turn():
                return
        raise AssertionError("the front is never done")

    def figure(self, name: str) -> int:
        return int(self.ledger.total(name))

    def ends(self) -> dict[Cause, int]:
        """Return how many connections have ended by each cause of TLS."""
        counts = self.ledger.total("tls_ends").tolist()
        return {cause: number for cause, number in zip(TLS_CAUSES, counts, strict=True) if number}

    def secrets(self) -> int:
        """Return how many bytes of keys there are in memory that are not 0."""
        columns = self.layer._columns
        ways = (columns._read, columns._write)
        return sum(int((column != 0).sum()) for way in ways for column in (way.keys, way.ivs, way.secrets))

    def end(self) -> None:
        """Close everything."""
        while self.front.close_some():
            pass
        self.front.close()
        self.files.close()
        trio.run(self._close_readiness)

    async def _close_readiness(self) -> None:
        with self.readiness:
            pass
