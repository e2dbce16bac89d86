"""WebSockets of a real `comet serve` with clients that nobody here wrote: python `websockets`, and Chromium."""

from functools import partial
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.rigs.browser import CHROMIUM, browser
from tests.rigs.support import comet, wait_until
from tests.rigs.websocket import handshake
from tests.server_under_test.test_comet import Client, asking, control, stats_when

PAGE = Path(__file__).parents[2] / "docs" / "browser.html"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")


def test_websockets_hears_all_and_is_answered_until_the_server_ends(model: str) -> None:
    """Its client of threads, as this process has no loop of asyncio; it closes what does not pong."""
    with comet("--model", model, "--max-users", "10", "--ping", "100ms") as server:
        url = f"ws://127.0.0.1:{server.port}/ws/7"
        with (
            connect(url, ping_interval=0.1, ping_timeout=60, open_timeout=60) as first,
            connect(url, ping_interval=None, open_timeout=60) as second,
        ):
            for client in (first, second):
                assert client.recv(timeout=60) == "Welcome, user 7\n"
            first.send("nobody reads this")
            first.send(["in ", "pieces"])
            assert first.ping("are you there?").wait(60)
            long = "größer" * 8000
            for number, text in enumerate(("Hello", long), 1):
                control(server, "POST", "/publish", f'{{"subject": 7, "message": "{text}"}}'.encode())
                for client in (first, second):
                    assert client.recv(timeout=60) == f"Recvd msg #{number}: {text}\n"
            first.close(4000, "enough")
            assert (first.close_code, first.close_reason) == (4000, "")
            stats = stats_when(server, connections=1)
            assert [stats[name] for name in ("violations", "unanswered", "excess")] == [{}, 0, 0]
            server.process.terminate()
            with pytest.raises(ConnectionClosed):
                second.recv(timeout=60)
            assert second.close_code == 1001


def test_who_does_not_pong_is_closed(model: str) -> None:
    with (
        comet("--model", model, "--max-users", "10", "--ping", "100ms") as server,
        Client(server, handshake(7)) as client,
    ):
        assert client.head()[0] == 101
        assert client.file.read().endswith(b"\x89\x00")
        stats_when(server, connections=0, unanswered=1, logins=1)


def test_what_is_no_handshake_is_told_what_is_missing(model: str) -> None:
    with comet("--model", model, "--max-users", "10") as server:
        with Client(server, asking("/ws/7")) as client:
            status, headers = client.head()
            assert (status, headers["upgrade"], headers["sec-websocket-version"]) == (426, "websocket", "13")
            assert "Sec-WebSocket-Version: 13" in client.rest()
        with Client(server, handshake(7, b"short")) as client:
            assert client.head()[0] == 400
        with Client(server, handshake(11)) as client:
            assert client.head()[0] == 503
        assert server.stats()["rejected"] == {"400": 1, "426": 1, "503": 1}


def test_many_are_opened_by_comparing_bytes_and_get_ticks(model: str) -> None:
    with comet("--model", model, "--max-users", "200", "--tick", "50ms") as server:
        for user in range(1, 21):
            with Client(server, handshake(user, b"%022d==" % user)) as client:
                status, headers = client.head()
                assert (status, headers["connection"]) == (101, "Upgrade")
                assert len(headers["sec-websocket-accept"]) == 28
                for text in (b"Welcome, user %d\n" % user, b"Recvd msg #1: tick "):
                    first, size = client.file.read(2)
                    assert first == 0x81
                    assert client.file.read(size).startswith(text)


@needs_chromium
def test_our_page_hears_both_streams_where_its_origin_is_allowed(model: str, tmp_path: Path) -> None:
    allowing = ("--allow-origin", "*") if model == "columns" else ()
    with comet("--model", model, "--max-users", "10", *allowing) as server, browser(tmp_path) as page:
        page.begin(f"{PAGE.as_uri()}?server=127.0.0.1:{server.port}&user=7")

        def shows(place: str, text: str) -> bool:
            return text in str(page.value(place))

        sockets, events = (f"document.getElementById('{name}').innerText" for name in ("websocket", "events"))
        first = "Welcome, user 7" if allowing else "not open"
        wait_until(lambda: first in str(page.value(events)), "the EventSource is open, or is told that it may not be")
        if not allowing:
            wait_until(lambda: server.stats()["rejected"].get("403", 0) > 0, "the WebSocket is refused")
            assert "Welcome" not in str(page.value(sockets))
            return
        wait_until(lambda: first in str(page.value(sockets)), "the WebSocket is open")
        control(server, "POST", "/publish", '{"subject": 7, "message": "größer"}'.encode())
        for place in (sockets, events):
            wait_until(partial(shows, place, "Recvd msg #1: größer"), "the message is shown")
        assert server.stats()["violations"] == {}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages_of_an_origin_may_read_streams(method: str, model: str) -> None:
    with comet("--model", model, "--max-users", "10", "--allow-origin", "https://example.org") as server:
        for target in ("/test/7", "/events/7"):
            with Client(server, asking(target, method)) as client:
                status, headers = client.head()
                assert (status, headers["access-control-allow-origin"]) == (200, "https://example.org")
