"""`floodtest run --protocol`: every protocol, with either model of either end, and servers that are not ours."""

import json
import socket
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from floodtest.loadgen.plan.models import CLIENT_MODELS, SERVER_MODELS
from floodtest.wire.protocols import OWN
from tests.rigs.support import chunk, comet, flood, scripted_server, user_of

SHORT = ("--connections", "120", "--rate", "600", "--hold", "1")
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


BOTH_ENDS = [
    *product([name for name in OWN if name != "websocket"], zip(CLIENT_MODELS, SERVER_MODELS, strict=True)),
    *product(["websocket"], product(["columns"], SERVER_MODELS)),
]


@pytest.mark.parametrize(("protocol", "client", "model"), [(name, *models) for name, models in BOTH_ENDS])
def test_every_tick_and_message_arrives(protocol: str, client: str, model: str, tmp_path: Path) -> None:
    options = ("--protocol", protocol, "--client", client, "--server-model", model)
    traffic = ("--tick", "300ms", "--messages", "300/s", "--message-seconds", "1")
    code, summary, errors = flood(tmp_path, *SHORT, *options, *traffic)
    assert (code, summary["outcome"]) == (0, "ok"), errors
    assert summary["connections"]["opened"] == 120
    assert (summary["protocol"], summary["opened_when"]) == (protocol, "id")
    assert summary["ticks"]
    assert all(tick["sent"] == tick["received"] == 120 for tick in summary["ticks"])
    messages = summary["messages"]
    assert (messages["published"], messages["lost"], messages["duplicated"]) == (300, 0, 0)
    assert messages["received"] == messages["expected"] > 0
    assert messages["latency_ms"] is not None
    (record,) = tmp_path.glob("*/run.json")
    assert json.loads(record.read_text())["options"]["protocol"] == protocol


def test_ids_heartbeats_and_retry_are_no_messages(tmp_path: Path) -> None:
    with comet("--max-users", "100", "--history", "5", "--retry", "1s", "--heartbeat", "30ms") as server:
        target = f"http://127.0.0.1:{server.port}/events/{{user}}"
        publish = f"POST http://127.0.0.1:{server.control}/publish"
        body = '{"subject": {user}, "message": "{message}"}'
        traffic = ("--messages", "60/s", "--message-seconds", "1", "--publish", publish, "--publish-body", body)
        options = ("--target", target, "--protocol", "sse", "--open-when", "id", "--connections", "60", "--hold", "0")
        code, summary, errors = flood(tmp_path, *options, *traffic)
        assert (code, summary["outcome"]) == (0, "ok"), errors
        assert summary["connections"]["opened"] == 60
        messages = summary["messages"]
        assert [messages[name] for name in ("published", "received", "lost", "duplicated")] == [60, 60, 0, 0]
        stats = server.stats()
        assert (stats["deliveries"], stats["history"]["replays"]) == (60, 0)


def body_of(events: list[bytes], framing: str) -> tuple[bytes, list[bytes]]:
    """Return a head, and the pieces in which these events are written."""
    if framing == "until close":
        return EVENTS + b"Connection: close\r\n\r\n", events
    whole = b"".join(events)
    size = 7 if framing == "in chunks of seven bytes" else len(whole)
    pieces = [chunk(whole[at : at + size]) for at in range(0, len(whole), size)]
    return EVENTS + b"Transfer-Encoding: chunked\r\n\r\n", pieces


@pytest.mark.parametrize(
    ("framing", "protocol"), [("until close", "auto"), ("in chunks of seven bytes", "sse"), ("in one chunk", "auto")]
)
@pytest.mark.parametrize("client", CLIENT_MODELS)
def test_events_of_another_server_are_read_however_they_are_framed(
    framing: str, protocol: str, client: str, tmp_path: Path
) -> None:
    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = connection.recv(4096)
            assert (b"\r\nAccept: text/event-stream\r\n" in request) == (protocol == "sse")
            user = user_of(request)
            events = [b": hi\r\n\r\nretry: 10\ndata: hello %b\n\n" % user]
            events += [b"id: %d\ndata: Recvd msg #%d: a\ndata: b\n\n" % (number, number) for number in (1, 2)]
            head, pieces = body_of([*events, b":\n\n"], framing)
            connection.sendall(head)
            for piece in pieces:
                connection.sendall(piece)
            connection.recv(1)

    with scripted_server(handle) as target:
        options = ("--target", target, "--protocol", protocol, "--client", client)
        code, summary, errors = flood(tmp_path, "--connections", "20", "--hold", "1", *options)
    assert (code, summary["connections"]["opened"]) == (0, 20), errors
    assert (summary["received"], summary["missing"], summary["repeated"]) == (60, 0, 0)
    assert (summary["protocol"], summary["opened_when"]) == ("sse", "head")


@pytest.mark.parametrize("client", CLIENT_MODELS)
def test_a_price_in_an_event_opens_nobody_and_a_silent_stream_opens_at_its_head(client: str, tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            user = user_of(connection.recv(4096))
            price = b"data: 9.%b and %b.9\n\n" % (user, user) if int(user) % 2 else b""
            connection.sendall(EVENTS + b"\r\n" + price)
            connection.recv(1)

    with scripted_server(handle) as target:
        options = ("--target", target, "--connections", "20", "--client", client, "--connect-timeout", "1s", "--hold")
        code, summary, errors = flood(tmp_path, *options, "0")
        assert (code, summary["connections"]["opened"]) == (0, 20), errors
        code, summary, _ = flood(tmp_path, *options, "0", "--open-when", "id")
    assert code == 4
    assert summary["connections"]["failed"] == {"open_when_unmet@response": 10, "ETIMEDOUT@response": 10}
