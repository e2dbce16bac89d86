"""`floodtest run` against `comet serve` behind nginx, haproxy and caddy, with TLS hitch and stunnel too.

All stand before one server, and a name with an address of each takes users to them in turn. A run sees them as the
server.
"""

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.foreign import PROXIES, TLS_PROXIES, Address, Served, address
from tests.rigs.serving import free_port
from tests.rigs.support import Comet, comet, flood, run_here
from tests.rigs.tls import write_certificate

USERS = 210
MESSAGES = 100
REAL_LOOK_UP: Callable[..., list[tuple[Any, ...]]] = socket.getaddrinfo


@contextmanager
def before(
    server: Comet, names: Sequence[str], folder: Path, patience: int = 3600, pem: Path | None = None
) -> Iterator[list[Served]]:
    """Proxies before a server, at addresses that the name proxies.example has; a test is skipped if one is missing."""
    for name in names:
        if (missing := TLS_PROXIES[name].missing) is not None:
            pytest.skip(missing)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        there = [
            stack.enter_context(TLS_PROXIES[name].started(folder / name, address(number), server.port, patience, pem))
            for number, name in enumerate(names)
        ]
        patched.setattr(socket, "getaddrinfo", partial(look_up, [(one.host, one.port) for one in there]))
        yield there


def look_up(addresses: list[Address], host: str, port: int | None, *rest: Any, **options: Any) -> list[tuple[Any, ...]]:
    if host != "proxies.example":
        return REAL_LOOK_UP(host, port, *rest, **options)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_every_message_comes_through_each_proxy(scheme: str, tmp_path: Path) -> None:
    """By http the users are in turn, from one round of the proxies to the next, those of events and of chunks."""
    with comet("--max-users", "300") as server, before(server, list(PROXIES), tmp_path) as proxies:
        paths = ["/ws"] if scheme == "ws" else ["/events", "/test"]
        rows = "".join(f"{paths[row // len(PROXIES) % len(paths)][1:]}\n" for row in range(USERS))
        (tmp_path / "users.csv").write_text(f"path\n{rows}")
        code, summary, errors = flood(
            *(tmp_path / "runs", "--target", f"{scheme}://proxies.example:{proxies[0].port}/{{path}}/{{user}}"),
            *("--users", str(tmp_path / "users.csv"), "--open-when", "id", "--connections", str(USERS), "--hold", "0"),
            *("--messages", f"{MESSAGES}/s", "--message-seconds", "1"),
            *("--publish", f"http://127.0.0.1:{server.control}/publish"),
            *("--publish-body", '{"subject": {user}, "message": "{message}"}'),
        )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    connections, messages = summary["connections"], summary["messages"]
    assert (connections["opened"], connections["failed"], connections["closed_by"]) == (USERS, {}, {})
    assert (messages["published"], messages["expected"], messages["received"]) == (MESSAGES, MESSAGES, MESSAGES)
    assert (messages["lost"], messages["duplicated"], summary["missing"], summary["repeated"]) == (0, 0, 0, 0)
    assert summary["received"] <= USERS + MESSAGES  # their welcomes
    if scheme == "ws":  # of two chunks to one user that a proxy read at once it makes one, which counts as one
        assert summary["received"] == USERS + MESSAGES
    assert summary["server"]["addresses"] == [proxy.at for proxy in proxies]
    measured = {process["pid"]: process["name"] for process in summary["server"]["processes"]}
    assert measured == {proxy.pid: name for proxy, name in zip(proxies, PROXIES, strict=True)}
    assert server.process.pid not in measured
    assert "if caddy or haproxy or nginx passes connections on" in summary["server"]["found"]


def test_an_idle_time_out_of_a_proxy_is_said_in_words(tmp_path: Path) -> None:
    """The proxy_read_timeout of nginx and the tunnel timeout of haproxy are 4 s, and the server says nothing."""
    with comet("--max-users", "300") as server, before(server, ["nginx", "haproxy"], tmp_path, patience=4) as proxies:
        code, summary, errors = flood(
            *(tmp_path / "runs", "--target", f"ws://proxies.example:{proxies[0].port}/ws/{{user}}"),
            *("--connections", "40", "--hold", "7"),
        )
    assert (code, summary["connections"]["opened"], summary["connections"]["closed_early"]) == (4, 40, 40), errors
    note = "40 of 40 connections ended 4 s after their last byte: an idle time-out of a proxy, or of the server?"
    assert summary["lifetimes"]["note"] == note
    (cause,) = summary["causes"]
    assert (cause["name"], cause["count"]) == ("cut", 40)
    assert "an idle time-out of a proxy" in cause["remedy"]


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_every_message_comes_through_each_proxy_that_speaks_tls(scheme: str, tmp_path: Path) -> None:
    """By https as events. The proxies have one certificate, for the name that they are all asked for."""
    cert, key = write_certificate(tmp_path, "proxies.example")
    (pem := tmp_path / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
    users, path = 20 * len(TLS_PROXIES), "ws" if scheme == "wss" else "events"
    with comet("--max-users", "300") as server, before(server, list(TLS_PROXIES), tmp_path, pem=pem) as proxies:
        code, summary, errors = flood(
            *(tmp_path / "runs", "--target", f"{scheme}://proxies.example:{proxies[0].port}/{path}/{{user}}"),
            *("--cafile", str(cert), "--open-when", "id", "--connections", str(users), "--hold", "0"),
            *("--messages", f"{MESSAGES}/s", "--message-seconds", "1"),
            *("--publish", f"http://127.0.0.1:{server.control}/publish"),
            *("--publish-body", '{"subject": {user}, "message": "{message}"}'),
        )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    assert (summary["connections"]["opened"], summary["connections"]["closed_by"]) == (users, {})
    assert (summary["messages"]["received"], summary["messages"]["lost"], summary["missing"]) == (MESSAGES, 0, 0)
    tls = summary["tls"]
    assert (tls["handshakes"], tls["is_verified"], tls["kept"]) == (users, True, 0)
    names = {process["name"] for process in summary["server"]["processes"]}
    assert names == set(TLS_PROXIES)


@pytest.mark.parametrize(
    ("name", "said"), [("caddy", "tls_port@response"), ("stunnel", "(ECONNRESET|no_answer)@response")]
)
def test_who_speaks_no_tls_is_pointed_to_it(name: str, said: str, tmp_path: Path) -> None:
    if (missing := TLS_PROXIES[name].missing) is not None:
        pytest.skip(missing)
    cert, key = write_certificate(tmp_path)
    (pem := tmp_path / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
    with TLS_PROXIES[name].started(tmp_path / name, address(0), free_port(), pem=pem) as proxy:
        done = run_here("floodtest", "probe", "--target", f"ws://{proxy.at}/ws/1")
    assert re.search(f"not open   {said}: ", done.stdout), done.stdout + done.stderr
    assert "https:// or wss://" in " ".join(done.stdout.split())
