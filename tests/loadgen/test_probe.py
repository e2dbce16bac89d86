"""`floodtest probe`: what it shows of one connection, whatever the server does, and what it does not show."""

import shlex
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from floodtest.loadgen.commands.probing import as_a_run
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.probe_tls import NotSecured, secure
from floodtest.wire.causes import Cause
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.rigs.support import OURS, chunk, comet, run_here, scripted_server
from tests.rigs.tls import NAME, write_certificate

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def probe(answer: bytes, *arguments: str, stays: bool = True) -> tuple[int, str, str, bytes]:
    """Probe a server that says this to every request; return exit code, stdout, stderr and the request."""
    requests = []

    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            requests.append(connection.recv(65536))
            connection.sendall(answer)
            if stays:
                connection.recv(1)
            else:
                connection.shutdown(socket.SHUT_RDWR)

    with scripted_server(handle) as target:
        done = run_here("floodtest", "probe", "--target", target, *OURS, *arguments)
    return done.returncode, done.stdout, done.stderr, b"".join(requests)


def test_a_stream_of_events_is_shown_with_what_opened_it_and_the_command_of_a_run() -> None:
    events = b"".join(chunk(b'data: {"n": %d}\n\n' % number) for number in range(4))
    code, text, errors, request = probe(EVENTS + events, "--first-user", "7")
    assert code == 0, errors
    assert request.startswith(b"GET /test/7 HTTP/1.1\r\n")
    lines = text.splitlines()
    assert f"sent       {len(request):,} bytes" in lines
    assert {"  GET /test/7 HTTP/1.1", "  HTTP/1.1 200 OK", "  Content-Type: text/event-stream"} <= set(lines)
    assert "messages   come as server-sent events, in chunks that mean nothing" in lines
    assert any(line.startswith("open       after ") and line.endswith("by --open-when head") for line in lines)
    assert 'message 3  8 bytes: {"n": 2}' in lines
    assert "floodtest run --target " in lines[-1]


def test_secrets_are_not_shown() -> None:
    options = ("--header", "Authorization: Bearer t0k3n", "--method", "POST", "--body", "w0rd", "--open-when", "first")
    code, text, errors, request = probe(EVENTS + chunk(b"data: x\n\n") * 3, *options)
    assert code == 0, errors
    assert (b"t0k3n" in request, b"w0rd" in request) == (True, True)
    assert "  Authorization: ***" in text.splitlines()
    assert "t0k3n" not in text + errors
    assert "w0rd" not in text + errors
    assert "As a run, with what is secret in place of ***:" in text.splitlines()


@pytest.mark.parametrize(
    ("called", "program"),
    [
        (".venv/python3/bin/floodtest", [".venv/python3/bin/floodtest"]),
        ("/usr/lib/python3/floodtest/__main__.py", [sys.executable, "-m", "floodtest"]),
    ],
)
def test_the_command_of_a_run_can_be_pasted_where_it_is_shown_to_nobody_else(
    called: str, program: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "Authorization: Bearer t0k3n"
    options = RunOptions(Plan(1, 1, "127.0.0.1", 1024, 1), target="http://h/", headers=(header,))
    typed = ["--target", "http://h/", f"--header={header}"]
    monkeypatch.setattr("sys.argv", [called, "probe", *typed])
    words = as_a_run(options, is_private=True)
    assert (words[0], shlex.split(words[-1])) == ("As a run:", [*program, "run", *typed])
    hidden = as_a_run(options, is_private=False)
    assert shlex.split(hidden[-1])[-1] == "--header=Authorization: ***"
    assert "***" in hidden[0]


@pytest.mark.parametrize(
    ("answer", "stays", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", True, "HTTP_404@response"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi", True, "web_page@response"),
        (b"\x15\x03\x01\x00\x02\x02\x16", True, "tls_port@response"),
        (b"", False, "no_answer@response"),
        (EVENTS + chunk(b"data: x\n\n"), True, "open_when_unmet@response"),
        (b"\xff\xfe\x1b[31m", False, "not_http@response"),
    ],
)
def test_what_does_not_open_has_a_name_and_a_remedy(answer: bytes, stays: bool, words: str) -> None:
    code, text, errors, _ = probe(answer, "--open-when", "id", "--connect-timeout", "1s", stays=stays)
    assert (code, f"not open   {words}: " in text) == (4, True), text + errors
    assert "\x1b" not in text
    assert "As a run:" not in text
    assert "answers.json" not in text


def test_what_follows_the_head_of_a_refusal_is_shown() -> None:
    refusal = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 21\r\n\r\n{"why": "no channel"}\n'
    _, text, _, _ = probe(refusal, "--connect-timeout", "1s")
    assert '  {"why": "no channel"}\\n' in text.splitlines()
    assert "           Look at the answer above." in text.splitlines()


def test_first_words_of_a_stream_without_http_that_look_like_an_error_are_doubted() -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(b"-DENIED Redis is running in protected mode\r\n")
        connection.shutdown(socket.SHUT_WR)

    with scripted_server(handle) as url:
        target = url.replace("http", "tcp").removesuffix("/test/{user}")
        done = run_here("floodtest", "probe", "--target", target, *OURS)
    assert done.returncode == 0, done.stderr
    assert "doubt      A stream without HTTP counts as open, and what the server said first looks like" in done.stdout
    assert "--open-when 'text:" in done.stdout


def test_a_stream_that_ends_is_told() -> None:
    code, text, _, _ = probe(EVENTS + chunk(b"data: x\n\n") + b"0\r\n\r\n", stays=False)
    assert code == 0
    assert "ended      finished: " in text


def test_a_websocket_of_our_own_server() -> None:
    with comet("--max-users", "10") as server:
        target = f"ws://127.0.0.1:{server.port}/ws/{{user}}"
        done = run_here("floodtest", "probe", "--target", target, *OURS, "--open-when", "id", "--send", "hi {user}")
    assert done.returncode == 0, done.stderr
    assert "messages   come as a WebSocket" in done.stdout
    assert "sent       4 bytes as the first message (--send)" in done.stdout
    assert "message 1  16 bytes: Welcome, user 1\\n" in done.stdout


def test_without_a_server_there_is_nothing_to_probe() -> None:
    done = run_here("floodtest", "probe")
    assert (done.returncode, "name it with --target" in done.stderr) == (2, True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        done = run_here("floodtest", "probe", "--target", f"http://127.0.0.1:{nobody.getsockname()[1]}/", *OURS)
    assert (done.returncode, "Is the server up?" in done.stderr) == (3, True)


def test_a_request_over_tls_is_not_held_up_and_a_wrong_name_is_told_in_one_sentence(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    context = server_context(ServerTls(str(cert), str(key)))

    def accept() -> None:
        for _ in range(2):
            with suppress(OSError), listener.accept()[0] as connection:  # ssl.SSLError is one
                context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        with socket.create_connection(listener.getsockname()) as sock:
            secured, agreed = secure(sock, ClientTls(NAME, cafile=str(cert)))
            with secured:
                assert agreed.version == "TLSv1.3"
                assert secured.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        with socket.create_connection(listener.getsockname()) as sock:
            with pytest.raises(NotSecured) as caught:
                secure(sock, ClientTls("another.name", cafile=str(cert)))
            assert caught.value.code == Cause.TLS_WRONG_NAME
            assert (caught.value.note or "").endswith("valid for 'another.name'")
