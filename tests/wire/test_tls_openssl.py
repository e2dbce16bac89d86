"""wire.tls against `openssl s_server` and `s_client`: suites, tickets, new keys, groups, certificates, TLS 1.2."""

import pytest

from floodtest.flyweight.engine.intake import END
from floodtest.wire.causes import Cause
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.suites import SUITES
from floodtest.wire.tls.tls_layer import TlsLayer
from tests.rigs.openssl import FD, Talk, needs_openssl, talk_to_client, talk_to_server
from tests.rigs.tls import FILES, NAME, End, client_end, server_end, update_that_asks, write_certificate

pytestmark = needs_openssl

Files = tuple[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The certificate of a client."""
    cert, key = write_certificate(tmp_path_factory.mktemp("mine"), name="client.test")
    return str(cert), str(key)


def of(files: Files) -> list[str]:
    return ["-cert", files[0], "-key", files[1]]


def client_of(files: Files) -> End:
    return client_end(ClientTls(NAME, cafile=files[0]))


def update_after(end: End, records: int) -> None:
    end.layer._columns._update_after = records


def exchange(talk: Talk, number: int) -> None:
    """Say something in both directions, and see that it arrives."""
    question, answer = b"question %d of columns\n" % number, b"answer %d of openssl" % number
    before = len(talk.text)
    talk.say(question)
    talk.until(lambda: question in talk.program.said)
    talk.program.tell(answer)
    talk.until(lambda: talk.text[before:] == answer + b"\n")


def talk_over_updates(talk: Talk) -> None:
    """Talk, while keys are updated by either side, asked for and not."""
    talk.until(lambda: talk.end.secured == [FD])
    exchange(talk, 1)
    for number, (letter, updates) in enumerate([(b"k", 1), (b"K", 2), (b"K", 3), (b"k", 4)], 2):
        talk.program.tell(letter)
        talk.until(lambda updates=updates: talk.key_updates == updates)  # type: ignore[misc]
        exchange(talk, number)
    talk.connection.sendall(update_that_asks(talk.end, FD))
    exchange(talk, 6)
    talk.until(lambda: talk.key_updates == 5)
    update_after(talk.end, 3)
    for number in range(7, 14):
        exchange(talk, number)
    assert talk.over is None


CASES = [*((suite, tickets) for suite, tickets in zip(SUITES, (0, 1, 2), strict=True)), (next(iter(SUITES)), 3)]


@pytest.mark.parametrize(("suite", "tickets"), CASES)
def test_columns_talk_with_a_server(files: Files, suite: str, tickets: int) -> None:
    options = [*of(files), "-ciphersuites", suite, "-num_tickets", str(tickets)]
    with talk_to_server(client_of(files), *options) as talk:
        talk_over_updates(talk)
        assert talk.tickets == tickets
        talk.program.tell(b"q")  # without an alert
        talk.until(lambda: talk.over is not None)
        assert talk.over == Cause.TLS_CUT


@pytest.mark.parametrize(("suite", "tickets"), CASES)
def test_columns_talk_with_a_client(files: Files, suite: str, tickets: int) -> None:
    with talk_to_client(server_end(ServerTls(*files, tickets)), "-ciphersuites", suite, "-msg") as talk:
        talk_over_updates(talk)
        assert talk.program.said.count(b"NewSessionTicket") == tickets
        talk.program.tell(b"Q")
        talk.until(lambda: talk.over is not None)
        assert talk.over == END


def test_a_client_is_told_of_the_end(files: Files) -> None:
    with talk_to_client(server_end(ServerTls(*files)), "-msg") as talk:
        talk.until(lambda: talk.end.secured == [FD])
        (last,) = talk.end.layer.seal_last([FD], [b"the last of all\n"])
        talk.connection.sendall(last)
        talk.until(lambda: b"warning close_notify" in talk.program.said)
        assert b"the last of all\n" in talk.program.said


def test_a_server_asks_for_another_group(files: Files) -> None:
    with talk_to_server(client_of(files), *of(files), "-groups", "P-384", "-msg") as talk:
        talk.until(lambda: talk.end.secured == [FD])
        exchange(talk, 1)
        assert talk.program.said.count(b"ClientHello") == 2


def test_a_client_is_asked_for_another_group(files: Files) -> None:
    context = server_context(ServerTls(*files))
    context.set_ecdh_curve("secp384r1")
    with talk_to_client(End(TlsLayer(context, FILES)), "-groups", "X25519:P-384", "-msg") as talk:
        talk.until(lambda: talk.end.secured == [FD])
        exchange(talk, 1)
        assert talk.program.said.count(b"ClientHello") == 2


def test_a_client_shows_its_certificate(files: Files, mine: Files) -> None:
    end = client_end(ClientTls(NAME, cafile=files[0], cert=mine[0], key=mine[1]))
    options = ["-Verify", "1", "-verify_return_error", "-CAfile", mine[0]]
    with talk_to_server(end, *of(files), *options) as talk:
        talk.until(lambda: talk.end.secured == [FD])
        exchange(talk, 1)
        assert b"client.test" in talk.program.said


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_a_client_has_no_certificate_to_show(files: Files, mine: Files, version: str) -> None:
    """With TLS 1.3 the client's handshake is over before it is told; with 1.2 OpenSSL's server says less precisely."""
    options = ["-Verify", "1", "-verify_return_error", "-CAfile", mine[0], version]
    with talk_to_server(client_of(files), *of(files), *options) as talk:
        talk.until(lambda: talk.over is not None)
        is_new = version == "-tls1_3"
        assert talk.over == (Cause.TLS_WANTS_CERTIFICATE if is_new else Cause.TLS_NO_CIPHER)
        assert talk.end.secured == ([FD] if is_new else [])


def test_a_server_of_tls_1_2_may_not_begin_anew(files: Files) -> None:
    with talk_to_server(client_of(files), *of(files), "-tls1_2") as talk:
        talk.until(lambda: talk.end.secured == [FD])
        exchange(talk, 1)
        talk.program.tell(b"r")
        talk.until(lambda: talk.over is not None)
        assert talk.over == Cause.TLS_BAD_RECORD


def test_a_client_of_tls_1_2_may_not_begin_anew(files: Files) -> None:
    with talk_to_client(server_end(ServerTls(*files)), "-tls1_2") as talk:
        talk.until(lambda: talk.end.secured == [FD])
        exchange(talk, 1)
        talk.program.tell(b"R")
        talk.until(lambda: b"no renegotiation" in talk.program.said and talk.over is not None)
        assert talk.over == Cause.TLS_BAD_RECORD
