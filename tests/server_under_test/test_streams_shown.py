"""The streams of `comet serve` as people see them: in a real Chromium, and behind a real nginx with its defaults."""

import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.rigs.browser import CHROMIUM, browser
from tests.rigs.nginx import needs_nginx, nginx
from tests.rigs.support import comet
from tests.server_under_test.test_comet import asking, control

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")


FURTHER = 8
"""Messages that are sent for what is not shown yet: with the welcome some 200 bytes, and Chromium guesses the type of a
text without nosniff from a thousand or so."""


@needs_chromium
def test_chromium_shows_the_welcome_and_each_message_as_it_comes(tmp_path: Path) -> None:
    """On a loaded machine it may keep a piece of a stream until it reads the next one, so it is given further ones."""
    with comet("--max-users", "10") as server, browser(tmp_path) as page:  # what either model writes is alike
        sent = 0

        def publish() -> None:
            nonlocal sent
            sent += 1
            control(server, "POST", "/publish", b'{"subject": 7, "message": "Hello"}')

        def shows(text: str) -> bool:
            shown = page.text()
            whole = "Welcome, user 7\n" + "".join(f"Recvd msg #{n}: Hello\n" for n in range(1, sent + 1))
            assert whole.startswith(shown)
            return text in shown

        page.begin(server.url.format(user=7))
        for text in ("Welcome, user 7\n", "Recvd msg #1: Hello\n"):
            while not came_true(partial(shows, text), seconds=5):
                assert sent < FURTHER, f"not shown with all that came after it: {text!r}"
                publish()


@needs_chromium
def test_an_event_source_hears_the_welcome_and_each_message_as_it_was_sent(tmp_path: Path) -> None:
    with comet("--max-users", "10") as server, browser(tmp_path) as page:  # what either model writes is alike
        page.begin(f"http://127.0.0.1:{server.port}/")  # any page of this server's
        assert came_true(lambda: "Not found" in page.text(), seconds=30)
        page.value("heard = []; new EventSource('/events/7').onmessage = event => heard.push(event.data); 0")
        assert came_true(lambda: page.value("heard.length") == 1, seconds=30)
        control(server, "POST", "/publish", b'{"subject": 7, "message": "Hello"}\n{"subject": 7, "message": "a\\nb"}')
        assert came_true(lambda: page.value("heard.length") == 3, seconds=30)
        assert page.value("heard") == ["Welcome, user 7", "Recvd msg #1: Hello", "Recvd msg #2: a\nb"]


def came_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition becomes true within so many seconds."""
    until = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return true


def received(sock: socket.socket, text: bytes) -> bytes:
    """Return what arrives up to and with a text; a read that brings nothing for a minute fails."""
    data = b""
    while text not in data:
        data += sock.recv(65536) or pytest.fail(f"closed after {data!r}")
    return data


@needs_nginx
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nginx_with_its_defaults_hands_each_message_on_at_once(version: str, model: str, tmp_path: Path) -> None:
    with (
        comet("--model", model, "--max-users", "10") as server,
        nginx(tmp_path, f"location / {{ proxy_pass http://127.0.0.1:{server.port}; }}") as address,
        socket.create_connection(address, timeout=60) as sock,
    ):
        sock.sendall(asking(7, version=version))
        assert received(sock, b"Welcome, user 7\n").startswith(b"HTTP/1.1 200")
        for number in (1, 2, 3):
            control(server, "POST", "/publish", b'{"subject": 7, "message": "Hello"}')
            received(sock, b"Recvd msg #%d: Hello\n" % number)
