"""Web pages and the control API of a real `comet serve`: by raw requests, and in a real Chromium that shows pages."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.browser import CHROMIUM, Browser, browser
from tests.rigs.support import Comet, comet, run_forked, wait_until
from tests.server_under_test.test_comet import Client, streams
from tests.server_under_test.test_control_attacks import connect

TOKEN = "secret"
MESSAGE = '{"subject": 7, "message": "from a page"}'
SUBSCRIPTION = '{"subscriber": 1, "subject": 7}'
TICK = '{"seconds": 0.001}'

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    with started(tmp_path_factory.mktemp("open")) as one:
        yield one


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    with started(tmp_path_factory.mktemp("guarded"), "--token", TOKEN) as one:
        yield one


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Comet]:
    Store(folder / "db", create=True).close()
    with comet("--max-users", "10", "--db", str(folder / "db"), *options) as one:
        yield one


def send(server: Comet, method: str, path: str, body: str, headers: str, version: str = "1.1") -> tuple[int, str, str]:
    """Send a request with these header lines as they are; return status, head in lower case, and text."""
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    with connect(server, f"{method} {path} HTTP/{version}\r\n{headers}{length}\r\n{body}".encode()) as sock:
        head, _, text = sock.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), text.decode()


def changed_by(server: Comet) -> dict[str, Any]:
    """Return the figures that a page would change."""
    return {
        name: value for name, value in server.stats().items() if name in ("messages", "subscriptions", "tick_seconds")
    }


# -- raw requests ----------------------------------------------------------------------------------------------------

CALLS = [
    ("GET", "/healthz", ""),
    ("HEAD", "/healthz", ""),
    ("GET", "/stats", ""),
    ("PUT", "/tick", TICK),
    ("POST", "/publish", MESSAGE),
    ("POST", "/subscriptions", SUBSCRIPTION),
    ("DELETE", "/subscriptions", SUBSCRIPTION),
    ("GET", "/subscriptions?subject=7", ""),
    ("OPTIONS", "/publish", ""),
    ("OPTIONS", "*", ""),
    ("GET", "/nowhere", ""),
]
OWN = "Host: 127.0.0.1:8001\r\n"
FROM_PAGES = {
    "a page elsewhere": f"{OWN}Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
    "a page on another port": f"{OWN}Origin: http://127.0.0.1:3000\r\nSec-Fetch-Site: same-site\r\n",
    "a form of an old browser": f"{OWN}Origin: http://evil.example\r\n",
    "a sandboxed frame": f"{OWN}Origin: null\r\n",
    "an image": f"{OWN}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
    "a preflight": f"{OWN}Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n",
    "two origins": f"{OWN}Origin: http://127.0.0.1:8001\r\nOrigin: http://evil.example\r\n",
}
REBOUND = {
    "a page whose name was rebound": "Host: evil.example:8001\r\n",
    "its own post": "Host: evil.example:8001\r\nOrigin: http://evil.example:8001\r\nSec-Fetch-Site: same-origin\r\n",
    "any address": "Host: 0.0.0.0:8001\r\n",
}


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize("headers", (FROM_PAGES | REBOUND).values(), ids=(FROM_PAGES | REBOUND).keys())
def test_no_call_is_served_to_a_web_page(headers: str, method: str, path: str, body: str, server: Comet) -> None:
    before = changed_by(server)
    status, head, text = send(server, method, path, body, headers)
    assert status == 403
    assert "access-control" not in head
    assert text.count("\n") == (method != "HEAD")
    assert changed_by(server) == before


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize("headers", FROM_PAGES.values(), ids=FROM_PAGES.keys())
def test_a_token_is_no_help_to_a_web_page(headers: str, method: str, path: str, body: str, guarded: Comet) -> None:
    assert send(guarded, method, path, body, headers)[0] == 403
    assert send(guarded, method, path, body, f"{headers}Authorization: Bearer {TOKEN}\r\n")[0] == 403


def test_with_a_token_the_api_may_have_any_name(guarded: Comet) -> None:
    for headers in REBOUND.values():
        assert send(guarded, "GET", "/healthz", "", headers)[0] == 401
        assert send(guarded, "GET", "/healthz", "", f"{headers}Authorization: Bearer {TOKEN}\r\n")[0] == 200


def test_a_request_without_a_host_needs_a_token(server: Comet, guarded: Comet) -> None:
    assert send(server, "GET", "/healthz", "", "", version="1.0")[0] == 403
    assert send(guarded, "GET", "/healthz", "", f"Authorization: Bearer {TOKEN}\r\n", version="1.0")[0] == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8001", "127.9.9.9", "[::1]:8001", "LOCALHOST.:1"])
@pytest.mark.parametrize("site", ["", "Sec-Fetch-Site: none\r\n", "Sec-Fetch-Site: same-origin\r\n"])
def test_programs_and_typed_addresses_are_served(host: str, site: str, server: Comet) -> None:
    status, head, text = send(server, "GET", "/healthz", "", f"Host: {host}\r\n{site}")
    assert (status, text) == (200, "ok\n")
    assert "access-control" not in head


def test_the_commands_are_served_by_ipv4_and_ipv6_and_by_name(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        with comet("--max-users", "10", "--control-host", host) as one:
            url = f"http://{f'[{host}]' if ':' in host else host}:{one.control}"
            done = run_forked("comet", "publish", "7", "Hello", "--control", url)
            assert (done.returncode, done.stdout) == (0, "The message went to 0 connections.\n")


# -- in a browser ----------------------------------------------------------------------------------------------------


@contextmanager
def page_elsewhere() -> Iterator[str]:
    """An empty page of another origin, served from this machine as well; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>another site</title><body>")

        def log_message(self, *arguments: object) -> None:
            """Nothing is to be said of it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{site.server_address[1]}/"
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser for which the name evil.example has been made to lead to this machine."""
    rebinding = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    with browser(tmp_path_factory.mktemp("profile"), rebinding) as started:
        yield started


LINES = [MESSAGE, SUBSCRIPTION, TICK]
TRIES = {
    "fetch without CORS": "fetch(api + '/publish', {method: 'POST', mode: 'no-cors', body: message})",
    "subscribe without CORS": "fetch(api + '/subscriptions', {method: 'POST', mode: 'no-cors', body: subscription})",
    "fetch with CORS": "fetch(api + '/publish', {method: 'POST', body: message})",
    "a preflight": "fetch(api + '/tick', {method: 'PUT', body: tick})",
    "another preflight": "fetch(api + '/subscriptions', {method: 'DELETE', body: subscription})",
    "read figures": "fetch(api + '/stats').then(answer => answer.text())",
    "fetch figures": "fetch(api + '/stats', {mode: 'no-cors'}).then(answer => answer.text())",
    "a beacon": "Promise.resolve(navigator.sendBeacon(api + '/publish', message))",
    "an image": "load('img', {src: api + '/stats'})",
    "a script": "load('script', {src: api + '/stats'})",
    "a frame": "load('iframe', {src: api + '/stats'})",
    "a web socket": """new Promise(done => {
        new WebSocket(api.replace('http', 'ws') + '/stats').onerror = () => done('');
    })""",
    "a form": """new Promise(done => {
        const frame = Object.assign(document.createElement('iframe'), {name: 'answer'});
        document.body.appendChild(frame);
        const form = document.body.appendChild(document.createElement('form'));
        Object.assign(form, {action: api + '/publish', method: 'post', enctype: 'text/plain', target: 'answer'});
        const field = form.appendChild(document.createElement('input'));
        field.name = message.slice(0, -2) + '" , "x';
        field.value = '": 1}';
        frame.onload = () => done('');
        form.submit();
    })""",
}
"""What a page may try; each is a promise."""

PRELUDE = """
    const api = '%s', message = '%s', subscription = '%s', tick = '%s';
    const load = (name, properties) => new Promise(done => {
        const element = Object.assign(document.createElement(name), properties);
        element.onload = element.onerror = () => done('');
        document.body.appendChild(element);
    });
"""


def attempt(window: Browser, api: str, expression: str) -> str:
    """Try something in the page that is shown; return what the page learns of it."""
    script = PRELUDE % (api, *LINES) + f"return {expression}.then(got => `got ${{got}}`, error => `failed: ${{error}}`)"
    answer: str = window.value(f"(() => {{ {script} }})()")
    return answer


@needs_chromium
@pytest.mark.parametrize("expression", TRIES.values(), ids=TRIES.keys())
def test_a_page_in_the_next_tab_changes_nothing_and_learns_nothing(
    expression: str, server: Comet, window: Browser
) -> None:
    api = f"http://127.0.0.1:{server.control}"
    before, refused = changed_by(server), _refused(server)
    with page_elsewhere() as url, ExitStack() as stack:
        (client,) = streams(stack, server, 7)
        window.begin(url)
        wait_until(lambda: window.value("document.title") == "another site", "the page is shown")
        assert "connections" not in attempt(window, api, expression)
        wait_until(lambda: _refused(server) > refused, "the request has come and was refused")
        assert changed_by(server) == before
        assert_next(server, client)


def _refused(server: Comet) -> int:
    return int(server.stats()["control"]["rejected"].get("403", 0))


def assert_next(server: Comet, client: Client) -> None:
    """Check that nothing has come for a client before what is sent now."""
    assert send(server, "POST", "/publish", '{"subject": 7, "message": "next"}', OWN)[0] == 200
    assert client.chunk() == "Recvd msg #1: next\n"


@needs_chromium
@pytest.mark.parametrize("name", ["fetch with CORS", "read figures", "a preflight", "another preflight"])
def test_a_page_whose_name_was_rebound_changes_nothing_and_learns_nothing(
    name: str, server: Comet, window: Browser
) -> None:
    own = f"http://evil.example:{server.control}"
    before, refused = changed_by(server), _refused(server)
    window.begin(f"{own}/stats")
    wait_until(lambda: window.value("location.origin") == own, "the page is shown")
    assert "start comet serve with a token" in window.value("document.body.innerText")
    assert "connections" not in attempt(window, own, TRIES[name])
    wait_until(lambda: _refused(server) >= refused + 2, "the page and its request were refused")
    assert changed_by(server) == before


@needs_chromium
def test_a_person_may_look_at_the_figures_in_a_browser(server: Comet, window: Browser) -> None:
    api = f"http://127.0.0.1:{server.control}"
    window.begin(f"{api}/stats")
    shown = wait_until(lambda: window.value("document.body ? document.body.innerText : ''"), "figures are shown")
    assert '"connections"' in shown
    assert attempt(window, api, "fetch(api + '/healthz').then(answer => answer.text())") == "got ok\n"
