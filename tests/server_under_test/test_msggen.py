"""`comet msggen` and `comet publish`: what they publish, and what they say of servers that are none."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from floodtest.server_under_test.commands import publishing
from floodtest.server_under_test.generator import msggen
from floodtest.server_under_test.routing.subjects import MAX_USER
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire import stamp
from floodtest.wire.control import Generated
from tests.rigs.support import Comet, comet, run_forked, run_here, scripted_server
from tests.server_under_test.test_comet import streams
from tests.server_under_test.test_generator import Server, after


@pytest.fixture(scope="module")
def comet_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comet]:
    db = tmp_path_factory.mktemp("store") / "db"
    with Store(db, create=True) as store:
        store.add_subscriptions([(5, 1), (6, 1), (5, "photo:1")])
    with comet("--max-users", "1000", "--db", str(db)) as server:
        yield server


def url_of(server: Comet) -> str:
    return f"http://127.0.0.1:{server.control}"


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """A URL whose port nobody can listen on meanwhile: it is bound, and does not listen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def answering(response: bytes) -> Callable[[socket.socket], None]:
    """Return a handler that reads the head of one request and answers it."""

    def handle(connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(1 << 16)
            if not piece:
                return
            data += piece
        connection.sendall(response)

    return handle


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


SHORT = ("--rate", "200", "--seconds", "0.5", "--size", "60", "--seed", "7")


def test_msggen_publishes_what_it_planned(comet_serve: Comet) -> None:
    with ExitStack() as stack:
        (client,) = streams(stack, comet_serve, 5)
        done = run_forked("comet", "msggen", "--control", url_of(comet_serve), *SHORT, "--users", "1", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert {name: told[name] for name in ("planned", "published", "unpublished", "deliveries", "error")} == {
            "planned": 100,
            "published": 100,
            "unpublished": 0,
            "deliveries": 100,
            "error": None,
        }
        assert set(told) == {*Generated.__struct_fields__, "unpublished"}
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(
            r"published 100 of 100 messages, 100 deliveries; \d+ late, \d\.\d{3} s behind at the most", last
        )
        times = []
        for number in range(1, 101):
            match = re.fullmatch(rf"Recvd msg #{number}: @(\d{{19}})\+\d{{8}} x{{30}}\n", client.chunk() or "")
            assert match is not None
            times.append(int(match[1]))
        times.sort()  # batches may overtake each other
        assert [planned - times[0] for planned in times] == pytest.approx([at * 5_000_000 for at in range(100)], abs=2)


def test_msggen_has_producers_unless_a_rate_is_given(comet_serve: Comet) -> None:
    options = ("--producers", "20", "--interval", "100ms", "--seconds", "1", "--json")
    done = run_here("comet", "msggen", "--control", url_of(comet_serve), *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["planned"] == pytest.approx(20 / 0.1, rel=0.1)


@pytest.mark.parametrize("schedule", [("--rate", "300"), ("--producers", "30", "--interval", "100ms")])
def test_a_seed_decides_on_the_subjects_however_the_messages_are_batched(
    schedule: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def subjects(period: float) -> list[Any]:
        monkeypatch.setattr(msggen, "PERIOD", period)
        server = Server()
        monkeypatch.setattr(publishing, "ControlClient", lambda url, token: server.client())
        done = run_here("comet", "msggen", *schedule, "--seconds", "0.4", "--seed", "7")
        assert done.returncode == 0, done.stderr
        return server.subjects

    often, seldom = subjects(0.02), subjects(0.07)
    least = min(len(often), len(seldom))
    assert least == pytest.approx(120, rel=0.2)
    assert often[:least] == seldom[:least]


def test_publish_says_how_many_it_went_to(comet_serve: Comet) -> None:
    with ExitStack() as stack:
        five, one = streams(stack, comet_serve, 5, 1)
        for subject, message, clients in (("1", "Grüße", [five, one]), ("photo:1", "x y", [five]), ("77", "z", [])):
            done = run_here("comet", "publish", "--control", url_of(comet_serve), subject, message)
            assert (done.returncode, done.stderr) == (0, "")
            counted = f"{len(clients)} connection{'' if len(clients) == 1 else 's'}"
            assert done.stdout == f"The message went to {counted}.\n"
            for client in clients:
                assert (client.chunk() or "").endswith(f": {message}\n")


def test_a_token_is_sent_and_a_wrong_one_is_no_success() -> None:
    with comet("--max-users", "10", "--token", "secret") as server:
        at = ("--control", url_of(server))
        assert run_here("comet", "publish", *at, "1", "x", "--token", "secret").returncode == 0
        assert run_here("comet", "msggen", *at, *SHORT, "--token", "secret").returncode == 0
        publish = run_here("comet", "publish", *at, "1", "x", "--token", "other")
        assert (publish.returncode, publish.stdout) == (3, "")
        assert "answered 401: This call needs the token" in publish.stderr
        generated = run_here("comet", "msggen", *at, *SHORT)
        assert generated.returncode == 4
        assert "comet: the server answered 401: This call needs the token" in generated.stderr


def test_without_a_server_nothing_is_published(nowhere: str) -> None:
    publish = run_here("comet", "publish", "--control", nowhere, "1", "x")
    assert (publish.returncode, publish.stdout) == (3, "")
    (line,) = publish.stderr.splitlines()
    assert line.startswith(f"comet: No comet serve answers at {nowhere}")
    generated = run_here("comet", "msggen", "--control", nowhere, *SHORT, "--json")
    told = json.loads(generated.stdout)
    assert (generated.returncode, told["published"]) == (4, 0)
    assert told["unpublished"] == told["planned"]
    assert generated.stderr.splitlines()[-1] == "comet: the server does not answer (ConnectError)"


@pytest.mark.parametrize(
    ("response", "publish_words", "msggen_words"),
    [
        (
            http("200 OK", "hello"),
            "is no comet serve (JSON is malformed",
            "what answers is no comet serve (JSON is malformed",
        ),
        (http("404 Not Found", "no"), "answered 404: no", "the server answered 404: no"),
        (b"rubbish\r\n\r\n", "No comet serve answers at", "the server does not answer (RemoteProtocolError)"),
        (
            http("302 Found\r\nLocation: a: //[", ""),
            "No comet serve answers at",
            "the server does not answer (InvalidURL)",
        ),
        (
            http("200 OK", f'{{"messages":1,"deliveries":{2**32 + 1}}}'),
            "is no comet serve (4,294,967,297 deliveries). Name its --control URL.",
            "what answers is no comet serve",
        ),
    ],
)
def test_a_server_that_is_another_is_told(response: bytes, publish_words: str, msggen_words: str) -> None:
    with scripted_server(answering(response)) as target:
        url = target.removesuffix("/test/{user}")
        publish = run_here("comet", "publish", "--control", url, "1", "x")
        generated = run_here("comet", "msggen", "--control", url, *SHORT)
    (line,) = publish.stderr.splitlines()
    assert publish.returncode == 3
    assert publish_words in line
    assert generated.returncode == 4
    assert generated.stderr.splitlines()[-1].startswith(f"comet: {msggen_words}")


def test_messages_that_a_slow_server_leaves_over_are_a_shortfall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its answers takes longer than the seconds and the grace together."""
    server = Server(after(1.5))
    monkeypatch.setattr(publishing, "ControlClient", lambda url, token: server.client())
    done = run_here("comet", "msggen", "--rate", "50", "--seconds", "0.3", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["planned"], told["error"]) == (4, 15, None)
    assert told["unpublished"] == 15 - sum(server.sizes) > 0


@pytest.mark.parametrize("command", [("publish", "1", "x"), ("msggen", *SHORT)])
def test_a_control_that_is_no_url_is_refused(command: tuple[str, ...]) -> None:
    done = run_here("comet", *command, "--control", "http://127.0.0.1:port")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("comet: --control http://127.0.0.1:port is no URL")


def test_options_of_msggen_that_make_no_sense_are_all_named_at_once(nowhere: str) -> None:
    wrong = {
        "--token": " ",
        "--users": "0",
        "--producers": "many",
        "--interval": "0",
        "--rate": "-1",
        "--seconds": "soon",
        "--size": str(stamp.SIZE - 1),
    }
    done = run_here("comet", "msggen", "--control", nowhere, *(word for pair in wrong.items() for word in pair))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [["comet:", name] for name in wrong]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--users", str(MAX_USER + 1)), "--users takes at most 4,294,967,295"),
        (("--size", str(stamp.MAX_TEXT + 1)), "--size takes"),
        (("--rate", "inf"), "--rate takes"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "x"), "--seed"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_an_option_of_msggen_that_makes_no_sense_is_named(options: tuple[str, ...], words: str, nowhere: str) -> None:
    done = run_here("comet", "msggen", "--control", nowhere, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("0", "x"), 2, "A user is a whole number from 1 to"),
        (("", "x"), 2, "A subject is a user's id, or a name of 1 to 255 bytes, not ''."),
        (("x" * 256, "x"), 2, "A subject is"),
        (("\udcff", "x"), 2, "A subject is"),
        (("1", "x", "--token", "é"), 2, "--token takes"),
        (("1",), 2, "Missing argument 'MESSAGE'"),
        (("1", "x" * (stamp.MAX_TEXT + 1)), 3, "answered 400: Line 1: The message has 65,537 bytes"),
        (("1", "\udcff"), 3, "answered 400: Line 1: "),
    ],
)
def test_what_cannot_be_published_is_told(
    arguments: tuple[str, ...], code: int, words: str, comet_serve: Comet
) -> None:
    done = run_here("comet", "publish", "--control", url_of(comet_serve), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
