"""Streams of a real `comet serve` over TLS in a real Chromium, which allows a certificate by its key's fingerprint."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.rigs.browser import CHROMIUM, Browser, browser
from tests.rigs.support import Comet, comet, wait_until
from tests.rigs.tls import write_certificate
from tests.server_under_test.test_comet import control, stats_when

PAGE = Path(__file__).parents[2] / "docs" / "browser.html"

Files = tuple[Path, Path]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_certificate(tmp_path_factory.mktemp("allowed"))


@pytest.fixture(scope="module")
def window(cert: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that allows one certificate, which nobody has signed, and no other."""
    key = x509.load_pem_x509_certificate(cert[0].read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    allowing = f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"
    with browser(tmp_path_factory.mktemp("profile"), allowing) as page:
        yield page


def options(cert: Files) -> tuple[str, ...]:
    return "--tls-cert", str(cert[0]), "--tls-key", str(cert[1]), "--max-users", "10"


def begin(window: Browser, server: Comet) -> tuple[str, str]:
    """Open the page of the documents on a server; return expressions of what it shows of WebSocket and EventSource."""
    window.begin(f"{PAGE.as_uri()}?server=https://127.0.0.1:{server.port}&user=7")
    sockets, events = (f"document.getElementById('{name}')?.innerText" for name in ("websocket", "events"))
    return sockets, events


def wait_for(window: Browser, place: str, text: str) -> None:
    def shows() -> bool:
        return text in str(window.value(place))

    wait_until(shows, f"{text!r} is shown")


def test_our_page_hears_both_streams_over_tls(model: str, cert: Files, window: Browser) -> None:
    with comet("--model", model, "--allow-origin", "*", *options(cert)) as server:
        places = begin(window, server)
        for place in places:
            wait_for(window, place, "Welcome, user 7")
        control(server, "POST", "/publish", '{"subject": 7, "message": "größer"}'.encode())
        for place in places:
            wait_for(window, place, "Recvd msg #1: größer")
        stats = server.stats()
        assert (stats["tls"]["handshakes"], stats["tls"]["versions"], stats["tls"]["ends"]) == (2, {"1.3": 2}, {})
        assert (stats["connections"], stats["violations"], stats["rejected"]) == (2, {}, {})


def test_a_page_of_the_server_itself_is_secure_and_hears_both_streams(model: str, cert: Files, window: Browser) -> None:
    """No origin is allowed: to a page of its own the server is one all the same. What is not TLS is forbidden to it."""
    with comet("--model", model, *options(cert)) as server:
        window.begin(f"https://127.0.0.1:{server.port}/")  # any page of this server's
        wait_until(lambda: "Not found" in window.text(), "the page is shown")
        assert window.value("isSecureContext") is True
        window.value(
            "heard = [[], []]; new WebSocket('/ws/7').onmessage = event => heard[0].push(event.data.trimEnd());"
            "new EventSource('/events/7').onmessage = event => heard[1].push(event.data); 0"
        )
        wait_until(lambda: window.value("heard.every(each => each.length == 1)"), "both are welcome")
        control(server, "POST", "/publish", b'{"subject": 7, "message": "Hello"}')
        wait_until(lambda: window.value("heard.every(each => each.length == 2)"), "the message has come by both")
        assert window.value("heard") == [["Welcome, user 7", "Recvd msg #1: Hello"]] * 2
        window.begin("about:blank")
        stats_when(server, connections=0)


def test_a_certificate_that_the_browser_does_not_trust_opens_nothing(
    model: str, window: Browser, tmp_path: Path
) -> None:
    with comet("--model", model, "--allow-origin", "*", *options(write_certificate(tmp_path))) as server:
        sockets, events = begin(window, server)
        wait_for(window, sockets, "closed with 1006")
        wait_for(window, events, "does this browser trust its certificate?")
        ends = wait_until(lambda: server.stats()["tls"]["ends"], "the server has heard why")
        assert set(ends) == {"tls_alert"}
        assert (server.stats()["logins"], server.stats()["tls"]["handshakes"]) == (0, 0)
