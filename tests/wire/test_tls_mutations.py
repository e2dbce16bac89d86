"""wire.tls against records and flights that were changed on their way: what is heard is a beginning of what was said,
the cause is the right one, the peer is told, and nothing is raised.
"""

import ssl
from itertools import accumulate
from random import Random

import pytest

from floodtest.flyweight.engine.intake import END
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_records
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.key_columns import KeyColumns
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.suites import SUITES
from tests.attacks.mutations import ANYWHERE, mutate, pieces_of
from tests.rigs.tls import NAME, End, Peer, client_end, server_end, write_certificate
from tests.rigs.tls_records import Sender

Files = tuple[str, str]
Replies = dict[int, bytes]

FD = 7
ROWS = 500
RECORDS = 20_000
FLIGHTS = 250
SECRET, OWN = bytes(range(32)), bytes(range(1, 33))
CAUSES = {cause for cause in Cause if cause.name.startswith("TLS_")} - {Cause.TLS_PORT, Cause.TLS_CUT}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


def sender_of(suite: str, is_client: bool) -> Sender:
    sender = Sender(suite, SECRET, tickets_are_taken=is_client)
    for text in (b"one", b"and two", b"x" * 70):
        sender.data(text)
    if is_client:
        sender.ticket()
    sender.data(b"padded", padding=9)
    sender.key_update(asks=False)
    sender.data(b"the last")
    sender.close_notify()
    return sender


def expected_of(sent: bytes, whole: bytes, ends: list[int]) -> tuple[int, Cause | None]:
    """Return how many records are as they were sent, and what is wrong with those behind them."""
    good = 0
    while good < len(ends) and sent[: ends[good]] == whole[: ends[good]]:
        good += 1
    if good == len(ends):
        return good, None
    rest = sent[ends[good - 1] if good else 0 :]
    if len(rest) < tls_records.HEADER:
        return good, None
    if rest[0] != tls_records.DATA:
        return good, Cause.TLS_BAD_RECORD
    size = int.from_bytes(rest[3:5], "big")
    if size > tls_records.MOST_SEALED:
        return good, Cause.TLS_RECORD_TOO_LARGE
    return good, Cause.TLS_BAD_MAC if len(rest) >= tls_records.HEADER + size else None


def installed(suite: str, is_client: bool) -> KeyColumns:
    """Return columns in which all rows have the keys of the first."""
    columns = KeyColumns(ROWS, takes_tickets=is_client)
    columns.install(0, suite, SECRET, OWN)
    for side in (columns._read, columns._write):
        side.keys[:], side.ivs[:], side.secrets[:] = side.keys[0], side.ivs[0], side.secrets[0]
    columns._suites[:] = columns._suites[0]
    return columns


@pytest.mark.parametrize("is_client", [True, False])
def test_a_record_that_was_changed_ends_its_connection(is_client: bool) -> None:
    random, suites = Random(f"records {is_client}"), [suite for suite in SUITES if SUITES[suite].secret_size == 32]
    causes = set[Cause | None]()
    for batch in range(RECORDS // ROWS):
        suite = suites[batch % len(suites)]
        sender = sender_of(suite, is_client)
        records, *_ = tls_records.split(sender.sent)
        ends = list(accumulate(map(len, records)))
        texts = texts_by_record(records, suite, is_client)
        rows = [pieces_of(random, mutate(random, sender.sent, ANYWHERE)) for _ in range(ROWS)]
        columns, heard, over, replies = installed(suite, is_client), dict[int, bytes](), dict[int, int](), Replies()
        going = dict(enumerate(map(iter, rows)))
        while reads := {fd: read for fd, row in going.items() if (read := next(row, None)) and fd not in over}:
            going = {fd: going[fd] for fd in reads}
            found = columns.open(list(reads), list(reads.values()))
            for fd, text in zip(found.fds, found.data, strict=True):
                heard[fd] = heard.get(fd, b"") + text
            over |= found.over
            replies |= found.replies
        told = told_to(suite, replies)
        for fd, row in enumerate(rows):
            good, cause = expected_of(b"".join(row), sender.sent, ends)
            assert heard.get(fd, b"") == texts[good]
            assert over.get(fd) == (END if good == len(ends) else cause)
            assert told.get(fd) == (Cause.TLS_ALERT if cause else None)
            causes.add(cause)
    assert causes == {None, Cause.TLS_BAD_MAC, Cause.TLS_BAD_RECORD, Cause.TLS_RECORD_TOO_LARGE}


def texts_by_record(records: list[bytes], suite: str, is_client: bool) -> list[bytes]:
    """Return the text of the first records, for each number of them."""
    columns, texts = installed(suite, is_client), [b""]
    for record in records:
        texts.append(texts[-1] + b"".join(columns.open([0], [record]).data))
    return texts


def told_to(suite: str, replies: dict[int, bytes]) -> dict[int, int]:
    """Return by what connections are over for peers that get these replies."""
    peers = installed(suite, is_client=True)
    peers._read.keys[:], peers._read.ivs[:] = peers._write.keys, peers._write.ivs
    return peers.open(list(replies), list(replies.values())).over


def test_a_server_flight_that_was_changed_ends_the_handshake(files: Files) -> None:
    random, client = Random("flight of a server"), client_end(ClientTls(NAME, cafile=files[0]))
    context = server_context(ServerTls(*files))
    secured = 0
    for _ in range(FLIGHTS):
        server = Peer(context, is_server=True)
        (hello,) = client.layer.begin([FD])
        flight = server.step(hello)
        over = give(client, random, flight)
        if over is None and client.secured:  # only what no peer authenticates was changed
            secured += 1
            server.step(client.sent(FD))
            assert server.hear(client.layer.seal([FD], [b"question"])[0]) == b"question"
        assert over is None or over in CAUSES
        if over not in (None, Cause.TLS_PLAIN, Cause.TLS_ALERT, Cause.TLS_TOO_MANY_KEPT):
            # An alert, sealed where the client has got so far, and behind a record that looks like one of TLS 1.2.
            assert client.sent(FD).removeprefix(b"\x14\x03\x03\x00\x01\x01")[:1] in (b"\x15", b"\x17")
        end(client)
    assert secured < FLIGHTS / 2


@pytest.mark.parametrize("flight", ["hello", "finished"])
def test_a_client_flight_that_was_changed_ends_the_handshake(files: Files, flight: str) -> None:
    random, server = Random(f"{flight} of a client"), server_end(ServerTls(*files))
    context = client_context(ClientTls(NAME, cafile=files[0]))
    for _ in range(FLIGHTS):
        client = Peer(context, is_server=False, name=NAME)
        server.layer.begin([FD])
        sent = client.step(b"")
        if flight == "finished":
            server.take(FD, sent)
            sent = client.step(server.sent(FD))
        over = give(server, random, sent)
        assert over is None or over in CAUSES
        if flight == "hello" and over is None and (answer := server.sent(FD)):
            finish(server, client, answer)
        end(server)


def give(own: End, random: Random, flight: bytes) -> int | None:
    """Give an end a flight with changes, in pieces; return by what it is over."""
    for piece in pieces_of(random, mutate(random, flight, ANYWHERE)):
        _, over = own.take(FD, piece)
        if over is not None:
            return over
    return None


def finish(server: End, client: Peer, answer: bytes) -> None:
    """Go on behind a hello that was changed: whoever signs another one than was sent is found out."""
    try:
        client.step(answer)
    except ssl.SSLError:
        assert not server.secured
        return
    server.take(FD, client.outgoing.read())


def end(own: End) -> None:
    own.layer.forget([FD])
    own.sent(FD)
    own.secured.clear()


@pytest.mark.parametrize("is_client", [True, False])
def test_a_record_of_tls_1_2_that_was_changed_ends_its_connection(files: Files, is_client: bool) -> None:
    random, whole = Random("TLS 1.2"), 0
    contexts = client_context(ClientTls(NAME, cafile=files[0], version="1.2")), server_context(ServerTls(*files))
    own = client_end(ClientTls(NAME, cafile=files[0], version="1.2")) if is_client else server_end(ServerTls(*files))
    for _ in range(FLIGHTS):
        peer = Peer(contexts[is_client], is_server=is_client, name=None if is_client else NAME)
        (flight,) = own.layer.begin([FD])
        for _ in range(3):
            own.take(FD, peer.step(flight) if is_client or not peer.is_done else b"")
            flight = own.sent(FD)
        own.secured.clear()
        said = b"".join(peer.say(b"text %d" % number) for number in range(4))
        heard = b""
        assert own.layer.take_counts().kept == 1
        for piece in pieces_of(random, mutate(random, said, ANYWHERE)):
            text, over = own.take(FD, piece)
            heard += text
            if over is not None:
                assert over in CAUSES
                assert own.layer.seal([FD], [b"too late"]) == [b""]
                break
        assert b"text 0text 1text 2text 3".startswith(heard)
        whole += heard.endswith(b"3")
        end(own)
    assert 0 < whole < FLIGHTS / 4
