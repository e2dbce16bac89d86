"""wire.tls against peers that never come to an end: what they send is bounded, and ends them by a cause."""

import ssl

import pytest

from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_layer
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.handshaking import MOST_HANDSHAKES, MOST_TAKEN, PIECE, KeyLog
from floodtest.wire.tls.key_columns import MOST_IDLE
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.suites import SUITES
from tests.rigs.tls import NAME, End, Peer, client_end, server_end, write_certificate
from tests.rigs.tls12 import Sender12
from tests.rigs.tls_records import Sender

FD = 7
READ = 1 << 20
SUITE = next(iter(SUITES))
SECRET = bytes(32)

Files = tuple[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


def hello_of(files: Files) -> bytes:
    return Peer(client_context(ClientTls(NAME, cafile=files[0])), is_server=False, name=NAME).step(b"")


ENDLESS = {
    "changes of cipher": (b"", b"\x14\3\3\0\1\1"),
    "empty records": (b"", b"\x16\3\1\0\0"),
    "warnings": (b"", b"\x15\3\1\0\2\1\x5a"),
    "a hello of 128 KiB": (b"\x16\3\1\0\4\1\1\xff\xff", b"\x16\3\1\x40\0" + bytes(1 << 14)),
    "requests for a hello": (b"", b"\x16\3\1\x40\0" + bytes(1 << 14)),  # which OpenSSL's clients take without end
}
"""What comes first, and then again and again."""


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("is_server", [True, False])
def test_a_handshake_does_not_go_on_for_ever(files: Files, is_server: bool, what: str) -> None:
    own = server_end(ServerTls(*files)) if is_server else client_end(ClientTls(NAME, cafile=files[0]))
    own.layer.begin([FD])
    first, again = ENDLESS[what]
    given, (_, over) = len(again), own.take(FD, first or again)
    while over is None:
        assert given <= MOST_TAKEN + PIECE
        given += len(again)
        _, over = own.take(FD, again)
    assert over == Cause.TLS_FAILED
    handshake = own.layer.handshakes[FD]
    assert handshake._taken <= MOST_TAKEN + PIECE
    if not is_server and what == "requests for a hello":
        assert own.layer.heard_of(FD) == (again[:64], "it is longer than one may be")


def test_a_message_of_a_handshake_is_bounded(files: Files) -> None:
    """OpenSSL waits for a certificate of 100 KiB, and for no more of it than is taken of a handshake."""
    client, server = (
        client_end(ClientTls(NAME, cafile=files[0])),
        Peer(server_context(ServerTls(*files)), is_server=True),
    )
    (hello,) = client.layer.begin([FD])
    server_hello = server.step(hello)
    first = server_hello[: 5 + int.from_bytes(server_hello[3:5], "big")]
    _, over = client.take(FD, first + b"\x14\3\3\0\1\1" * (READ // 6))
    assert over is not None
    assert client.layer.handshakes[FD]._taken <= MOST_TAKEN + PIECE


def test_what_stands_behind_a_handshake_is_not_part_of_it(files: Files) -> None:
    """However much a server says at once behind its last message, in TLS 1.3 and 1.2."""
    text = bytes(range(256)) * 4096
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context = server_context(ServerTls(*files))
        context.maximum_version = version
        client, server = client_end(ClientTls(NAME, cafile=files[0])), Peer(context, is_server=True)
        (flight,) = client.layer.begin([FD])
        client.take(FD, server.step(flight))
        last = server.step(client.sent(FD))
        assert server.is_done
        assert client.take(FD, last + server.say(text)) == (text, None)


def test_so_many_handshakes_are_under_way_at_a_time(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_end(ServerTls(*files))
    monkeypatch.setattr(tls_layer, "MOST_HANDSHAKES", 3)
    assert MOST_HANDSHAKES == 256
    server.layer.begin([1, 2])
    assert server.layer.has_room
    server.layer.begin([3])
    assert not server.layer.has_room
    assert server.take(2, b"no hello")[1] == Cause.TLS_PLAIN
    assert not server.layer.has_room
    server.layer.forget([2])
    assert server.layer.has_room


def test_so_many_objects_are_kept(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told, and counts as a handshake that failed."""
    monkeypatch.setattr(tls_layer, "MOST_KEPT", 1)
    client = client_end(ClientTls(NAME, cafile=files[0], version="1.2"))
    causes = []
    for fd in (FD, FD + 1):
        server = Peer(server_context(ServerTls(*files)), is_server=True)
        (flight,) = client.layer.begin([fd])
        client.take(fd, server.step(flight))
        causes.append(client.take(fd, server.step(client.sent(fd)))[1])
    assert causes == [None, Cause.TLS_TOO_MANY_KEPT]
    assert client.secured == [FD]
    assert client.layer.heard_of(FD) is None
    assert client.layer.heard_of(FD + 1) is not None
    assert client.layer.take_counts().kept == 1
    assert server.hear(client.sent(FD + 1)) == b""
    assert server.object.read() == b""  # the end was announced
    client.layer.forget([FD])
    assert not client.layer._kept


@pytest.mark.parametrize("what", ["ticket", "key_update", "data"])
def test_records_without_data_end_after_so_many(files: Files, what: str) -> None:
    client, sender = client_end(ClientTls(NAME, cafile=files[0])), Sender(SUITE, SECRET)
    client.layer._columns.install(FD, SUITE, SECRET, SECRET)
    arguments: tuple[object, ...] = {"ticket": (), "key_update": (True,), "data": (b"",)}[what]
    replies = 0
    for number in range(3 * MOST_IDLE):
        if number == MOST_IDLE:
            sender.data(b"which begins the count anew")
        getattr(sender, what)(*arguments)
        _, over = client.take(FD, sender.sent)
        sender.sent = b""
        replies += bool(client.sent(FD))
        assert over == (Cause.TLS_BAD_RECORD if number >= 2 * MOST_IDLE else None)
        if over is not None:
            break
    assert replies == (2 * MOST_IDLE + 1 if what == "key_update" else 1)  # the last is an alert


def met_12(files: Files, is_client: bool) -> tuple[End, Sender12]:
    """Return a layer that keeps an object of TLS 1.2, and the records of its peer."""
    as_client = client_context(ClientTls(NAME, cafile=files[0], version="1.2"))
    context = server_context(ServerTls(*files)) if is_client else as_client
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    log = KeyLog(context)
    own = client_end(ClientTls(NAME, cafile=files[0], version="1.2")) if is_client else server_end(ServerTls(*files))
    peer = Peer(context, is_server=is_client, name=None if is_client else NAME)
    (flight,) = own.layer.begin([FD])
    hello = peer.step(flight)
    own.take(FD, hello)
    if not is_client:
        hello = own.sent(FD)
        own.take(FD, peer.step(hello))
    own.take(FD, peer.step(own.sent(FD)))
    assert own.secured == [FD]
    secrets = log.take()
    log.close()
    return own, Sender12(secrets, hello, is_server=is_client)


@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize("what", ["empty records", "warnings", "requests to begin anew"])
def test_records_of_tls_1_2_without_data_end_after_so_many(files: Files, is_client: bool, what: str) -> None:
    kind, text = {
        "empty records": (23, b""),
        "warnings": (21, b"\1\x5a"),
        "requests to begin anew": (22, b"\0\0\0\0" if is_client else hello_of(files)[5:]),
    }[what]
    own, sender = met_12(files, is_client)
    assert own.take(FD, sender.record(23, b"text")) == (b"text", None)
    _, over = own.take(FD, b"".join(sender.record(kind, text) for _ in range(40)))
    assert over == Cause.TLS_BAD_RECORD
    assert len(own.sent(FD)) <= PIECE
