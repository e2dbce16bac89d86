"""Connections of the control API: a request gets an answer in whatever form it comes, and what is none gets one too."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.rigs.api import MOST, ApiClient, ApiRig, get, now, play, post, stall, told


def test_requests_are_answered_one_after_the_other() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(
            post("/take", 3) + b"abc" + get("/give?size=2") + post("/take", None), b"3\r\nabc\r\n0\r\n\r\n"
        )
        assert [(await client.answer())[2] for _ in range(3)] == ["taken", "xx", "taken"]
        await client.stream.send_eof()
        assert await client.rest() == b""

    play(scene)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_is_the_last_says_so(version: str) -> None:
    async def scene(rig: ApiRig) -> None:
        close = "Connection: close\r\n" if version == "1.1" else ""
        client = rig.connect()
        await client.send(f"GET /give?size=3 HTTP/{version}\r\nHost: localhost\r\n{close}\r\n".encode())
        assert await told(client) == (200, "xxx")

    play(scene)


def test_every_answer_is_dated_and_neither_guessed_at_nor_stored() -> None:
    async def scene(rig: ApiRig) -> None:
        for request in (get("/give?size=3"), get("/nowhere"), b"nonsense\r\n\r\n"):
            client = rig.connect()
            await client.send(request)
            _, headers, _ = await client.answer()
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["date"].endswith("GMT")

    play(scene)


def test_the_answer_to_head_has_no_body() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get("/give?size=7").replace(b"GET", b"HEAD"), get("/give?size=2"))
        status, headers, text = await client.answer("HEAD")
        assert (status, headers["content-length"], text) == (200, "7", "")
        assert (await client.answer())[2] == "xx"

    play(scene)


def test_who_asks_before_sending_a_body_is_told_to_go_on_if_it_is_wanted() -> None:
    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, post("/take", 3, "Expect: 100-continue\r\n"))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.send(b"abc")
        assert (await client.answer())[2] == "taken"
        await client.send(post("/take", MOST + 1, "Expect: 100-continue\r\n"))
        assert (await told(client))[0] == 413  # and not told to go on

    play(scene)


def test_an_answer_before_the_end_of_a_body_is_read_though_the_body_goes_on() -> None:
    async def pour(client: ApiClient) -> None:
        try:
            while True:
                await client.send(b"x" * 1000)
                await trio.sleep(0.1)
        except trio.BrokenResourceError:
            return

    async def scene(rig: ApiRig) -> None:
        unframed = post("/take", None) + b"nonsense\r\n"
        for request, status in ((post("/nowhere", 10**6), 404), (post("/take", MOST + 1), 413), (unframed, 400)):
            client, began = rig.connect(), now()
            await client.send(request)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(pour, client)
                assert ((await client.answer())[0], now()) == (status, began)
                assert (await client.rest(), now()) == (b"", began)
            assert now() == pytest.approx(began + 2, abs=0.2)

    play(scene)


def test_a_small_body_that_nobody_wants_does_not_end_the_connection() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(post("/nowhere", 3) + b"abc", get("/give?size=1"))
        assert [(await client.answer())[0] for _ in range(2)] == [404, 200]

    play(scene)


def test_a_fault_of_ours_is_told_and_the_next_call_served(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get("/fail") * 2, get("/give?size=1"))
        assert [(await client.answer())[0] for _ in range(3)] == [500, 500, 200]

    play(scene)
    assert capfd.readouterr().err.count("\nZeroDivisionError") == 2


def test_an_application_that_does_not_answer_is_a_fault_of_ours() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """Return without an answer."""

    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get("/"))
        assert await told(client) == (
            500,
            "A fault of the server's, of which its stderr may say more. Please report it.\n",
        )

    play(scene, application=silent)


def test_a_body_of_very_small_chunks_holds_up_nobody() -> None:
    async def scene(rig: ApiRig) -> None:
        order: list[str] = []

        async def ask(name: str, client: ApiClient) -> None:
            await client.answer()
            order.append(name)

        slow, quick = rig.connect(), rig.connect()
        await slow.send(post("/take", None) + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")
        await quick.send(get("/give?size=1"))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ask, "slow", slow)
            tasks.start_soon(ask, "quick", quick)
        assert (order, rig.taken) == (["quick", "slow"], [5000])

    play(scene)


NO_REQUESTS = [
    (b"\0\1\2\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    (b"POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n", 413),
    (b"POST /take HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (post("/take", 3, "Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n" + get("/give?size=1"), 400),
    (post("/take", None, "Content-Length: 3\r\n") + b"3\r\nabc\r\n0\r\n\r\n", 400),
    (post("/take", None).replace(b"/1.1", b"/1.0") + b"3\r\nabc\r\n0\r\n\r\n", 400),
    (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
    (b"GET / HTTP/2.0\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET /" + b"x" * 20_000, 431),
    (post("/take", None) + b"nonsense\r\n", 400),
    (post("/take", None) + b"f" * 21 + b"\r\n", 400),
]


@pytest.mark.parametrize(("data", "status"), NO_REQUESTS, ids=lambda value: repr(value)[:60])
def test_what_is_no_request_is_answered_and_closed(data: bytes, status: int) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(data)
        answered, text = await told(client)
        assert (answered, len(text.splitlines()), rig.taken) == (status, 1, [])
        assert rig.figures()["rejected"] == {str(status): 1}

    play(scene)


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_later_versions_of_http_1_are_served(version: str) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(f"GET /give?size=1 HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        assert (await client.answer())[2] == "x"

    play(scene)


@pytest.mark.parametrize("target", ["http://localhost/give?size=1", "HTTP://[::1]:8001/give?size=1"])
def test_a_target_in_absolute_form_is_served(target: str) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get(target) * 2)
        assert [(await client.answer())[2] for _ in range(2)] == ["x", "x"]

    play(scene)


@pytest.mark.parametrize(
    ("target", "host"),
    [("http://elsewhere:80/", b"elsewhere:80"), ("http://u@localhost/", b"u@localhost"), ("http:///x", b"localhost")],
)
def test_the_host_of_an_absolute_form_counts_instead_of_the_header(target: str, host: bytes) -> None:
    seen: list[list[bytes]] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append([value for name, value in scope["headers"] if name == b"host"])
        await Response()(scope, receive, send)

    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get(target))
        assert (await client.answer())[0] == 200

    play(scene, application=note)
    assert seen == [[host]]


UPGRADES = [
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVzdA==\r\n",
]


@pytest.mark.parametrize("headers", UPGRADES)
def test_no_other_protocol_is_switched_to(headers: str) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(get("/give?size=1", headers), get("/give?size=2"))
        assert [(await client.answer())[::2] for _ in range(2)] == [(200, "x"), (200, "xx")]

    play(scene)


@pytest.mark.parametrize(
    "request_", [get("/give?size=2"), post("/take", 3) + b"abc", post("/take", None) + b"0\r\n\r\n"]
)
def test_a_request_in_pieces_is_like_one_in_one(request_: bytes) -> None:
    async def scene(rig: ApiRig) -> None:
        for cut in range(1, len(request_)):
            client = await stall(rig, request_[:cut])
            await client.send(request_[cut:])
            assert (await client.answer())[0] == 200
        client = rig.connect()
        await client.send(*(request_[index : index + 1] for index in range(len(request_))))
        assert (await client.answer())[0] == 200

    play(scene)


VALID = [
    get("/give?size=3"),
    post("/take", 3) + b"abc",
    post("/take", None) + b"3\r\nabc\r\n0\r\n\r\n",
    get("/nowhere"),
]
WORDS = [
    b"\r\n",
    b"\n",
    b" ",
    b":",
    b"\0",
    b"\xff",
    b"9" * 30,
    b"-1",
    b"Content-Length: 5\r\n",
    b"HTTP/1.0",
    b"CONNECT",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return requests, some of whose bytes are cut out, doubled, or replaced by words that mean something."""
    data = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        first, last = sorted(draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
        data = data[:first] + draw(st.sampled_from([*WORDS, b"", data[first:last] * 2])) + data[last:]
    return data


@given(data=mutated() | st.binary(max_size=300), size=st.sampled_from([1, 7, 1000]), ends=st.booleans())
@settings(max_examples=200)
def test_whatever_comes_is_answered_or_closed_and_leaves_nothing(data: bytes, size: int, ends: bool) -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(*(data[first : first + size] for first in range(0, len(data), size)))  # while it lingers, too
        if ends:
            await client.stream.send_eof()
        answers = await client.rest()
        assert answers == b"" or answers.startswith(b"HTTP/1.1 ")
        assert rig.figures()["rejected"].get("500") is None
        other = await stall(rig, get("/give?size=1"))
        assert (await other.answer())[2] == "x"

    play(scene)
