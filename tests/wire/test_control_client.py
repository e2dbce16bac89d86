"""wire.control_client: what it asks for, what it makes of any answer, and when it gives up waiting."""

import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from floodtest.flyweight.errors import ExitCode, Refused
from floodtest.wire.control import Published
from floodtest.wire.control_client import (
    ANSWER_SECONDS,
    MAX_ANSWER,
    MAX_DELIVERIES,
    MAX_SHOWN,
    BadStatus,
    ControlClient,
    ControlError,
    NoAnswer,
    NotComet,
)
from tests.rigs.figures import stats
from tests.rigs.support import scripted_server

URL = "http://server:8001"

Answer = httpx.Response | Exception
Call = Callable[[ControlClient], Awaitable[Any]]


async def get_stats(client: ControlClient) -> Any:
    return await client.stats()


async def end_ticks(client: ControlClient) -> Any:
    return await client.set_tick(None)


async def publish_two(client: ControlClient) -> Any:
    return await client.publish(b"line\nline\n", 2)


def call(what: Call, answer: Answer, token: str | None = None) -> tuple[Any, list[httpx.Request]]:
    """Make one call that is answered so; return what it returned, and the requests that were made."""
    requests = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> Any:
        async with ControlClient(URL, token, transport=httpx.MockTransport(handle)) as client:
            return await what(client)

    return trio.run(main, clock=MockClock(autojump_threshold=0)), requests


def answering(body: object) -> httpx.Response:
    return httpx.Response(200, content=body if isinstance(body, bytes) else msgspec.json.encode(body))


# -- what is asked, and told -----------------------------------------------------------------------------------------


def test_figures_are_asked_for_and_read() -> None:
    told, (request,) = call(get_stats, answering(stats(messages=7)))
    assert told == stats(messages=7)
    assert (request.method, str(request.url), request.content) == ("GET", f"{URL}/stats", b"")
    assert "authorization" not in request.headers


def test_what_a_newer_server_adds_is_passed_over() -> None:
    newer = {**json.loads(msgspec.json.encode(stats())), "weather": {"rain": 1}}
    assert call(get_stats, answering(newer))[0] == stats()


@pytest.mark.parametrize(("seconds", "body"), [(2.5, b'{"seconds":2.5}'), (None, b'{"seconds":null}')])
def test_a_tick_is_ordered(seconds: float | None, body: bytes) -> None:
    _, (request,) = call(lambda client: client.set_tick(seconds), answering(body))
    assert (request.method, request.url.path, request.content) == ("PUT", "/tick", body)


def test_a_batch_is_published_as_it_is() -> None:
    told, (request,) = call(publish_two, answering({"messages": 2, "deliveries": 31}), token="se cret")
    assert told == Published(2, 31)
    assert (request.method, request.url.path, request.content) == ("POST", "/publish", b"line\nline\n")
    assert request.headers["authorization"] == "Bearer se cret"


# -- what is no answer -----------------------------------------------------------------------------------------------


def failure(what: Call, answer: Answer) -> ControlError:
    with pytest.raises(ControlError) as raised:
        call(what, answer)
    assert raised.value.exit_code == ExitCode.REFUSED
    return raised.value


@pytest.mark.parametrize(
    ("error", "reason", "brief"),
    [
        (httpx.ConnectError("All connection attempts failed"), "All connection attempts failed", "ConnectError"),
        (httpx.RemoteProtocolError("gone"), "gone", "RemoteProtocolError"),
        (httpx.ReadError(""), "ReadError", "ReadError"),
        (httpx.UnsupportedProtocol("ftp"), "ftp", "UnsupportedProtocol"),
        (httpx.InvalidURL("of a redirect"), "of a redirect", "InvalidURL"),
        (UnicodeError("no such label"), "no such label", "UnicodeError"),
    ],
)
@pytest.mark.parametrize("what", [get_stats, end_ticks, publish_two])
def test_a_server_that_does_not_answer(what: Call, error: Exception, reason: str, brief: str) -> None:
    found = failure(what, error)
    assert isinstance(found, NoAnswer)
    assert str(found) == f"No comet serve answers at {URL} ({reason}). Start one, or name its --control URL."
    assert found.brief == f"the server does not answer ({brief})"


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (400, "Line 3: no.\n", "answered 400: Line 3: no."),
        (401, "This call needs the token\n", "answered 401: This call needs the token"),
        (302, "elsewhere", "answered 302: elsewhere"),
        (503, "", "answered 503: "),
        (500, "x" * 10_000, "answered 500: " + "x" * MAX_SHOWN),
    ],
)
@pytest.mark.parametrize("what", [get_stats, end_ticks, publish_two])
def test_a_server_that_declines(what: Call, status: int, text: str, said: str) -> None:
    found = failure(what, httpx.Response(status, text=text))
    assert isinstance(found, BadStatus)
    assert (str(found), found.brief) == (f"The server at {URL} {said}", f"the server {said}")
    assert found.status == status


NO_ANSWERS = (b"", b"<html>", b"{}", b"[]", b"\xff", b'{"\xff":1}', b'{"x":' + b"[" * 10_000)


@pytest.mark.parametrize("body", NO_ANSWERS, ids=lambda body: f"{body[:8]!r}")
@pytest.mark.parametrize("what", [get_stats, end_ticks, publish_two])
def test_what_is_no_comet_serve(what: Call, body: bytes) -> None:
    found = failure(what, answering(body))
    assert isinstance(found, NotComet)
    assert re.fullmatch(rf"What answers at {URL} is no comet serve \(.+\)\. Name its --control URL\.", str(found))
    assert found.brief.startswith("what answers is no comet serve (")


def test_a_figure_of_another_type_is_named() -> None:
    wrong = {**json.loads(msgspec.json.encode(stats())), "routed": "many"}
    assert "got `str` - at `$.routed`" in str(failure(get_stats, answering(wrong)))


def test_an_answer_past_the_bound_is_none_whatever_it_begins_with() -> None:
    body = msgspec.json.encode(stats())
    padded = body + b" " * (MAX_ANSWER - len(body))
    assert call(get_stats, answering(padded))[0] == stats()
    assert f"over {MAX_ANSWER:,} bytes" in str(failure(get_stats, answering(padded + b" ")))


@pytest.mark.parametrize(
    ("messages", "deliveries", "words"),
    [
        (1_000_000, 1, "an answer for 1,000,000 messages, where 2 were sent"),
        (2, -1, "-1 deliveries"),
        (2, 2 * MAX_DELIVERIES + 1, "8,589,934,593 deliveries"),
    ],
)
def test_an_answer_that_cannot_be(messages: int, deliveries: int, words: str) -> None:
    assert words in failure(publish_two, answering({"messages": messages, "deliveries": deliveries})).brief


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match=re.escape("--control http://127.0.0.1:port is no URL")):
        ControlClient("http://127.0.0.1:port", None)


# -- time and connections --------------------------------------------------------------------------------------------


class Trickle(httpx.AsyncByteStream):
    """A byte a second, for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(1)
            yield b" "


@pytest.mark.parametrize("seconds", [5.0, ANSWER_SECONDS])
def test_an_answer_has_so_many_seconds_in_all_however_it_trickles(seconds: float) -> None:
    async def main() -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Trickle()))
        async with ControlClient(URL, None, seconds, transport) as client:
            with pytest.raises(NoAnswer, match=f"nothing within {seconds:g} s"):
                await client.stats()
        assert trio.current_time() == pytest.approx(seconds, abs=0.5)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_one_connection_serves_call_after_call_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = []
    answers = [b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n?"]

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        for answer in (*answers, *answers):
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(1 << 16)
            connection.sendall(answer)

    async def main(url: str) -> list[str]:
        errors = []
        async with ControlClient(url, None) as client:
            for _ in range(4):
                with pytest.raises(ControlError) as raised:
                    await client.stats()
                errors.append(type(raised.value).__name__)
        return errors

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with scripted_server(serve) as target:
        errors = trio.run(main, target.removesuffix("/test/{user}"))
    assert errors == ["BadStatus", "NotComet"] * 2
    assert len(connections) == 1
