"""One connection of the control API: HTTP/1.1 by h11, each request a call of an ASGI application.

In: a stream of bytes, and an application. Out: its answers, or one of our own where there is nothing to call it for.
Every wait for the client is bounded, and so is what is read before somebody takes it. A client that is too late, or has
to make room for others (see `server_under_test.control.occupancy`), gets an answer that says so, if none has begun. An
answer that comes before the end of a body is the last one; what the client then still sends is read and dropped for a
while, since closing a socket with unread bytes would reset the answer away.

Why this is not left to hypercorn, the ASGI server for trio: it switches to HTTP/2 or a WebSocket for whoever asks and
has no option against it, and a malformed header of such a request ends it with an exception, and `comet serve` with it.
It bounds neither the number of connections nor writes, and cannot be ended while a client does not read its answers.

Fails: an application that raises is a fault of ours. The call gets 500, stderr the traceback, and the server goes on.
"""

import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote

import h11
import trio
from starlette.types import ASGIApp, Message, Scope

from floodtest.server_under_test.control.occupancy import Occupancy
from floodtest.server_under_test.limits import API_IDLE_SECONDS, API_SECONDS, LINGER
from floodtest.wire.answers import FOR_BROWSERS
from floodtest.wire.http import origin_form, why_misframed

T = TypeVar("T")

PIECE = 1 << 16
"""Bytes of a read, and of a write that the client has `API_SECONDS` to take."""

PARTING_SECONDS = 0.1
"""For the last words to a client that is given up: enough for the kernel to take them, if it has room for them."""


class Refusal(NamedTuple):
    """An answer of ours."""

    status: HTTPStatus
    text: str


NO_REQUEST = "This is no HTTP/1.1 request."
OTHER_VERSION = Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "The control API speaks HTTP/1.1 only.")
LATE_HEAD = Refusal(HTTPStatus.REQUEST_TIMEOUT, f"No whole request head within {API_SECONDS:g} seconds.")
LATE_BODY = Refusal(HTTPStatus.REQUEST_TIMEOUT, f"The body has not come in {API_SECONDS:g} seconds. Send it anew.")
BROKEN_BODY = Refusal(HTTPStatus.BAD_REQUEST, "The body ends early, or is not framed as its head says. Send it anew.")
CROWDED = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "There is no room for a request that comes slowly. Send it anew, in one piece."
)
FAULT = Refusal(
    HTTPStatus.INTERNAL_SERVER_ERROR, "A fault of the server's, of which its stderr may say more. Please report it."
)


class ApiConnection:
    """A connection of the control API, and one of its `server_under_test.control.occupancy.Occupant`s."""

    def __init__(
        self, application: ASGIApp, occupancy: Occupancy, rejected: Counter[int], stream: trio.abc.HalfCloseableStream
    ) -> None:
        self.held = 0
        self.waited = 0.0
        self.gone = trio.Event()
        self._application = application
        self._occupancy = occupancy
        self._rejected = rejected
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._scope = trio.CancelScope()
        self._last_words: Refusal | None = None  # for a client that is given up in the wait under way
        self._patience = 0.0
        self._head_only = False
        self._start: Message = {}

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve requests until the client goes, is too late, or has to make room; started when there is room for it."""
        try:
            async with self._stream:
                await self._occupancy.enter(self)
                task_status.started()
                with self._scope:
                    while await self._serve_request():
                        pass
                if self._last_words is not None or not self._scope.cancelled_caught:
                    self._scope = trio.CancelScope()
                    with self._scope:
                        await self._part()
        finally:
            self._occupancy.leave(self)

    async def _part(self) -> None:
        """Say the last words, if there are any, and let the client read what it was sent, unless others wait for it."""
        words, self._last_words = self._last_words, None
        if words is not None and self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._wait(PARTING_SECONDS, None, self._stream.send_all(self._refusal(words)))
        if words is not CROWDED:
            await self._wait(LINGER, None, self._linger())

    def give_up(self) -> None:
        """End the wait under way, and with it the connection, to make room."""
        if self._last_words is not None:
            self._last_words = CROWDED
        self._scope.cancel()

    # From the first byte of a request to the last one of its answer.

    async def _serve_request(self) -> bool:
        """Answer the next request; return whether there may be another one."""
        try:
            request = await self._next_request()
        except h11.RemoteProtocolError as error:
            await self._write(self._refusal(Refusal(HTTPStatus(error.error_status_hint), NO_REQUEST)))
            return False
        if request is None:
            return False
        if not request.http_version.startswith(b"1."):
            await self._write(self._refusal(OTHER_VERSION))
        elif misframed := why_misframed(request):
            text = f"{NO_REQUEST.removesuffix('.')}: {misframed}."
            await self._write(self._refusal(Refusal(HTTPStatus.BAD_REQUEST, text)))
            return False
        else:
            await self._call_application(request)
        self._occupancy.release(self)
        if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
            return False
        self._http.start_next_cycle()
        return True

    async def _next_request(self) -> h11.Request | None:
        """Return the next request once its head is whole; None when the client closes instead."""
        patience, last_words, self.waited = API_IDLE_SECONDS, None, 0.0
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if last_words is None and self._http.trailing_data[0]:
                patience, last_words = API_SECONDS, LATE_HEAD
            patience -= await self._read(patience, last_words)
            if last_words is None:
                self.waited = 0.0  # for a request, which begins now
        return event if isinstance(event, h11.Request) else None

    async def _call_application(self, request: h11.Request) -> None:
        authority, target = origin_form(request.target.decode())
        path, _, query = target.partition("?")
        headers = list(request.headers)
        if authority is not None:
            headers = [(name, value) for name, value in headers if name != b"host"]
            headers.append((b"host", authority.encode()))
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
        }
        self._head_only = request.method == b"HEAD"
        self._patience = API_SECONDS
        try:
            await self._application(scope, self._receive, self._send)
        except Exception:  # whatever it is, it is one call's, and no reason to end the streams
            traceback.print_exc(file=sys.stderr)
        if self._http.our_state is h11.SEND_RESPONSE:
            await self._write(self._refusal(FAULT))

    async def _receive(self) -> Message:
        """Return the next part of the body, which then counts as held (ASGI's `receive`)."""
        if self._http.their_state is not h11.SEND_BODY:
            return {"type": "http.disconnect"}
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._patience -= await self._read(self._patience, LATE_BODY)
        except h11.RemoteProtocolError:
            await self._end(BROKEN_BODY)
        await trio.lowlevel.checkpoint()  # one read may be of ten thousand chunks
        if not isinstance(event, h11.Data):
            return {"type": "http.request", "body": b"", "more_body": False}
        self._last_words = CROWDED
        await self._occupancy.hold(self, len(event.data))
        return {"type": "http.request", "body": bytes(event.data), "more_body": True}

    async def _send(self, message: Message) -> None:
        """Write a part of the answer (ASGI's `send`)."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        data = b""
        if self._http.our_state is h11.SEND_RESPONSE:
            data = self._answer_head(self._start["status"], self._start["headers"], self._request_is_over())
        body = message.get("body", b"")
        if body and not self._head_only:
            data += self._http.send(h11.Data(body)) or b""
        if not message.get("more_body", False):
            data += self._http.send(h11.EndOfMessage()) or b""
        await self._write(data)

    def _refusal(self, refusal: Refusal) -> bytes:
        """Encode a whole answer of ours, which is the last one."""
        body = f"{refusal.text}\n".encode()
        headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Content-Length", b"%d" % len(body))]
        if refusal is CROWDED:
            headers.append((b"Retry-After", b"1"))
        head = self._answer_head(refusal.status, headers, may_go_on=False)
        body = b"" if self._head_only else body
        return head + (self._http.send(h11.Data(body)) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def _answer_head(self, status: int, headers: Iterable[tuple[bytes, bytes]], may_go_on: bool) -> bytes:
        """Encode the head of an answer, after which there may be another request or not."""
        if status >= HTTPStatus.BAD_REQUEST:
            self._rejected[status] += 1
        ours = [(b"Date", formatdate(usegmt=True).encode()), *FOR_BROWSERS]
        if not may_go_on:
            ours.append((b"Connection", b"close"))
        head = h11.Response(status_code=status, headers=[*headers, *ours], reason=HTTPStatus(status).phrase)
        return self._http.send(head) or b""

    def _request_is_over(self) -> bool:
        """Whether the whole request has come; of its body, what has come and was not asked for is dropped."""
        with suppress(h11.RemoteProtocolError):
            while self._http.their_state is h11.SEND_BODY:
                if self._http.next_event() is h11.NEED_DATA:
                    return False
        return self._http.their_state is not h11.ERROR

    # Waits for the client.

    async def _read(self, patience: float, last_words: Refusal | None) -> float:
        """Read once; return the seconds it took."""
        began = trio.current_time()
        data = await self._wait(patience, last_words, self._stream.receive_some(PIECE))
        self._http.receive_data(bytes(data))
        return trio.current_time() - began

    async def _write(self, data: bytes | None) -> None:
        view = memoryview(data or b"")
        await self._occupancy.hold_anyway(self, len(view))
        for first in range(0, len(view), PIECE):
            await self._wait(API_SECONDS, None, self._stream.send_all(view[first : first + PIECE]))

    async def _linger(self) -> None:
        """Say that there is no more to read, and drop what comes until the client has closed."""
        await self._stream.send_eof()
        while await self._stream.receive_some(PIECE):
            pass

    async def _wait(self, seconds: float, last_words: Refusal | None, for_client: Awaitable[T]) -> T:
        """Await something of the client's for so many seconds; past them, or when others need the room, all ends."""
        self._last_words = last_words
        self._scope.deadline = trio.current_time() + seconds
        with self._occupancy.waiting(self):
            try:
                result = await for_client
            except trio.BrokenResourceError:
                await self._end(None)
        self._scope.deadline = float("inf")
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have been given up in the moment in which that came
        return result

    async def _end(self, last_words: Refusal | None) -> NoReturn:
        """Leave whatever is under way, the application's call included."""
        self._last_words = last_words
        self._scope.cancel()
        await trio.sleep_forever()
