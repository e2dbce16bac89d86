"""`floodtest run` and `probe` on streams without HTTP; tests/foreign has a redis."""

import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.rules import problems
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.settings import ServerTls
from tests.rigs.support import OURS, flood, run_here, scripted_server
from tests.rigs.tls import write_certificate

TCP = RunOptions(Plan(1, 1, "127.0.0.1", 1024, 1), target="tcp://h:1")


def test_a_server_that_says_nothing_is_open_by_connecting_and_one_that_closes_is_named(tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        if not first:
            first.append(connection)
            connection.sendall(b"bye")
            connection.close()

    first: list[socket.socket] = []
    with scripted_server(handle) as url:
        target = url.replace("http", "tcp").removesuffix("/test/{user}")
        code, summary, errors = flood(tmp_path, "--connections", "20", "--hold", "0.5", "--target", target)
    assert (code, summary["connections"]["opens"]) == (4, 20), errors
    assert summary["connections"]["closed_by"] == {"cut_inside": 1}
    assert summary["timing"]["first_byte_ms"] is None
    assert summary["timing"]["open_ms"] is not None


def test_what_a_server_says_first_over_tls_is_looked_at_as_well(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    context = server_context(ServerTls(str(cert), str(key)))

    def handle(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            sent.append(secured.recv(100))
            secured.sendall(b"-ERR wrong\n")
            secured.recv(1)

    sent: list[bytes] = []
    with scripted_server(handle) as url:
        given = ("--target", url.replace("http", "tcp").removesuffix("/test/{user}"), "--tls", "--cafile", str(cert))
        runs = tmp_path / "runs"
        words = ("--send", r"hi {user}\n", "--open-when", "first")
        code, summary, errors = flood(runs, "--connections", "20", "--hold", "0", *given, *words)
    assert (code, summary["connections"]["opens"], summary["tls"]["handshakes"]) == (0, 20, 20), errors
    assert sorted(sent) == sorted(b"hi %d\n" % user for user in range(1, 21))
    (reason,) = summary["reasons"]
    assert reason.startswith("first words: -ERR wrong. ")


def test_a_probe_shows_lines_and_no_secret() -> None:
    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            sent.append(connection.recv(100))
            connection.sendall(b"+hello\r\n\r\n+you\r\n" + b"+again\r\n" * 4)
            connection.recv(1)

    sent: list[bytes] = []
    with scripted_server(handle) as url:
        target = url.replace("http", "tcp").removesuffix("/test/{user}")
        done = run_here("floodtest", "probe", "--target", target, *OURS, "--send", r"AUTH s3cr3t {user}\n")
        late = run_here(
            "floodtest",
            "probe",
            "--target",
            target,
            *OURS,
            "--open-when",
            "id",
            "--connect-timeout",
            "1s",
            "--send",
            "x\n",
        )
    assert (done.returncode, sent[0]) == (0, b"AUTH s3cr3t 1\n"), done.stderr
    assert "sent       14 bytes (--send)" in done.stdout
    assert "messages   come as lines of text" in done.stdout
    assert "message 2  4 bytes: +you" in done.stdout
    assert "           and 2 more before the last of them:\nmessage 6  6 bytes: +again\n" in done.stdout
    assert "s3cr3t" not in done.stdout
    assert (late.returncode, "not open   open_when_unmet@response: " in late.stdout) == (4, True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"protocol": "sse"}, "--protocol sse is not for a target of tcp://: leave it out, or name one of http://."),
        ({"protocol": "raw", "target": "http://h/"}, "--protocol raw is for a stream without HTTP: name it as"),
        ({"protocol": "raw", "target": None}, "--protocol raw is for a stream without HTTP: name it as"),
        ({"headers": ("A: b",)}, "--header, --method and --body are not for a raw stream"),
        ({"method": "POST"}, "--header, --method and --body are not for a raw stream"),
        ({"body": "b"}, "--header, --method and --body are not for a raw stream"),
        ({"client": "httpx", "ports": "kernel"}, "--client httpx can't open --protocol raw"),
        ({"send": r"\q"}, "--send has a backslash that means nothing"),
        ({"send": "{name}"}, "--send has {name}, and there is no such placeholder"),
        ({"target": "tcp://h:1/x"}, "--target 'tcp://h:1/x' is a raw stream"),
    ],
)
def test_what_makes_no_sense_for_a_raw_stream_is_named(given: dict[str, Any], words: str) -> None:
    assert problems(TCP) == problems(replace(TCP, protocol="raw", send=r"{user}\r\n")) == []
    first, *_ = problems(replace(TCP, **given))
    assert first.startswith(words)
