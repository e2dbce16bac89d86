"""The control API of a real `comet serve` attacked over real sockets: others are served, and the server lives on."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from floodtest.server_under_test.limits import API_SECONDS
from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.support import Comet, comet
from tests.server_under_test.test_comet import control, stats_when, streams

SOON = 0.8 * API_SECONDS
"""Seconds on a machine that does much else: none of those that stall, which the server waits for so long at the most,
can have been waited for."""

MESSAGE = b'{"subject": 7, "message": "Hello"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    folder = tmp_path_factory.mktemp("store") / "db"
    Store(folder, create=True).close()
    with comet("--max-users", "10", "--db", str(folder)) as one:
        yield one


def connect(server: Comet, request: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.control), timeout=60)
    sock.sendall(request)
    return sock


def ask(server: Comet, request: bytes) -> tuple[int, bytes]:
    """Send bytes to the control API and no more; return status and body of what comes back until it closes."""
    with connect(server, request) as sock, sock.makefile("rb") as file:
        sock.shutdown(socket.SHUT_WR)
        head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("count", [64, 500])
@pytest.mark.parametrize("path", ["publish", "subscriptions"])
def test_bodies_that_stall_delay_nobody(path: str, count: int, server: Comet) -> None:
    begun = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".encode() + b" " * 50_000
    before = server.stats()["messages"]
    with ExitStack() as stack:
        (client,) = streams(stack, server, 7)
        for _ in range(count):
            stack.enter_context(connect(server, begun))
        began = time.monotonic()
        assert control(server, "POST", "/publish", MESSAGE).json() == {"messages": 1, "deliveries": 1}
        assert control(server, "POST", "/subscriptions", b'{"subscriber": 1, "subject": 2}').json()["pairs"] == 1
        assert client.chunk() == "Recvd msg #1: Hello\n"
        assert time.monotonic() - began < SOON
    stats_when(server, messages=before + 1)


def test_connections_without_number_leave_room_for_others(server: Comet) -> None:
    with ExitStack() as stack:
        for _ in range(1500):
            stack.enter_context(connect(server))
        began = time.monotonic()
        assert control(server, "GET", "/healthz").text == "ok\n"
        assert time.monotonic() - began < SOON
        figures = server.stats()["control"]
        assert figures["connections"] <= 1024
        assert figures["given_up"] >= 1500 - 1024


UPGRADE = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {}\r\n{}\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        UPGRADE.format("h2c", "HTTP2-Settings: A\r\n"),
        UPGRADE.format("h2c", "HTTP2-Settings: AAT_____\r\n"),
        UPGRADE.format("websocket", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: \xff\r\n"),
        UPGRADE.format("websocket", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: \xff\r\n"),
    ],
)
def test_who_asks_for_another_protocol_gets_http(request_: str, server: Comet) -> None:
    assert ask(server, request_.encode("latin-1")) == (200, b"ok\n")
    assert control(server, "GET", "/healthz").text == "ok\n"


def test_http_2_is_not_spoken(server: Comet) -> None:
    assert ask(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")[0] == 505


def test_answers_that_nobody_reads_do_not_keep_the_server_from_ending() -> None:
    with comet("--max-users", "10") as server, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.connect(("127.0.0.1", server.control))
        sock.settimeout(1)
        with suppress(TimeoutError):  # once the server reads no more, since its answers are not read
            while True:
                sock.sendall(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
        assert server.stop() == 0
