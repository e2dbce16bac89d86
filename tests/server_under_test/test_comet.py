"""`comet serve` as its clients and its operator see it: real processes, raw sockets, httpx."""

import json
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from floodtest.server_under_test.models import MODELS
from tests.rigs.support import Comet, comet, command, processes_of, run_here, wait_until

DOCS = Path(__file__).parents[2] / "docs" / "comet.md"
QUIET = ("--port", "0", "--control-port", "0", "--max-users", "10")


def asking(target: str | int, method: str = "GET", version: str = "1.1", more: str = "") -> bytes:
    """Return a request head; a number asks for the stream of that user."""
    path = f"/test/{target}" if isinstance(target, int) else target
    return f"{method} {path} HTTP/{version}\r\nHost: comet\r\n{more}\r\n".encode()


class Client:
    """HTTP by hand: a head line by line, then chunks; no read waits longer than a minute."""

    def __init__(self, server: Comet, request: bytes = b"") -> None:
        self.sock = server.connect()
        self.file = self.sock.makefile("rb")
        self.received = 0
        self.sock.sendall(request)

    def line(self) -> str:
        line = self.file.readline()
        self.received += len(line)
        return line.decode()

    def head(self) -> tuple[int, dict[str, str]]:
        version, status, _ = self.line().split(" ", 2)
        assert version == "HTTP/1.1"
        fields = [line.partition(": ") for line in iter(self.line, "\r\n")]
        assert all(colon for _, colon, _ in fields)
        return int(status), {name.lower(): value.rstrip("\r\n") for name, _, value in fields}

    def chunk(self) -> str:
        size = int(self.line(), 16)
        payload = self.file.read(size)
        assert self.file.read(2) == b"\r\n"
        self.received += size + 2
        return payload.decode()

    def has_something(self) -> bool:
        """Return whether there is something to read now, or has been read ahead."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def message(self) -> tuple[int, int]:
        """Return the number of the next message, and of the tick that it tells of."""
        return numbers(self.chunk())

    def rest(self) -> str:
        """Return what is left until the server closes."""
        return self.file.read().decode()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()
        self.sock.close()


def numbers(message: str) -> tuple[int, int]:
    match = re.fullmatch(r"Recvd msg #(\d+): tick (\d+)\n?", message)
    assert match, message
    return int(match[1]), int(match[2])


def streams(stack: ExitStack, server: Comet, *users: int) -> list[Client]:
    """Open a stream for each user, read up to and with its welcome."""
    clients = [stack.enter_context(Client(server, asking(user))) for user in users]
    for user, client in zip(users, clients, strict=True):
        assert client.head()[0] == 200
        assert client.chunk() == f"Welcome, user {user}\n"
    return clients


def control(server: Comet, method: str, path: str, body: bytes = b"") -> httpx.Response:
    url = f"http://127.0.0.1:{server.control}{path}"
    return httpx.request(method, url, content=body, trust_env=False, verify=False, timeout=60)


def tick_once(server: Comet) -> None:
    """Have one tick sent: the first of an order is due at once, the second one here a day later."""
    before = len(stats_when(server, ticking=False)["ticks"])
    assert control(server, "PUT", "/tick", b'{"seconds": 86400}').status_code == 200
    wait_until(lambda: len(server.stats()["ticks"]) > before, "the tick has begun")
    stats_when(server, ticking=False)


def stats_when(server: Comet, **figures: Any) -> dict[str, Any]:
    """Return the stats as soon as they hold these figures."""

    def look() -> dict[str, Any] | None:
        stats: dict[str, Any] = control(server, "GET", "/stats").json()
        return stats if all(stats[name] == value for name, value in figures.items()) else None

    stats: dict[str, Any] = wait_until(look, f"stats with {figures}")
    return stats


def all_pids(server: Comet) -> list[int]:
    pids = server.stats()["pids"]
    return [pids["parent"], pids["nursery"], *pids["fronts"]]


@pytest.fixture(scope="module", params=MODELS)
def server(request: pytest.FixtureRequest) -> Iterator[Comet]:
    with comet("--model", request.param, "--max-users", "5000") as one:
        yield one


@pytest.mark.parametrize("path", ["7", "7/", "007", "7?since=1", "5000"])
def test_get_gives_a_chunked_stream_that_welcomes_the_id(server: Comet, path: str) -> None:
    with Client(server, asking(f"/test/{path}")) as client:
        status, headers = client.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert parsedate_to_datetime(headers["date"]).year >= 2024
        assert "content-length" not in headers
        assert client.chunk() == ("Welcome, user 5000\n" if path == "5000" else "Welcome, user 7\n")


def test_the_second_request_of_a_kind_is_answered_like_the_first(server: Comet) -> None:
    heads = []
    for user in range(101, 121):
        with Client(server, asking(user, more="User-Agent: all alike\r\n")) as client:
            heads.append(client.head())
            assert client.chunk() == f"Welcome, user {user}\n"
    for_others = ("x-content-type-options", "cache-control", "x-accel-buffering")
    assert {tuple(headers) for _, headers in heads} == {("date", "content-type", *for_others, "transfer-encoding")}


def test_head_gives_the_head_of_a_stream_and_ends(server: Comet) -> None:
    with Client(server, asking(7, "HEAD")) as client:
        status, headers = client.head()
        assert (status, headers["transfer-encoding"], headers["connection"]) == (200, "chunked", "close")
        assert client.rest() == ""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        *((f"/test{tail}", 404, "/test/123") for tail in ("", "/", "/0", "/00", "/-5", "/abc", "/1.5", "/7x", "/%37")),
        *((path, 404, "Not found") for path in ("/", "/tests/7", "/test/7/8", "/Test/7", "/stats", "*", "/test//7")),
        *((f"/test/{user}", 503, "We ran out of numbers") for user in (5001, 2**32 + 1, 2**64 + 1, "9" * 5000)),
    ],
)
def test_refused(server: Comet, method: str, target: str, status: int, text: str) -> None:
    with Client(server, asking(target, method)) as client:
        answered, headers = client.head()
        assert (answered, headers["connection"]) == (status, "close")
        body = client.rest()
        assert (text in body and len(body) == int(headers["content-length"])) if method == "GET" else body == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_not_implemented(server: Comet, method: str) -> None:
    with Client(server, asking(7, method)) as client:
        assert client.head()[0] == 501
        assert "GET and HEAD" in client.rest()


def test_http_1_0_gets_a_stream_without_chunks(server: Comet) -> None:
    with Client(server, b"GET /test/3 HTTP/1.0\r\n\r\n") as client:
        status, headers = client.head()
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        assert client.line() == "Welcome, user 3\n"
        for number in (1, 2):
            tick_once(server)
            assert numbers(client.line())[0] == number


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    ("path", "kind", "around"),
    [
        ("events", "text/event-stream", "data: {}\n\n"),
        ("lines", "text/plain; charset=utf-8", "{}\n"),
        ("test", "text/plain; charset=utf-8", "{}\n"),
    ],
)
def test_each_path_has_its_own_framing_beside_the_others(
    path: str, kind: str, around: str, version: str, server: Comet
) -> None:
    with ExitStack() as stack:
        (other,) = streams(stack, server, 1)
        client = stack.enter_context(Client(server, asking(f"/{path}/2", version=version)))
        status, headers = client.head()
        assert (status, headers["content-type"]) == (200, kind)
        framed = ("chunked", None) if version == "1.1" else (None, "close")
        assert (headers.get("transfer-encoding"), headers.get("connection")) == framed

        def says(text: str) -> bool:
            whole = around.format(text)
            return whole == (client.chunk() if version == "1.1" else client.file.read(len(whole)).decode())

        assert says("Welcome, user 2")
        tick_once(server)
        number, tick = other.message()
        assert number == 1
        assert says(f"Recvd msg #1: tick {tick}")


@pytest.mark.parametrize("more", ["", "X: " + "x" * 600 + "\r\n"], ids=["short", "longer than one read"])
def test_who_shuts_down_behind_a_request_is_told_that_it_is_refused(more: str, server: Comet) -> None:
    with Client(server, asking("/nowhere", more=more)) as client:
        client.sock.shutdown(socket.SHUT_WR)
        assert client.head()[0] == 404
        assert client.rest()


def test_messages_are_numbered_for_each_connection_from_its_own_first(server: Comet) -> None:
    with ExitStack() as stack:
        (early,) = streams(stack, server, 1)
        tick_once(server)
        number, first = early.message()
        assert number == 1
        late = streams(stack, server, 2, 2, 2, 1)
        for number in (1, 2):
            tick_once(server)
            assert early.message() == (number + 1, first + number)
            assert [client.message() for client in late] == [(number, first + number)] * 4


def test_all_connections_of_one_id_get_everything(model: str) -> None:
    with comet("--model", model, "--max-users", "10", "--tick", "50ms") as server, ExitStack() as stack:
        for client in streams(stack, server, 9, 9, 9, 9, 9):
            messages = [client.message() for _ in range(5)]
            assert messages == [(number, messages[0][1] + number - 1) for number in range(1, 6)]


def test_httpx_on_trio_follows_streams_to_their_end(model: str) -> None:
    heard: dict[int, list[str]] = {user: [] for user in range(1, 21)}

    async def follow(client: httpx.AsyncClient, server: Comet, user: int) -> None:
        with suppress(httpx.RemoteProtocolError):  # the stream has no last chunk
            async with client.stream("GET", server.url.format(user=user)) as response:
                assert response.status_code == 200
                async for line in response.aiter_lines():
                    heard[user].append(line)
                    if all(len(lines) >= 4 for lines in heard.values()) and len(heard[user]) == 4:
                        server.process.terminate()

    async def follow_all(server: Comet) -> None:
        limits = httpx.Limits(max_connections=None)
        with trio.fail_after(60):
            async with (
                httpx.AsyncClient(trust_env=False, verify=False, limits=limits, timeout=60) as client,
                trio.open_nursery() as tasks,
            ):
                for user in heard:
                    tasks.start_soon(follow, client, server, user)

    with comet("--model", model, "--max-users", "20", "--tick", "200ms") as server:
        trio.run(follow_all, server)
    for user, lines in heard.items():
        assert lines[0] == f"Welcome, user {user}"
        assert [numbers(line)[0] for line in lines[1:]] == list(range(1, len(lines)))


def test_the_control_api_has_three_paths(server: Comet) -> None:
    assert control(server, "GET", "/healthz").text == "ok\n"
    answers = [control(server, *item) for item in (("GET", "/test/1"), ("GET", "/tick"), ("POST", "/stats"))]
    assert [answer.status_code for answer in answers] == [404, 405, 405]
    for path in ("/healthz/", "/stats/", "//healthz", "/tick/"):
        assert control(server, "GET", path).status_code == 404


def test_stats_agree_with_what_was_done(model: str) -> None:
    requests = [
        (200, asking(1, "HEAD")),
        *((404, asking(path)) for path in ("/", "/test/0")),
        *((503, asking(user)) for user in (101, 102, 103)),
        (501, asking(1, "POST")),
        *((505, head) for head in (asking(1).replace(b"HTTP/1.1", b"HTTP/9.9"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
        (400, b"\r\n\r\n"),
        (431, asking(1, more=f"X: {'x' * 8300}\r\n")),
    ]
    with comet("--model", model, "--max-users", "100") as server, ExitStack() as stack:
        clients = streams(stack, server, 1, 1, 2)
        for status, request in requests:
            with Client(server, request) as other:
                assert other.head()[0] == status
        tick_once(server)
        assert [client.message() for client in clients] == [(1, 1)] * 3
        clients[0].sock.sendall(b"0123456789")
        clients[1].__exit__()
        stats = stats_when(server, connections=2, dropped=10, ticking=False)
        assert (stats["logins"], stats["slow"], stats["excess"], stats["accept_errors"]) == (3, 0, 0, 0)
        assert stats["rejected"] == {"400": 1, "404": 2, "431": 1, "501": 1, "503": 3, "505": 2}
        assert stats["bytes"] == sum(client.received for client in clients)
        assert (stats["tick_seconds"], stats["ticks_skipped"], stats["fronts"]) == (86400, 0, [None, None])
        (tick,) = stats["ticks"]
        assert (tick["number"], tick["sent"]) == (1, 3)
        assert tick["planned"] <= tick["first"] <= tick["last"]
        assert 0 < stats["memory"]["private"] < stats["memory"]["available"] < stats["memory"]["total"]
        pids = all_pids(server)
        assert pids[0] == server.process.pid
        assert processes_of(pids) == pids
        assert len(set(pids)) == len(pids)


def test_messages_go_to_those_they_are_for_and_share_their_numbers_with_ticks(model: str) -> None:
    lines = [{"subject": subject, "message": text} for subject, text in ((1, "a"), (2, "b"), (1, "c"), (9, "d"))]
    batch = "\n".join(map(json.dumps, lines)).encode()
    with comet("--model", model, "--max-users", "10") as server, ExitStack() as stack:
        one, two, again = streams(stack, server, 1, 2, 1)
        old = stack.enter_context(Client(server, b"GET /test/2 HTTP/1.0\r\n\r\n"))
        assert (old.head()[0], old.line()) == (200, "Welcome, user 2\n")
        tick_once(server)
        assert control(server, "POST", "/publish", batch).json()["deliveries"] == 6
        for client in (one, again):
            texts = [client.chunk() for _ in range(3)]
            assert texts == ["Recvd msg #1: tick 1\n", "Recvd msg #2: a\n", "Recvd msg #3: c\n"]
        assert [two.chunk() for _ in range(2)] == ["Recvd msg #1: tick 1\n", "Recvd msg #2: b\n"]
        assert [old.line() for _ in range(2)] == ["Recvd msg #1: tick 1\n", "Recvd msg #2: b\n"]
        stats_when(server, deliveries=6, routed=6, undeliverable=0, connections=4)


def test_put_tick_turns_ticks_on_and_off(model: str) -> None:
    with comet("--model", model, "--max-users", "10") as server, ExitStack() as stack:
        (client,) = streams(stack, server, 1)
        assert control(server, "PUT", "/tick", b'{"seconds": 0.05}').json() == {"seconds": 0.05}
        assert [client.message() for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]
        assert server.stats()["tick_seconds"] == 0.05
        assert control(server, "PUT", "/tick", b'{"seconds": null}').json() == {"seconds": None}
        sent = len(stats_when(server, ticking=False, tick_seconds=None)["ticks"])
        tick_once(server)
        assert [client.message() for _ in range(sent - 2)] == [(n, n) for n in range(4, sent + 2)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *((b, 400) for b in (b"", b"{", b"[]", b"{}", b"5", b'{"seconds": "1"}', b'{"seconds": NaN}', b"\xff\xfe\x00")),
        *((b'{"seconds": %b}' % b, 400) for b in (b"0", b"-1", b"0.0009", b"86401", b"1e999", b"true", b'"\xff"')),
        (b" " * 5000, 413),
    ],
)
def test_put_tick_refuses_what_makes_no_sense(server: Comet, body: bytes, status: int) -> None:
    before = server.stats()["tick_seconds"]
    assert control(server, "PUT", "/tick", body).status_code == status
    assert server.stats()["tick_seconds"] == before


def test_sigterm_closes_everything_and_exits_0(model: str) -> None:
    with comet("--model", model, "--max-users", "100") as server, ExitStack() as stack:
        clients = streams(stack, server, *range(1, 31))
        clients += [stack.enter_context(Client(server, b"GET /test/1 HTT")) for _ in range(5)]
        pids = all_pids(server)
        assert server.stop() == 0
        assert [client.rest() for client in clients] == [""] * 35
        assert processes_of(pids) == []
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_after_a_kill_of_the_parent_nothing_is_left(model: str) -> None:
    with comet("--model", model, "--max-users", "100", "--tick", "10ms") as server, ExitStack() as stack:
        clients = streams(stack, server, *range(1, 31))
        pids = all_pids(server)
        server.process.kill()
        server.process.wait(60)
        wait_until(lambda: not processes_of(pids), "all processes ended")
        for client in clients:
            with suppress(ConnectionResetError):
                client.rest()  # it ends, in order or by a reset


@pytest.mark.parametrize(("host", "in_url"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_it_says_where_it_serves_and_ends_on_ctrl_c(host: str, in_url: str) -> None:
    serve = command("comet", "serve", *QUIET, "--host", host, "--control-host", host)
    with (
        subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ExitStack() as end,
    ):
        end.callback(process.kill)
        assert process.stdout
        first, second = process.stdout.readline(), process.stdout.readline()
        assert re.fullmatch(rf"comet serves http://{re.escape(in_url)}:\d+/test/<id> with 1 front;\n", first)
        assert second.startswith(f"figures: http://{in_url}:")
        figures = httpx.get(second.removeprefix("figures: ").strip(), trust_env=False, verify=False, timeout=60)
        assert figures.json()["connections"] == 0
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0


@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_port_in_use_is_refused_in_one_line(server: Comet, option: str) -> None:
    done = run_here("comet", "serve", *QUIET, option, str(server.port))
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"comet: Can't listen on 127.0.0.1:{server.port}: Address already in use.")


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 70])
def test_an_address_that_is_not_ours_is_refused_in_one_line(host: str) -> None:
    done = run_here("comet", "serve", *QUIET, "--host", host)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"comet: Can't listen on {host}:0")


def test_nonsense_is_named_all_at_once() -> None:
    nonsense = {"--port": "70000", "--control-port": "http", "--max-users": "0", "--workers": "-1", "--tick": "soon"}
    nonsense |= {"--model": "threads"}
    nonsense |= {"--limit-head-size": "8k", "--limit-head-time": "-1", "--limit-pending": "1.5", "--limit-excess": ""}
    done = run_here("comet", "serve", *chain(*nonsense.items()))
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert sorted(line.split(" takes ")[0] for line in lines) == sorted(f"comet: {option}" for option in nonsense)
    assert sorted(line.rpartition(", not ")[2] for line in lines) == sorted(f"{text!r}." for text in nonsense.values())


def test_times_of_nothing_are_nonsense() -> None:
    done = run_here("comet", "serve", *QUIET, "--tick", "0", "--limit-head-time", "0")
    assert (done.returncode, "--tick" in done.stderr, "--limit-head-time" in done.stderr) == (2, True, True)


def test_every_figure_is_documented(server: Comet) -> None:
    stats, text = server.stats(), DOCS.read_text()
    names = [*stats, *stats["pids"], *stats["memory"], *stats["control"], "number", "planned", "sent", "first", "last"]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_help() -> None:
    assert "serve" in run_here("comet", "--help").stdout
    assert "--max-users" in run_here("comet", "serve", "--help").stdout


def test_more_fronts_than_a_machine_holds_are_refused() -> None:
    done = run_here("comet", "serve", *QUIET[:-2], "--max-users", "999999999", "--workers", "1000000")
    assert done.returncode == 3
    assert "workers" in done.stderr


@pytest.mark.parametrize("options", [("--max-users", "999999999"), (*QUIET[-2:], "--max-connections", "999999999")])
def test_more_connections_than_fronts_hold_are_refused_and_the_option_is_named(options: tuple[str, ...]) -> None:
    done = run_here("comet", "serve", *QUIET[:-2], *options)
    assert done.returncode == 3
    assert "999,999,999 connections at " in done.stderr
    assert "--max-connections" in done.stderr


def test_a_server_without_fronts_ends_with_a_word(model: str) -> None:
    with comet("--model", model, "--max-users", "10") as server:
        for pid in server.stats()["pids"]["fronts"]:
            os.kill(pid, signal.SIGKILL)
        assert server.process.wait(60) == 1
