"""The client's streams over TLS on socket pairs, with OpenSSL's own objects as servers."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from floodtest.flyweight.engine import intake
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.client.columns import BATCH
from floodtest.loadgen.client.tls_account import read_tls
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.handshaking import MOST_HANDSHAKES
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.loadgen.test_kept_answers import kept
from tests.rigs.client import ClientRig, message, welcome
from tests.rigs.tls import NAME, Peer, server_end, update_that_asks, write_certificate

FD = 5
"""Of a connection at a server that is a layer."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


@pytest.fixture
def rig(tmp_path: Path, files: tuple[str, str]) -> Iterator[ClientRig]:
    made = ClientRig(tmp_path, tls=ClientTls(NAME, cafile=files[0]))
    yield made
    made.end()


class Server:
    """OpenSSL at the server's end of a user's connection."""

    def __init__(self, rig: ClientRig, user: int, files: tuple[str, str], tickets: int = 2) -> None:
        self._rig = rig
        self.sock = rig.connect(user)
        self.sock.setblocking(False)
        self.peer = Peer(server_context(ServerTls(*files, tickets)), is_server=True)

    def received(self) -> bytes:
        """Return all that has come, as it travelled."""
        data = b""
        while True:
            try:
                piece = self.sock.recv(1 << 16)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def shake(self) -> bytes:
        """Do the handshake; return the request behind it."""
        self.sock.sendall(self.peer.step(self.received()))
        self._rig.settle()
        flight = self.received()
        tickets = self.peer.step(flight)
        self.sock.sendall(tickets)
        return self.peer.hear(b"")

    def say(self, text: bytes) -> None:
        self.sock.sendall(self.peer.say(text))
        self._rig.settle()


def times(rig: ClientRig, field: str) -> int:
    return int(rig.ledger.total(field).sum())


def test_a_request_goes_out_behind_the_handshake_and_messages_are_counted(
    rig: ClientRig, files: tuple[str, str]
) -> None:
    server = Server(rig, 7, files)
    assert server.shake() == b"GET /7"
    assert rig.state(7) == State.IN_FLIGHT
    server.say(welcome(7))
    assert rig.state(7) == State.OPEN
    server.say(message(1) + message(2))
    assert rig.received[0] == 3
    assert times(rig, "connect_us") == times(rig, "tls_us") == times(rig, "open_us") == 1
    found = read_tls(rig.ledger.rows)
    assert found is not None
    assert (found.handshakes, found.tickets, found.kept, found.resumed) == (1, 2, 0, 0)
    assert found.cpu_ns > 0


def test_many_are_opened_and_hear_at_once(rig: ClientRig, files: tuple[str, str]) -> None:
    servers = [Server(rig, user, files, tickets=0) for user in range(1, 41)]
    for user, server in enumerate(servers, 1):
        assert server.shake() == b"GET /%d" % user
    for user, server in enumerate(servers, 1):
        server.sock.sendall(server.peer.say(welcome(user)))
    rig.settle()
    for number in (1, 2):
        for server in servers:
            server.sock.sendall(server.peer.say(message(number)))
        rig.settle()
    assert rig.received[0] == 3 * len(servers)
    assert rig.out_of_sequence == (0, 0)


def test_a_batch_of_openings_fits_into_the_bound_of_handshakes() -> None:
    """Smaller room is left to grow, and would never be there."""
    assert BATCH <= MOST_HANDSHAKES


def test_an_end_is_announced_or_is_a_cut(rig: ClientRig, files: tuple[str, str]) -> None:
    announced, cut, silent = (Server(rig, user, files) for user in (1, 2, 3))
    for user, server in enumerate((announced, cut), 1):
        server.shake()
        server.say(welcome(user))
    with pytest.raises(ssl.SSLWantReadError):
        announced.peer.object.unwrap()
    announced.sock.sendall(announced.peer.outgoing.read())
    cut.sock.close()
    assert silent.received()  # what is not read makes of an end a reset
    silent.sock.close()
    rig.settle()
    assert rig.closed == {"cut": 1, "tls_cut": 1}
    assert rig.failed == {"no_answer@tls": 1}


def test_what_came_before_a_reply_that_fails_is_read_and_counted(
    rig: ClientRig, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may ask for an update of keys, say more, and go: the update can't be written to it any more."""
    server, sock = server_end(ServerTls(*files)), rig.connect(1)
    server.layer.begin([FD])
    server.take(FD, sock.recv(1 << 16))
    sock.sendall(server.sent(FD))
    rig.settle()
    assert server.take(FD, sock.recv(1 << 16)) == (b"GET /1", None)
    sock.sendall(server.layer.seal([FD], [welcome(1)])[0])
    rig.settle()
    monkeypatch.setattr(intake, "MORE", 1 << 10)
    monkeypatch.setattr(intake, "READS", 1)
    asks = update_that_asks(server, FD)
    sock.sendall(asks + b"".join(server.layer.seal([FD], [message(number)])[0] for number in range(1, 101)))
    sock.close()
    rig.settle()
    assert rig.received[0] == 101
    assert rig.closed == {"tls_cut": 1}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "tls_plain@tls"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "tls_version@tls"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "tls_no_cipher@tls"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "tls_unknown_name@tls"),
        (b"\x15\x03\x03\x00\x02\x02\x78", "http2_port@tls"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "tls_alert@tls"),
    ],
)
def test_a_handshake_that_fails_has_its_cause_and_is_told(rig: ClientRig, answer: bytes, name: str) -> None:
    server = rig.connect(1)
    server.sendall(answer)
    rig.settle()
    assert rig.failed == {name: 1}
    assert rig.state(1) == State.FAILED


def test_a_certificate_that_is_not_trusted_is_refused_with_an_alert(tmp_path: Path, files: tuple[str, str]) -> None:
    rig = ClientRig(tmp_path, tls=ClientTls(NAME))
    server = Server(rig, 1, files)
    server.sock.sendall(server.peer.step(server.received()))
    rig.settle()
    assert rig.failed == {"tls_unknown_issuer@tls": 1}
    assert [(one.answer, one.note) for one in kept(rig)] == [("", "self-signed certificate")]
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        server.peer.step(server.received())
    rig.end()


def test_a_handshake_that_takes_too_long_times_out(rig: ClientRig) -> None:
    rig.connect(1, deadline=5.0)
    rig.streams.expire(6.0)
    assert rig.failed == {"ETIMEDOUT@tls": 1}
    assert kept(rig) == []


def test_open_connections_are_told_when_we_close(rig: ClientRig, files: tuple[str, str]) -> None:
    server = Server(rig, 1, files)
    server.shake()
    server.say(welcome(1))
    rig.streams.close(10, reset=False)
    server.peer.incoming.write(server.received())
    assert server.peer.object.read(1) == b""  # an end in order: otherwise it would wait for more
