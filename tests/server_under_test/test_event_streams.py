"""/events/<id> of either model: ids, retry, heartbeats, and clients that come back."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from floodtest.server_under_test.fronts.resuming import COMMENT
from floodtest.server_under_test.routing.bus import REPLAYS, Deliver
from floodtest.server_under_test.routing.progress import NEVER
from floodtest.wire.framing.chunked import decode
from floodtest.wire.protocols import CHUNKED, EVENTS, UNTIL_CLOSE, WEBSOCKET
from tests.rigs.browser import CHROMIUM, browser
from tests.rigs.server import ServerRig
from tests.rigs.support import Comet, comet
from tests.rigs.tasks import TaskRig
from tests.server_under_test.test_comet import Client, asking, control, stats_when
from tests.server_under_test.test_streams_shown import came_true

LIFE = "0badcafe"
FAST = ("--max-users", "10", "--history", "2", "--retry", "250ms", "--heartbeat", "50ms")


def publish(server: Comet, *texts: str, user: int = 7) -> None:
    lines = (json.dumps({"subject": user, "message": text}) for text in texts)
    assert control(server, "POST", "/publish", "\n".join(lines).encode()).status_code == 200


def next_chunk(client: Client) -> str:
    """Return the next chunk that is no heartbeat."""
    while (chunk := client.chunk()) == COMMENT.decode():
        pass
    return chunk


def come_back(last: str) -> bytes:
    return asking("/events/7", more=f"Last-Event-ID: {last}\r\n")


def test_who_comes_back_gets_what_it_has_missed(model: str) -> None:
    with comet("--model", model, *FAST) as server:
        with Client(server, asking("/events/7")) as client, Client(server, asking(7)) as other:
            assert client.head()[0] == other.head()[0] == 200
            retry, last, _ = next_chunk(client).split("\n")
            life, zero = last.removeprefix("id: ").split("-")
            assert (retry, zero) == ("retry: 250", "0")
            assert next_chunk(client) == "data: Welcome, user 7\n\n"
            publish(server, "a")
            assert next_chunk(client) == f"data: Recvd msg #1: a\nid: {life}-1\n\n"
            assert client.chunk() == COMMENT.decode()
            assert [other.chunk() for _ in range(2)] == ["Welcome, user 7\n", "Recvd msg #1: a\n"]
            assert not other.has_something()
        stats_when(server, connections=0)
        publish(server, "b", "c")
        with Client(server, come_back(f"{life}-1")) as client:
            client.head()
            assert [next_chunk(client) for _ in range(2)] == ["retry: 250\n", "data: Welcome, user 7\n\n"]
            missed = f"data: Recvd msg #1: b\nid: {life}-2\n\ndata: Recvd msg #2: c\nid: {life}-3\n\n"
            assert "".join(next_chunk(client) for _ in range(2)) == missed
            publish(server, "d")
            assert next_chunk(client) == f"data: Recvd msg #3: d\nid: {life}-4\n\n"
        lost = f"event: lost\nid: {life}-2\n\ndata: Recvd msg #1: c\nid: {life}-3\n\ndata: Recvd msg #2: d\n"
        for last in (f"{life}-1", "deadbeef-3"):
            request = asking("/events/7", version="1.0", more=f"Last-Event-ID: {last}\r\n")
            with Client(server, request) as client:
                client.head()
                told = ""
                while "msg #2" not in told:
                    told += client.line()
                assert told.replace(":\n\n", "").endswith(lost)
        figures = stats_when(server, connections=0)
        kept = figures["history"]
        assert [kept[name] for name in ("messages", "subjects", "replays", "replayed", "lost")] == [2, 1, 3, 6, 2]
        assert figures["routed"] == figures["deliveries"] == 3 + 3  # three of them replays
        assert figures["undeliverable"] == 0


Holder = ServerRig | TaskRig


@pytest.fixture(params=[ServerRig, TaskRig])
def keeper(request: pytest.FixtureRequest) -> Iterator[Holder]:
    """Make a front of either model whose server has a history."""
    made: Holder = request.param(LIFE)
    yield made
    made.end()


def log_in(holder: Holder, user: int, last_event: str | None = None) -> None:
    """Log in a client of events, which may come back."""
    if isinstance(holder, ServerRig):
        last = None if last_event is None else last_event.encode()
        holder.streams.login([holder.accept(user)], [user], EVENTS, last_event=last)
        holder.welcomed = holder.read(user) or b""
    else:
        more = "" if last_event is None else f"Last-Event-ID: {last_event}\r\n"
        holder.ask(user, asking(f"/events/{user}", more=more))


def events_in(data: bytes | None) -> bytes:
    return b"".join(decode(data or b"").payloads)


def test_a_heartbeat_is_a_comment_to_streams_of_events_alone(holder: Holder) -> None:
    log_in(holder, 1)
    holder.login(2)
    holder.login_websocket(3)
    if isinstance(holder, ServerRig):
        holder.login(4, protocol=UNTIL_CLOSE["events"])
    else:
        holder.ask(4, asking("/events/4", version="1.0"))
    holder.send_heartbeats()
    assert [holder.read(user) for user in (1, 2, 3, 4)] == [b"3\r\n:\n\n\r\n", b"", b"", b":\n\n"]
    holder.send(b"tick 1")
    assert events_in(holder.read(1)) == b"data: Recvd msg #1: tick 1\n\n"


def test_without_a_history_who_comes_back_is_told_at_once_and_forgets_its_id(holder: Holder) -> None:
    log_in(holder, 1, "anything")
    told = events_in(holder.welcomed.partition(b"\r\n\r\n")[2])
    assert told.startswith(b"data: Welcome, user 1\n\ndata: ")
    assert told.endswith(b"\nevent: lost\nid: \n\n")
    holder.send(b"tick 1")
    assert events_in(holder.read(1)) == b"data: Recvd msg #1: tick 1\n\n"


def test_who_waits_for_a_replay_that_is_gone_is_closed(keeper: Holder) -> None:
    """Of a front that was given up the router drops turns, and a replay may have been in one."""
    log_in(keeper, 1, f"{LIFE}-7")
    log_in(keeper, 2)
    assert f"id: {LIFE}-0".encode() in keeper.welcomed
    rows = np.array([1], np.uint32)
    keeper.bus.write(rows, rows, np.zeros_like(rows), [b"x"], np.array([0, 1]), REPLAYS)
    keeper.bus.forget(NEVER)
    last = keeper.bus.write(rows, rows + 8, np.zeros_like(rows), [b"x"], np.array([0, 1]), 1)
    keeper.deliver_turns(Deliver(last))
    assert (keeper.read(1), keeper.read(2)) == (None, b"")
    assert [keeper.figure(name) for name in ("open", "undeliverable", "deliveries")] == [1, 2, 0]


@pytest.mark.parametrize("others", [[CHUNKED], [EVENTS, WEBSOCKET, CHUNKED]])
def test_messages_on_their_way_to_who_waits_are_passed_over(others: list[object]) -> None:
    rig = ServerRig(LIFE)
    log_in(rig, 1, f"{LIFE}-7")
    for user, protocol in enumerate(others, 2):
        rig.login(user, protocol=protocol)  # type: ignore[arg-type]
    users = range(1, 2 + len(others))
    fds = np.array([rig.descriptors[user] for user in users], np.uint32)
    turn = rig.bus.write(fds, np.array(users, np.uint32), np.zeros_like(fds), [b"x"], np.array([0, len(fds)]), 8)
    rig.deliver_turns(Deliver(turn))
    assert rig.read(1) == b""
    for user in users[1:]:
        assert b"Recvd msg #1: x\n" in (rig.read(user) or b"")
    assert [rig.figure(name) for name in ("deliveries", "undeliverable")] == [len(others), 1]
    rig.end()


# -- a client that nobody here wrote ---------------------------------------------------------------------------------


class Cut:
    """Hands connections on to a server; cuts them when it is told to, and lets nobody through until it may `go_on`."""

    def __init__(self, server: Comet) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._ways: list[threading.Thread] = []
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                come = self._listener.accept()[0]
                self._may_go_on.wait()
                ends = come, self._server.connect()
                self._open += ends
                for one, other in (ends, ends[::-1]):
                    self._ways.append(threading.Thread(target=self._hand_on, args=(one, other)))
                    self._ways[-1].start()

    def _hand_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            one.settimeout(None)
            while data := one.recv(65536):
                other.sendall(data)

    def go_on(self) -> None:
        self._may_go_on.set()

    def cut(self) -> None:
        self._may_go_on.clear()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        while self._ways:
            self._ways.pop().join()
        while self._open:
            self._open.pop().close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._may_go_on.set()
        self._accepting.join()
        self._listener.close()
        self.cut()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")
def test_an_event_source_comes_back_and_has_missed_nothing_or_is_told(tmp_path: Path) -> None:
    with comet(*FAST, "--allow-origin", "*") as server, browser(tmp_path) as page, closing(Cut(server)) as way:
        page.begin(f"http://127.0.0.1:{server.port}/")  # any page
        assert came_true(lambda: "Not found" in page.text(), seconds=30)
        page.value(
            f"heard = []; source = new EventSource('http://127.0.0.1:{way.port}/events/7');"
            "source.onmessage = event => heard.push(event.data);"
            "source.addEventListener('lost', event => heard.push('lost')); 0"
        )

        def hears(*texts: str) -> None:
            assert came_true(lambda: page.value("heard.length") >= len(texts), seconds=30), page.value("heard")
            assert page.value("heard.splice(0)") == list(texts)

        hears("Welcome, user 7")
        for texts, is_lost in ((("a", "b"), False), (("c", "d", "e"), True)):
            way.cut()
            stats_when(server, connections=0)
            publish(server, *texts)
            way.go_on()
            missed = [f"Recvd msg #{number}: {text}" for number, text in enumerate(texts[-2:], 1)]
            hears("Welcome, user 7", *["lost"] * is_lost, *missed)
