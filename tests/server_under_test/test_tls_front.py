"""A front of columns that speaks TLS, against OpenSSL's own objects as its clients: every way in, and every way out."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from floodtest.server_under_test.fronts.orders import Renew
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_layer
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.settings import ClientTls, Version
from tests.rigs.server import EXCESS
from tests.rigs.tls import NAME, write_certificate
from tests.rigs.tls_front import Cert, TlsClient, TlsFront
from tests.rigs.websocket import handshake

ASKING = b"GET /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n"
WELCOME = b"Welcome, user %d\n"


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Cert:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


@pytest.fixture
def front(cert: Cert) -> Iterator[TlsFront]:
    made = TlsFront(cert)
    yield made
    made.end()


def opened(front: TlsFront, user: int = 7) -> TlsClient:
    """Return a client whose stream is open."""
    client = front.client().shake()
    assert client.ask(ASKING % user).endswith(WELCOME % user + b"\r\n")
    return client


# -- ways in ---------------------------------------------------------------------------------------------------------


def test_a_request_may_come_with_the_last_flight_or_later_or_byte_by_byte(front: TlsFront) -> None:
    assert WELCOME % 7 in front.client().shake(with_last=ASKING % 7).hear()
    opened(front, 8)
    slow = front.client().shake(size=1)
    for byte in slow.peer.say(ASKING % 9):
        slow.send(bytes([byte]))
    assert WELCOME % 9 in slow.hear()
    assert [front.figure(name) for name in ("open", "logins", "tls_resumed")] == [3, 3, 0]
    assert front.ledger.total("tls_ciphers").sum() == 3
    assert front.figure("tls_cpu_ns") > 0
    assert front.ends() == {}


def test_messages_come_sealed(front: TlsFront) -> None:
    clients = [opened(front, user) for user in range(1, 21)]
    streams = front.front._streams
    for _ in range(3):
        streams.send(streams.descriptors(), b"hello")
    for client in clients:
        assert client.hear().count(b"hello") == 3


def test_one_of_tls_1_2_has_a_stream_as_well(front: TlsFront) -> None:
    client = front.client(ClientTls(NAME, cafile=front.cert[0], version="1.2")).shake()
    assert WELCOME % 7 in client.ask(ASKING % 7)
    assert front.ledger.total("tls_ciphers").tolist() == [0, 0, 0, 1]
    client.end_in_order()
    assert client.hears_the_end()
    assert front.figure("open") == 0


def test_tickets_are_sent_and_bring_a_client_back(cert: Cert) -> None:
    front = TlsFront(cert, tickets=2)
    context = client_context(ClientTls(NAME, cafile=cert[0]))
    first = TlsClient(front, context).shake()
    assert WELCOME % 7 in first.ask(ASKING % 7)
    second = TlsClient(front, context)
    second.peer.object.session = first.peer.object.session
    assert WELCOME % 8 in second.shake().ask(ASKING % 8)
    # Whoever comes back gets one ticket, which replaces that which was used.
    assert [front.figure(name) for name in ("tls_tickets", "tls_resumed", "open")] == [3, 1, 2]
    front.end()


def test_a_refusal_is_read_to_its_end_and_nothing_follows(front: TlsFront) -> None:
    client = front.client().shake()
    assert client.ask(b"GET /none HTTP/1.1\r\nHost: comet\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert client.hears_the_end()
    client.sock.close()  # without a close_notify: it has all that there was
    front.turn()
    assert front.ends() == {}
    assert front.secrets() == 0


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_a_slow_handshake_is_closed_and_a_slow_head_is_answered(
    front: TlsFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, begun, shaken = front.client(), front.client(), front.client().shake()
    begun.send(begun.peer.step(b"")[:100])
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 11)
    front.turn()
    assert shaken.hear().startswith(b"HTTP/1.1 408 ")
    assert [silent.receive(), begun.receive(), silent.is_over, begun.is_over] == [b"", b"", True, True]
    assert (front.figure("tls_late"), front.ledger.total("rejected")[408]) == (2, 1)
    assert front.layer.handshakes == {}


def test_no_more_handshakes_begin_than_there_is_room_for(front: TlsFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_layer, "MOST_HANDSHAKES", 2)
    slow = [front.client() for _ in range(3)]
    front.turn()
    assert len(front.layer.handshakes) == 2
    assert not front.front._reception.watching
    front.front._reception.watch(True)  # the parent may say so at any time
    front.turn()
    assert len(front.layer.handshakes) == 2
    slow[0].sock.close()
    front.turn()
    slow[2].shake()
    assert WELCOME % 7 in slow[2].ask(ASKING % 7)
    assert front.front._reception.watching


@pytest.mark.parametrize("is_late", [False, True])
def test_nothing_is_kept_of_who_reads_not_even_its_handshake(
    front: TlsFront, is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, outbox = front.client(), front.front._outbox
    client.send(client.peer.step(b""))
    (fd,) = front.layer.handshakes
    last = client.peer.step(client.receive()) + client.peer.say(b"nonsense\r\n\r\n")
    while fd not in outbox:
        assert outbox.write_sealed([fd], [b"x" * 1000]) == {}  # as if its flight were that long
    if is_late:
        began = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: began + 11)
        front.turn()
    else:
        client.send(last)
    assert (len(front.front._reception), bool(outbox), front.secrets()) == (0, False, 0)


# -- what is no TLS --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [ASKING % 7, b"\0\1\2\3" * 10, b"CONNECT x:1 HTTP/1.1\r\n\r\n" + b"x" * 600])
def test_who_speaks_no_tls_is_told_so(front: TlsFront, said: bytes) -> None:
    client = front.client()
    client.send(said)
    answer = client.receive()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"https://" in answer
    assert client.is_over
    client.sock.sendall(b"x" * EXCESS)  # it is dropped, and breaks nothing
    front.turn()
    client.sock.close()
    front.turn()
    assert front.ends() == {Cause.TLS_PLAIN: 1}
    assert len(front.front._reception) == 0
    assert WELCOME % 7 in front.client().shake().ask(ASKING % 7)  # perhaps with that descriptor


def test_a_broken_handshake_is_counted_and_answered_with_an_alert(front: TlsFront) -> None:
    client = front.client()
    client.send(b"\x16\x03\x01\x00\x05hello")
    assert client.receive().startswith(b"\x15\x03")
    assert client.is_over
    assert front.ends() == {Cause.TLS_FAILED: 1}
    half = front.client()
    half.send(half.peer.step(b""))
    half.sock.close()
    front.turn()
    assert (front.ends(), len(front.front._reception)) == ({Cause.TLS_FAILED: 1}, 0)


# -- ways out --------------------------------------------------------------------------------------------------------


def test_an_end_in_order_is_told_from_a_cut(front: TlsFront) -> None:
    in_order, cut = opened(front, 1), opened(front, 2)
    in_order.end_in_order()
    assert in_order.hears_the_end()
    cut.sock.close()
    front.turn()
    assert (front.ends(), front.figure("open"), front.secrets()) == ({Cause.TLS_CUT: 1}, 0, 0)


def test_altered_records_end_a_connection(front: TlsFront) -> None:
    client = opened(front)
    sealed = client.peer.say(b"hello")
    client.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert client.receive().startswith(b"\x17\x03\x03")  # a sealed alert
    assert client.is_over
    assert (front.ends(), front.secrets()) == ({Cause.TLS_BAD_MAC: 1}, 0)


def test_no_keys_are_left_whichever_way_connections_end(front: TlsFront) -> None:
    much = opened(front, 1)
    much.send(much.peer.say(b"x" * (EXCESS + 1)))
    assert front.figure("excess") == 1
    unread = opened(front, 2)
    streams = front.front._streams
    while front.figure("slow") == 0:
        streams.send(streams.descriptors(), b"x" * 100_000)
        front.turn()
    closing = front.client().shake()
    closing.ask(handshake(3))
    closing.ask(b"\x88\x80\0\0\0\0")  # a close of a WebSocket
    closing.sock.close()
    refused = front.client().shake(with_last=b"nonsense\r\n\r\n")
    refused.sock.close()
    front.turn()
    assert (front.figure("open"), len(front.front._reception), front.secrets()) == (0, 0, 0)
    assert unread.receive()
    opened(front, 4)
    front.client().shake()
    assert front.secrets() > 0
    while front.front.close_some():
        pass
    assert front.secrets() == 0


def test_all_are_told_when_the_server_ends(front: TlsFront) -> None:
    stream, socket_ = opened(front), front.client().shake()
    assert b" 101 " in socket_.ask(handshake(8))
    assert not stream.hears_the_end()
    while front.front.close_some():
        pass
    assert (stream.hear(), socket_.hear()) == (b"", b"\x88\x02\x03\xe9")
    assert stream.hears_the_end()
    assert socket_.hears_the_end()


def altered(data: bytes, chance: random.Random) -> bytes:
    """Return what somebody has made of bytes on their way: another bit, less of them, or more."""
    match chance.randrange(4):
        case 0:
            at = chance.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[: chance.randrange(1, len(data) + 1)]
        case 2:
            at = chance.randrange(len(data))
            return data[:at] + chance.randbytes(chance.randrange(1, 600)) + data[at:]
        case _:
            return data + chance.randbytes(chance.randrange(1, 20_000))


def misbehave(client: TlsClient, chance: random.Random) -> None:
    """Send what is altered, at some stage of a connection."""
    stage = chance.randrange(4)
    if stage == 0:
        client.send(altered(client.peer.step(b""), chance))
    elif stage == 1:
        client.send(client.peer.step(b""))
        client.send(altered(client.peer.step(client.receive()), chance))
    else:
        client.shake()
        if stage == 3:
            client.ask(chance.choice([ASKING % 9, handshake(3)]))
        for _ in range(chance.randrange(1, 4)):
            client.send(altered(client.peer.say(chance.randbytes(chance.randrange(1, 300))), chance))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_whatever_clients_send_others_go_on_and_nothing_is_left(front: TlsFront, version: Version) -> None:
    chance = random.Random(version)
    other = opened(front)
    for _ in range(100):
        client = front.client(ClientTls(NAME, cafile=front.cert[0], version=version))
        with suppress(OSError):  # it is closed while it still sends
            misbehave(client, chance)
        client.sock.close()
        front.turn()
    front.front._streams.send(front.front._streams.descriptors(), b"hello")
    assert b"hello" in other.hear()
    other.end_in_order()
    layer = front.layer
    columns = layer._columns
    left = (layer.handshakes, layer._kept, layer._passing, layer._notes, columns._rest, columns._begun)
    assert not any(left)
    assert not columns._idle.any()
    assert (front.figure("open"), len(front.front._reception), front.secrets()) == (0, 0, 0)
    assert sum(front.ends().values()) > 50
    assert not front.front._outbox


# -- certificates ----------------------------------------------------------------------------------------------------


def test_a_certificate_that_is_read_again_is_for_new_handshakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cert, key = write_certificate(tmp_path)
    front = TlsFront((str(cert), str(key)))
    old = opened(front, 1)
    under_way = front.client()
    under_way.send(under_way.peer.step(b"")[:50])
    trusts_old = front.client()
    write_certificate(tmp_path)
    front.front.obey(Renew())
    assert WELCOME % 2 in front.client().shake().ask(ASKING % 2)
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        trusts_old.shake()
    front.front._streams.send(front.front._streams.descriptors(), b"hello")
    assert b"hello" in old.hear()
    cert.write_text("nonsense")
    front.front.obey(Renew())
    assert "SIGHUP: --tls-cert" in capsys.readouterr().err
    front.turn()
    front.end()
