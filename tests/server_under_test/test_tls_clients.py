"""A real `comet serve` over TLS, in both models, with clients that nobody here wrote, and with some that misbehave."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from floodtest.wire.framing.websocket import PONG
from floodtest.wire.tls.counts import CIPHERS
from floodtest.wire.tls.handshaking import MOST_HANDSHAKES
from tests.rigs.support import Comet, comet, run_here, wait_until
from tests.rigs.tls import NAME, write_certificate
from tests.rigs.tls_front import Cert
from tests.rigs.websocket import handshake, sent
from tests.server_under_test.test_comet import asking, control, stats_when

NODE = """
const https = require("https"), fs = require("fs")
https.get({host: "127.0.0.1", port: PORT, path: "/lines/4", ca: fs.readFileSync("CERT")}, answer =>
    answer.once("data", data => { console.log(answer.statusCode, String(data)); process.exit(0) }))
"""


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Cert:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


def options(cert: Cert, *more: str) -> list[str]:
    return ["--tls-cert", cert[0], "--tls-key", cert[1], "--max-users", "1000", *more]


def secured(
    server: Comet, cert: Cert, alpn: str = "http/1.1", name: str = NAME, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Return a connection of Python's ssl."""
    context = ssl.create_default_context(cafile=cert[0])
    context.check_hostname = name == NAME
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(server.connect(), server_hostname=name, session=session)


def read_until(sock: ssl.SSLSocket, text: bytes) -> bytes:
    data = b""
    while text not in data:
        piece = sock.recv(1 << 16)
        assert piece, data
        data += piece
    return data


def client_hello() -> bytes:
    """Return the first flight of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=NAME).do_handshake()
    return outgoing.read()


def test_clients_get_what_they_get_without_tls(model: str, cert: Cert) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(comet("--model", model, *options(cert, "--tls-tickets", "2")))
        first = stack.enter_context(secured(server, cert))
        assert (first.version(), first.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        first.sendall(asking(1))
        read_until(first, b"Welcome, user 1\n")
        other = stack.enter_context(secured(server, cert, alpn="h2", name="any.other.name"))
        assert other.selected_alpn_protocol() is None
        other.sendall(asking("/nothing"))
        assert b" 404 " in read_until(other, b"from 1 on.\n")
        assert other.recv(100) == b""  # announced by a close_notify, or it would raise
        trusting = ssl.create_default_context(cafile=cert[0])
        websocket = stack.enter_context(
            connect(f"wss://127.0.0.1:{server.port}/ws/2", ssl=trusting, ping_interval=None, open_timeout=60)
        )
        assert websocket.recv(timeout=60) == "Welcome, user 2\n"
        messages = b"".join(b'{"subject": %d, "message": "%b"}\n' % (user, b"x" * 40_000) for user in (1, 2))
        control(server, "POST", "/publish", messages)
        assert len(read_until(first, b"x\n\r\n")) > 40_000
        text = websocket.recv(timeout=60)
        assert isinstance(text, str)
        assert text.count("x") == 40_000
        line = ["curl", "-sS", "-N", "--cacert", cert[0], f"https://127.0.0.1:{server.port}/events/3"]
        curl = stack.enter_context(subprocess.Popen(line, stdout=subprocess.PIPE))
        stack.callback(curl.kill)
        assert curl.stdout is not None
        assert curl.stdout.readline() == b"data: Welcome, user 3\n"
        tls = stats_when(server, connections=3)["tls"]
        assert (tls["handshakes"], tls["versions"], tls["tickets"], tls["ends"]) == (4, {"1.3": 4}, 8, {})
        assert sum(tls["ciphers"].values()) == 4
        assert (tls["cpu_seconds"] is None) == (model == "tasks")
        limits = Path(f"/proc/{server.stats()['pids']['fronts'][0]}/limits").read_text()
        assert limits.split("Max core file size")[1].split()[0] == "1"
        server.process.terminate()
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=60)
        assert websocket.close_code == 1001
        assert first.recv(100) == b""
        assert server.process.wait(60) == 0


def test_what_clients_send_is_counted_as_it_travels(model: str, cert: Cert) -> None:
    """A record of a byte has 23, and so have those that bring none."""
    with (
        comet("--model", model, *options(cert, "--limit-excess", "1000")) as server,
        secured(server, cert) as client,
    ):
        client.sendall(asking(1))
        read_until(client, b"Welcome, user 1\n")
        for _ in range(1000 // 23):
            client.sendall(b"x")
        assert stats_when(server, dropped=1000 // 23)["connections"] == 1
        client.sendall(b"x")
        stats_when(server, connections=0, excess=1)


def test_pongs_that_were_asked_for_are_not_counted(model: str, cert: Cert) -> None:
    with (
        comet("--model", model, *options(cert, "--limit-excess", "100", "--ping", "100ms")) as server,
        secured(server, cert) as client,
    ):
        client.sendall(handshake(1))
        heard, pongs = read_until(client, b"Welcome, user 1\n"), 0
        while pongs < 10:
            for _ in range(heard.count(b"\x89\0")):
                client.sendall(sent(PONG))
                pongs += 1
            heard = client.recv(1000)
            assert heard, f"it was closed behind {pongs} pongs"
        stats = server.stats()
        assert [stats[name] for name in ("connections", "excess", "unanswered")] == [1, 0, 0]


def test_a_ticket_brings_a_client_back_and_1_2_is_spoken(model: str, cert: Cert) -> None:
    with comet("--model", model, *options(cert, "--tls-tickets", "1", "--workers", "1")) as server:
        old = ssl.create_default_context(cafile=cert[0])
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with old.wrap_socket(server.connect(), server_hostname=NAME) as client:
            client.sendall(asking(1))
            read_until(client, b"Welcome, user 1\n")
        trusting = ssl.create_default_context(cafile=cert[0])
        session = None
        for _ in range(2):
            with trusting.wrap_socket(server.connect(), server_hostname=NAME, session=session) as client:
                client.sendall(asking(1))
                read_until(client, b"Welcome, user 1\n")
                session = client.session
                client.unwrap().close()  # which is answered
        tls = stats_when(server, connections=0)["tls"]
        assert (tls["handshakes"], tls["resumed"], tls["tickets"]) == (3, 1, 2)
        assert (tls["versions"], tls["ends"]) == ({"1.2": 1, "1.3": 2}, {"tls_cut": 1})


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here: apt-get install nodejs")
def test_node_reads_lines_over_https(model: str, cert: Cert) -> None:
    with comet("--model", model, *options(cert)) as server:
        script = NODE.replace("PORT", str(server.port)).replace("CERT", cert[0])
        told = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "200 Welcome, user 4\n\n"


def lines_until(file: IO[bytes] | None, text: bytes) -> bytes:
    """Return the lines of a program up to one that has a text."""
    assert file is not None
    data = b""
    while text not in data:
        line = file.readline()
        assert line, data
        data += line
    return data


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here: apt-get install openssl")
def test_each_cipher_and_updates_of_keys_both_ways_with_openssl(model: str, cert: Cert) -> None:
    with comet("--model", model, *options(cert)) as server:
        for number, cipher in enumerate(CIPHERS[:3], 1):
            line = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-ciphersuites", cipher]
            line += ["-servername", "any.name", "-CAfile", cert[0], "-verify_return_error"]
            with subprocess.Popen(line, bufsize=0, stdin=PIPE, stdout=PIPE, stderr=PIPE) as client:
                assert client.stdin is not None
                client.stdin.write(asking(number))
                lines_until(client.stdout, b"Welcome, user %d\n" % number)
                for update, dropped in ((b"k\n", 2), (b"K\n", 4)):  # the first of this side only
                    client.stdin.write(update)
                    lines_until(client.stderr, b"KEYUPDATE")
                    client.stdin.write(b"x\n")
                    stats_when(server, dropped=(number - 1) * 4 + dropped)
                    control(server, "POST", "/publish", b'{"subject": %d, "message": "hello"}' % number)
                    lines_until(client.stdout, b"hello")
                client.stdin.write(b"Q\n")
        tls = stats_when(server, connections=0)["tls"]
        assert (tls["ciphers"], tls["ends"]) == (dict.fromkeys(CIPHERS[:3], 1), {})
        assert tls["key_updates"] == (6 if model == "columns" else 0)


def plain(server: Comet, *pieces: bytes) -> bytes:
    """Say something without TLS; return what is answered until the server closes."""
    with server.connect() as client:
        for piece in pieces:
            client.sendall(piece)
        return client.makefile("rb").read()


def test_whoever_misbehaves_is_counted_by_name_and_nobody_else_notices(model: str, cert: Cert) -> None:
    with comet("--model", model, *options(cert, "--limit-head-time", "2s")) as server, secured(server, cert) as client:
        client.sendall(asking(1))
        read_until(client, b"Welcome, user 1\n")
        answer = plain(server, asking(7))
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"https://" in answer
        assert plain(server, b"\x16\x03\x01\x00\x05hello")[:1] in (b"", b"\x15")
        with server.connect() as half:
            half.sendall(client_hello()[:100])
        with secured(server, cert) as cut:
            cut.sendall(asking(2))
            read_until(cut, b"Welcome, user 2\n")
            with socket.socket(fileno=cut.detach()):
                pass
        with secured(server, cert) as altering:
            altering.sendall(asking(3))
            read_until(altering, b"Welcome, user 3\n")
            with socket.socket(fileno=altering.detach()) as raw:
                raw.settimeout(60)
                raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                raw.recv(100)
        with server.connect() as late, secured(server, cert) as late_head:
            late.sendall(client_hello()[:100])
            assert late.recv(100) == b""
            assert b" 408 " in read_until(late_head, b"seconds.\n")
        stats = stats_when(server, connections=1)
        expected = {"tls_plain": 1, "tls_failed": 1, "tls_cut": 1, "tls_bad_mac": 1}
        assert (stats["tls"]["ends"], stats["tls"]["late"]) == (expected, 1)
        assert stats["rejected"] == {"400": 1, "408": 1}
        control(server, "POST", "/publish", b'{"subject": 1, "message": "still here"}')
        read_until(client, b"still here")


def test_slow_handshakes_are_given_up_and_who_comes_behind_them_is_served(model: str, cert: Cert) -> None:
    slow = MOST_HANDSHAKES + 44
    with ExitStack() as stack:
        server = stack.enter_context(
            comet("--model", model, *options(cert, "--limit-head-time", "1s", "--workers", "1"))
        )
        hello = client_hello()
        for _ in range(slow):
            stack.enter_context(server.connect()).sendall(hello[:50])
        client = stack.enter_context(secured(server, cert))
        client.sendall(asking(1))
        read_until(client, b"Welcome, user 1\n")
        wait_until(lambda: server.stats()["tls"]["late"] == slow, "all slow handshakes have been given up")


def test_the_certificate_is_read_again_on_sighup(model: str, tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    paths = str(cert), str(key)
    with tempfile.TemporaryFile("w+") as said, comet("--model", model, *options(paths), stderr=said) as server:

        def shown() -> str:
            with server.connect() as sock:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(sock) as client:
                    return ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b"")

        with secured(server, paths) as client:
            client.sendall(asking(1))
            read_until(client, b"Welcome, user 1\n")
            old = cert.read_text()
            assert shown() == old
            write_certificate(tmp_path)
            new = cert.read_text()
            os.kill(server.process.pid, signal.SIGHUP)
            wait_until(lambda: {shown() for _ in range(4)} == {new}, "both fronts show the new certificate")
            cert.write_text("nonsense")
            os.kill(server.process.pid, signal.SIGHUP)

            def told() -> str:
                said.seek(0)
                return said.read()

            wait_until(lambda: "SIGHUP" in told(), "it says that the file can't be used")
            assert told().count("\n") == 1
            assert f"--tls-cert {cert}" in told()
            assert shown() == new
            control(server, "POST", "/publish", b'{"subject": 1, "message": "still here"}')
            read_until(client, b"still here")


def test_files_and_options_that_make_no_sense_are_said_at_the_start(cert: Cert, tmp_path: Path) -> None:
    other, key = map(str, write_certificate(tmp_path))
    quiet = ("--port", "0", "--control-port", "0", "--max-users", "10")
    for given, words in (
        (["--tls-cert", str(tmp_path / "none.pem")], "No such file"),
        (["--tls-cert", other, "--tls-key", cert[1]], "--tls-key " + cert[1] + " has another key"),
        (["--tls-cert", other], "has no private key in PEM: name the file that has it with --tls-key."),
        (["--tls-key", key], "take a --tls-cert"),
        (["--tls-tickets", "1"], "take a --tls-cert"),
        (["--tls-cert", other, "--tls-key", key, "--tls-tickets", "9"], "up to 8"),
    ):
        told = run_here("comet", "serve", *quiet, *given)
        assert (told.returncode, "Traceback" in told.stderr) == (2, False), told.stderr
        assert words in told.stderr
