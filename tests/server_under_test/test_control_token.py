"""The token of the control API: every call needs it, whatever it asks for, and without it nothing happens."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.support import Comet, comet, run_here
from tests.server_under_test.test_comet import streams

TOKEN = "se cret"
MESSAGE = b'{"subject": 7, "message": "hello"}'
SUBSCRIPTION = b'{"subscriber": 1, "subject": "made"}'


@pytest.fixture(scope="module", params=["--token", "COMET_TOKEN"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    folder = tmp_path_factory.mktemp("guarded")
    Store(folder, create=True).close()
    with pytest.MonkeyPatch.context() as patch:
        options = ["--token", TOKEN] if request.param == "--token" else []
        if not options:
            patch.setenv("COMET_TOKEN", TOKEN)
        with comet("--max-users", "10", "--db", str(folder), *options) as one:
            yield one


def call(server: Comet, method: str, path: str, body: bytes, token: bytes | None) -> httpx.Response:
    """Ask with an Authorization header, if there is one."""
    headers = [] if token is None else [(b"Authorization", token)]
    url = f"http://127.0.0.1:{server.control}{path}"
    return httpx.request(method, url, content=body, headers=headers, trust_env=False, verify=False, timeout=60)


CALLS = [
    ("GET", "/healthz", b"", 200),
    ("GET", "/stats", b"", 200),
    ("PUT", "/tick", b'{"seconds": 86400}', 200),
    ("PUT", "/tick", b"nonsense", 400),
    ("POST", "/publish", MESSAGE, 200),
    ("GET", "/publish", b"", 405),
    ("GET", "/subscriptions?subject=7", b"", 200),
    ("POST", "/subscriptions", SUBSCRIPTION, 200),
    ("DELETE", "/subscriptions", SUBSCRIPTION, 200),
    ("GET", "/nowhere", b"", 404),
]
WRONG: list[bytes | None] = [
    None, b"", b"Bearer", b"Bearer wrong", b"Bearerse cret", b"Bearer se", b"Bearer se cret2", b"Bearer SE CRET",
    b"se cret", b"Basic c2UgY3JldA==", b"Bearer \xff\xc3\xa9", b"Bearer se cret\xc3\xa9",
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status"), CALLS)
def test_every_call_needs_the_token(guarded: Comet, method: str, path: str, body: bytes, status: int) -> None:
    for token in WRONG:
        answer = call(guarded, method, path, body, token)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), token
        assert TOKEN not in answer.text
    assert call(guarded, method, path, body, b"Bearer se cret").status_code == status


@pytest.mark.parametrize("given", [b"bearer se cret", b"BEARER se cret", b"bEaReR   se cret"])
def test_the_scheme_is_taken_in_any_case(guarded: Comet, given: bytes) -> None:
    assert call(guarded, "GET", "/healthz", b"", given).status_code == 200


def test_a_call_without_the_token_changes_nothing(guarded: Comet) -> None:
    right = f"Bearer {TOKEN}".encode()
    call(guarded, "PUT", "/tick", b'{"seconds": null}', right)
    before = call(guarded, "GET", "/stats", b"", right).json()
    for method, path, body in (
        ("PUT", "/tick", b'{"seconds": 500}'),
        ("POST", "/publish", MESSAGE),
        ("POST", "/subscriptions", SUBSCRIPTION),
    ):
        assert call(guarded, method, path, body, None).status_code == 401
    stats = call(guarded, "GET", "/stats", b"", right).json()
    for name in ("tick_seconds", "messages", "subscriptions"):
        assert stats[name] == before[name]


def test_streams_need_no_token(guarded: Comet) -> None:
    with ExitStack() as stack:
        (client,) = streams(stack, guarded, 7)
        answer = call(guarded, "POST", "/publish", MESSAGE, f"Bearer {TOKEN}".encode())
        assert answer.json() == {"messages": 1, "deliveries": 1}
        assert client.chunk() == "Recvd msg #1: hello\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_a_control_api_that_others_reach_takes_a_token(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMET_TOKEN", raising=False)
    done = run_here("comet", "serve", "--port", "0", "--control-port", "0", "--control-host", host)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"comet: --control-host {host} is open to others: it takes a --token, or set COMET_TOKEN.\n")


@pytest.mark.parametrize("token", ["", " ", "é", "two\nlines", "secret ", " secret"])
def test_a_token_that_no_header_can_bring_is_nonsense(token: str) -> None:
    done = run_here("comet", "serve", "--port", "0", "--control-port", "0", "--token", token)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "comet: --token takes printable ASCII, without spaces around it.\n"
