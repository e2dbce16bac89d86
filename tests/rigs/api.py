"""The server of the control API on streams in memory and a virtual clock: no network, nothing is left to time."""

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from floodtest.server_under_test.control.bodies import read_body
from floodtest.server_under_test.control.occupancy import Occupancy
from floodtest.server_under_test.control.server import ApiServer

MOST = 1 << 20
"""Bytes of a body that the example takes."""


class Door(trio.abc.Listener[trio.SocketStream]):
    """A listener whose connections a test makes, or an error that accepting ends with."""

    def __init__(self) -> None:
        self.comes, self._next = trio.open_memory_channel[Any](math.inf)

    async def accept(self) -> trio.SocketStream:
        stream = await self._next.receive()
        if isinstance(stream, OSError):
            raise stream
        accepted: trio.SocketStream = stream
        return accepted

    async def aclose(self) -> None:
        """Nothing is to be closed."""


class ApiClient:
    """The other end of a connection to the control API."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self._unread = b""

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            await self.stream.send_all(part)

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of the next answer, and when it has come."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
        if self._unread:
            http.receive_data(self._unread)
        head, body = None, b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert head is not None
        self._unread = http.trailing_data[0]
        return head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body.decode()

    async def rest(self) -> bytes:
        """Return what comes until the server closes."""
        data, self._unread = self._unread, b""
        try:
            while more := await self.stream.receive_some():
                data += more
        except trio.BrokenResourceError:
            pass
        return data


class ApiRig:
    """A server of the control API; its application, unless a scene brings one, takes bodies and works till told."""

    def __init__(self, tasks: trio.Nursery, connections: int, size: int, application: ASGIApp | None) -> None:
        self.server = ApiServer(Occupancy(connections, size))
        self.door = Door()
        self.may_answer = trio.Event()
        self.taken: list[int] = []
        """Sizes of the bodies that were taken whole."""
        tasks.start_soon(self.server.serve, application or self._application(), self.door)

    def connect(self, reads: bool = True) -> ApiClient:
        """Connect a client; of one that does not read, the server feels that it does not."""
        ours, theirs = memory_stream_pair() if reads else lockstep_stream_pair()
        self.door.comes.send_nowait(theirs)
        return ApiClient(ours)

    def figures(self) -> dict[str, Any]:
        """As GET /stats has them."""
        figures: dict[str, Any] = msgspec.to_builtins(self.server.figures(), str_keys=True)
        return figures

    def _application(self) -> ASGIApp:
        async def take(request: Request) -> Response:
            self.taken.append(len(await read_body(request, MOST)))
            return PlainTextResponse("taken")

        async def work(request: Request) -> Response:
            self.taken.append(len(await read_body(request, MOST)))
            await self.may_answer.wait()
            return PlainTextResponse("done")

        async def give(request: Request) -> Response:
            size = request.query_params.get("size", "")
            return PlainTextResponse("x" * (int(size) if re.fullmatch("[0-9]{1,7}", size) else 0))

        async def fail(request: Request) -> Response:
            raise ZeroDivisionError

        routes = [Route(f"/{call.__name__}", call, methods=["GET", "POST"]) for call in (take, work, give, fail)]
        return Starlette(routes=routes)


def get(target: str, more: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


def post(target: str, size: int | None, more: str = "") -> bytes:
    """Return the head of a request with a body of so many bytes, or of chunks."""
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n{more}\r\n".encode()


def play(
    scene: Callable[[ApiRig], Awaitable[None]],
    connections: int = 1024,
    size: int = 1 << 26,
    application: ASGIApp | None = None,
) -> None:
    """Let a scene play with a server, by a clock that jumps when all wait for it; nothing may be left of it."""

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            rig = ApiRig(tasks, connections, size, application)
            await scene(rig)
            tasks.cancel_scope.cancel()
        figures = rig.figures()
        assert (figures["connections"], figures["bytes"]) == (0, 0)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def stall(rig: ApiRig, *sent: bytes) -> ApiClient:
    """Connect a client that sends this and no more, and see it wait."""
    client = rig.connect()
    await client.send(*sent)
    await wait_all_tasks_blocked()
    return client


async def told(client: ApiClient, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Return status and text of the last answer, after which the server closes."""
    status, got, text = await client.answer()
    assert got["connection"] == "close"
    assert await client.rest() == b""
    assert (headers or {}).items() <= got.items()
    return status, text


def now() -> float:
    """Return the seconds since the scene began."""
    return round(trio.current_time(), 3)  # a MockClock begins at 0
