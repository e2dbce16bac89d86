"""wire.tls against OpenSSL's own objects at the other end, and two layers against each other."""

import ssl
from pathlib import Path

import pytest

from floodtest.flyweight.engine.intake import END
from floodtest.wire.causes import Cause
from floodtest.wire.tls import suites, tls_records
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.rigs.tls import NAME, End, Peer, client_end, pieces, server_end, shake, write_certificate, write_chain

FD = 7


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


def client_of(files: tuple[str, str]) -> End:
    return client_end(ClientTls(NAME, cafile=files[0]))


def server_peer(files: tuple[str, str], tickets: int = 2, version: ssl.TLSVersion | None = None) -> Peer:
    context = server_context(ServerTls(*files, tickets))
    if version is not None:
        context.maximum_version = version
    return Peer(context, is_server=True)


def client_peer(files: tuple[str, str]) -> Peer:
    return Peer(client_context(ClientTls(NAME, cafile=files[0])), is_server=False, name=NAME)


def meet_server(client: End, server: Peer) -> bytes:
    """Do a handshake; return what the server has sent behind it."""
    (flight,) = client.layer.begin([FD])
    client.take(FD, server.step(flight))
    return server.step(client.sent(FD))


@pytest.mark.parametrize("tickets", [0, 1, 2, 3])
def test_a_client_in_columns_talks_with_openssl(files: tuple[str, str], tickets: int) -> None:
    client, server = client_of(files), server_peer(files, tickets)
    behind = meet_server(client, server)
    assert client.secured == [FD]
    assert client.take(FD, behind) == (b"", None)
    assert client.layer.take_counts().tickets == tickets
    for number in range(3):
        (sealed,) = client.layer.seal([FD], [b"question %d" % number])
        assert server.hear(sealed) == b"question %d" % number
        assert client.take(FD, server.say(b"answer %d" % number)) == (b"answer %d" % number, None)


@pytest.mark.parametrize("tickets", [0, 1, 2, 3])
def test_a_server_in_columns_talks_with_openssl(files: tuple[str, str], tickets: int) -> None:
    client, server = client_peer(files), server_end(ServerTls(*files, tickets))
    server.layer.begin([FD])
    server.take(FD, client.step(b""))
    text, over = server.take(FD, client.step(server.sent(FD)) + client.say(b"with the last flight"))
    assert (text, over, server.secured) == (b"with the last flight", None, [FD])
    assert client.hear(server.sent(FD)) == b""  # the tickets
    for number in range(3):
        assert client.hear(server.layer.seal([FD], [b"answer %d" % number])[0]) == b"answer %d" % number
        assert server.take(FD, client.say(b"question %d" % number)) == (b"question %d" % number, None)


def test_what_a_client_says_first_goes_out_with_its_last_flight(files: tuple[str, str]) -> None:
    """Alone the flight would wait for its acknowledgement, and the request for that."""
    client, server = client_of(files), server_peer(files, tickets=0)
    written: list[bytes] = []

    def write(fds: list[int], data: list[bytes]) -> dict[int, int]:
        written.extend(data)
        return {}

    client.layer.bind(write, lambda fds: written.extend(client.layer.seal(fds, [b"request"])))
    (flight,) = client.layer.begin([FD])
    client.take(FD, server.step(flight))
    (piece,) = written
    assert server.hear(piece) == b"request"  # its handshake included
    assert client.layer.seal([FD], [b""]) == [b""]


@pytest.mark.parametrize("tickets", [0, 2])
@pytest.mark.parametrize("way", ["answer", "last", "update", "alert"])
def test_tickets_go_out_with_what_a_server_says_first(files: tuple[str, str], tickets: int, way: str) -> None:
    """Whatever that is: their records are numbered before it."""
    client, server = client_of(files), server_end(ServerTls(*files, tickets))
    shake(client, server, [FD])
    assert server.sent(FD) == b""
    if way in ("answer", "last"):
        seal = server.layer.seal if way == "answer" else server.layer.seal_last
        said, end = seal([FD], [b"answer"])[0], None if way == "answer" else END
        assert client.take(FD, said) == (b"answer", end)
    else:
        update = client.layer._columns._seal_record(FD, b"\x18\0\0\1\1", tls_records.HANDSHAKE)  # asks for one
        asked = update if way == "update" else b"\x17\3\3\0\x20" + bytes(32)
        assert server.take(FD, asked) == (b"", None if way == "update" else Cause.TLS_BAD_MAC)
        assert client.take(FD, server.sent(FD)) == (b"", None if way == "update" else Cause.TLS_ALERT)
    assert client.layer.take_counts().tickets == server.layer.take_counts().tickets == tickets


def test_every_byte_of_a_stream_may_come_alone(files: tuple[str, str]) -> None:
    client, server = client_of(files), server_peer(files)
    (flight,) = client.layer.begin([FD])
    (first,) = [server.step(flight)]
    for piece in pieces(first, 1):
        client.take(FD, piece)
    stream = server.step(client.sent(FD)) + server.say(b"one") + server.say(b"two") + server.say(b"x" * 40_000)
    texts = [client.take(FD, piece) for piece in pieces(stream, 1)]
    assert b"".join(text for text, _ in texts) == b"onetwo" + b"x" * 40_000
    assert {over for _, over in texts} == {None}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_hello_may_come_in_pieces_and_in_several_records(files: tuple[str, str], size: int) -> None:
    for records in (False, True):
        client, server = client_peer(files), server_end(ServerTls(*files))
        server.layer.begin([FD])
        hello = client.step(b"")
        sent = (
            b"".join(b"\x16\3\1" + len(piece).to_bytes(2, "big") + piece for piece in pieces(hello[5:], max(size, 30)))
            if records
            else hello
        )
        for piece in pieces(sent, size):
            server.take(FD, piece)
        text, over = server.take(FD, client.step(server.sent(FD)) + client.say(b"question"))
        assert (text, over, server.secured) == (b"question", None, [FD])


def test_large_texts_go_out_in_several_records(files: tuple[str, str]) -> None:
    client, server = client_of(files), server_end(ServerTls(*files))
    shake(client, server, [FD])
    text = bytes(range(256)) * 200
    (sealed,) = server.layer.seal([FD], [text])
    assert len(sealed) == len(text) + 4 * (tls_records.HEADER + tls_records.TAG + 1)
    assert client.take(FD, sealed) == (text, None)


def test_an_end_is_announced_or_is_a_cut(files: tuple[str, str]) -> None:
    client, server = client_of(files), server_end(ServerTls(*files))
    shake(client, server, [FD, FD + 1])
    assert client.take(FD, *server.layer.seal_last([FD], [b"bye"])) == (b"bye", END)
    assert client.layer.open([], [(FD + 1, END)]) == ([], [(FD + 1, Cause.TLS_CUT)])


def test_whoever_has_keeps_an_object_of_tls_1_2(files: tuple[str, str]) -> None:
    client, server = client_of(files), server_peer(files, version=ssl.TLSVersion.TLSv1_2)
    behind = meet_server(client, server)
    assert client.take(FD, behind) == (b"", None)
    assert client.secured == [FD]
    assert client.layer.take_counts().kept == 1
    assert server.hear(client.layer.seal([FD], [b"question"])[0]) == b"question"
    assert client.take(FD, server.say(b"answer")) == (b"answer", None)


def failure_of(options: ClientTls, server: Peer) -> tuple[int | None, str | None]:
    client = client_end(options)
    (flight,) = client.layer.begin([FD])
    try:
        answer = server.step(flight)
    except ssl.SSLError:
        answer = server.outgoing.read()
    _, over = client.take(FD, answer)
    heard = client.layer.heard_of(FD)
    return over, None if heard is None else heard[1]


def test_each_failure_has_its_cause(files: tuple[str, str], tmp_path: Path) -> None:
    trusted = ClientTls(NAME, cafile=files[0])
    assert failure_of(ClientTls(NAME), server_peer(files))[0] == Cause.TLS_UNKNOWN_ISSUER
    assert failure_of(ClientTls("other.test", cafile=files[0]), server_peer(files))[0] == Cause.TLS_WRONG_NAME
    assert failure_of(ClientTls("other.test", insecure=True), server_peer(files)) == (None, None)
    old = tuple(map(str, write_certificate(tmp_path, days=-1)))
    assert failure_of(ClientTls(NAME, cafile=old[0]), server_peer((old[0], old[1])))[0] == Cause.TLS_EXPIRED
    newest = ClientTls(NAME, cafile=files[0], version="1.3")
    assert failure_of(newest, server_peer(files, version=ssl.TLSVersion.TLSv1_2))[0] == Cause.TLS_VERSION
    client = client_end(trusted)
    client.layer.begin([FD])
    assert client.take(FD, b"HTTP/1.1 400 Bad Request\r\n\r\n")[1] == Cause.TLS_PLAIN


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x00\x02" + bytes(100), bytes(50)])
def test_who_speaks_no_tls_gets_no_alert(begin: bytes, files: tuple[str, str]) -> None:
    """OpenSSL takes the second one for a hello of SSL 2, and would answer with an alert."""
    server = server_end(ServerTls(*files))
    server.layer.begin([FD])
    assert server.take(FD, begin) == (b"", Cause.TLS_PLAIN)
    assert server.sent(FD) == b""


def test_rows_of_a_batch_go_out_each_in_its_own_way(files: tuple[str, str]) -> None:
    """In columns, with an object of TLS 1.2, and without TLS, in the order in which they are said."""
    old = server_context(ServerTls(*files))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server, peers = server_end(ServerTls(*files)), {fd: client_peer(files) for fd in range(5, 16)}
    for fd, peer in peers.items():
        server.layer.renew(old if fd % 5 == 0 else server_context(ServerTls(*files)))
        server.layer.begin([fd])
        server.take(fd, peer.step(b""))
    for fd, peer in peers.items():  # those under way are of several contexts, and all their secrets come
        server.take(fd, peer.step(server.sent(fd)))
        peer.step(server.sent(fd))
    assert sorted(server.secured) == list(peers)
    assert server.layer.take_counts().kept == 3
    server.layer.begin([3])
    assert server.take(3, b"GET / HTTP/1.1\r\n\r\n")[1] == Cause.TLS_PLAIN
    server.layer.let_pass(3)
    fds = [*peers, 3]
    sealed = server.layer.seal(fds, [b"text %d" % fd for fd in fds])
    assert sealed[-1] == b"text 3"
    for fd, data in zip(peers, sealed, strict=False):
        assert peers[fd].hear(data) == b"text %d" % fd


@pytest.mark.parametrize(("share", "resumed"), [(1.0, 8), (0.5, 4), (0.0, 0)])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
def test_a_share_of_handshakes_takes_up_a_session(
    files: tuple[str, str], share: float, resumed: int, version: ssl.TLSVersion
) -> None:
    client = client_end(ClientTls(NAME, cafile=files[0], resume=share))
    context = server_context(ServerTls(*files, tickets=2))
    context.maximum_version = version
    found = []
    for fd in range(FD, FD + 9):
        server = Peer(context, is_server=True)
        (flight,) = client.layer.begin([fd])
        client.take(fd, server.step(flight))
        behind = server.step(client.sent(fd))
        assert client.take(fd, behind + server.say(b"answer")) == (b"answer", None)
        assert server.hear(client.layer.seal([fd], [b"question"])[0]) == b"question"
        found.append(bool(server.object.session_reused))
    assert (found[0], sum(found)) == (False, resumed)
    counts = client.layer.take_counts()
    assert (counts.resumed, counts.to_resume) == (resumed, int(9 * share))
    assert (counts.tickets > 0) == (share > 0 or version is ssl.TLSVersion.TLSv1_3)
    assert counts.kept == (9 if version is ssl.TLSVersion.TLSv1_2 else 0)
    assert len(client.layer._kept) == (counts.kept or (1 if share else 0))


def test_where_no_ticket_comes_none_is_taken_up_and_one_object_is_kept(files: tuple[str, str]) -> None:
    client = client_end(ClientTls(NAME, cafile=files[0], resume=1.0))
    server = server_end(ServerTls(*files, tickets=0))
    shake(client, server, [FD, FD + 1, FD + 2])
    assert client.layer._kept.keys() == {FD}
    client.layer.forget([FD])
    shake(client, server, [FD])
    assert client.layer._kept.keys() == {FD}
    counts = client.layer.take_counts()
    assert (counts.to_resume, counts.resumed, counts.tickets) == (4, 0, 0)


def test_a_suite_that_columns_do_not_have_keeps_its_object(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a policy of OpenSSL's allows AES-CCM: keys of that can't move into columns."""
    monkeypatch.delitem(suites.SUITES, "TLS_AES_256_GCM_SHA384")
    client, server = client_of(files), server_peer(files)
    behind = meet_server(client, server)
    assert client.take(FD, behind + server.say(b"answer")) == (b"answer", None)
    assert server.hear(client.layer.seal([FD], [b"question"])[0]) == b"question"
    assert client.layer.take_counts().kept == 1


def test_who_signed_is_trusted_be_it_a_root_or_not(tmp_path: Path) -> None:
    """A file of --cafile may have the certificate that signed the server's, without those above it."""
    leaf, authority = write_chain(tmp_path)
    client = client_end(ClientTls(NAME, cafile=authority))
    meet_server(client, Peer(server_context(leaf), is_server=True))
    assert client.secured == [FD]
