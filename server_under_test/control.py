"""The control API of `comet serve`: health, figures, the ticker, messages. Starlette on a server of our own.

It tells process ids and lets anyone who reaches it send messages, so it is bound to loopback unless there is a token,
which then every call has to bring; and web pages, which a browser lets reach loopback, are refused in either case.
"""

import hmac
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flyweight.limits import read_memory
from flyweight.memory import ProcessMeter
from server_under_test import messages_api
from server_under_test.api_server import ApiServer
from server_under_test.bodies import MALFORMED, read_body
from server_under_test.same_origin import for_programs_only

if TYPE_CHECKING:
    from server_under_test.server import Server

MAX_TICK_ORDER = 4096
"""Bytes."""


COUNTS = ("open", "logins", "bytes", "dropped", "slow", "excess", "silent", "deliveries", "undeliverable")


class TickOrder(msgspec.Struct, frozen=True):
    """The body of PUT /tick."""

    seconds: float | None


def stats(server: "Server", api: ApiServer, meter: ProcessMeter) -> dict[str, Any]:
    """Return the figures of GET /stats (documented in docs/comet.md)."""
    rejected = server.ledger.total("rejected")
    meter.read(server.pids)
    memory = read_memory()
    counts = {name: int(server.ledger.total(name)) for name in COUNTS}
    return {
        "model": server.options.model,
        "connections": counts.pop("open"),
        **counts,
        "accept_errors": int(server.ledger.total("accept_errors")),
        "rejected": {str(code): int(rejected[code]) for code in np.flatnonzero(rejected).tolist()},
        "control": api.figures(),
        "pids": {"parent": server.pids[0], "nursery": server.pids[1], "fronts": server.pids[2:]},
        "fronts": server.front_statuses,
        "fronts_given_up": server.router.fronts_given_up,
        "fronts_left_out": server.fronts_left_out,
        "memory": {"private": meter.private, "available": memory.available, "total": memory.total},
        "tick_seconds": server.tick_seconds,
        "ticking": server.ticking,
        "ticks_skipped": server.ticks_skipped,
        "messages": server.router.messages,
        "routed": server.router.deliveries,
        "subscriptions": None
        if server.store is None
        else dict(zip(("subjects", "pairs"), server.store.counts(), strict=True)),
        "ticks": [
            {"number": number, "planned": server.ticks_planned.get(number), "sent": sent, "first": first, "last": last}
            for number, (sent, first, last) in server.ledger.ticks().items()
        ],
    }


def with_token(application: ASGIApp, token: str) -> ASGIApp:
    """Let only those calls through that bring the token as `Authorization: Bearer ...`, the scheme in any case.

    Source: RFC 9110, section 11.1 (the scheme) and 11.4 (a space or more behind it).
    """
    expected = token.encode()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, given = dict(scope.get("headers", ())).get(b"authorization", b"").partition(b" ")
        is_right = scheme.lower() == b"bearer" and hmac.compare_digest(given.lstrip(b" "), expected)
        if scope["type"] == "http" and not is_right:
            answer = PlainTextResponse(
                "This call needs the token: Authorization: Bearer ...\n",
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": "Bearer"},
            )
            await answer(scope, receive, send)
        else:
            await application(scope, receive, send)

    return guard


def application(server: "Server", api: ApiServer) -> ASGIApp:
    """Return the control API of a server as an ASGI application, which `api` serves."""
    meter = ProcessMeter()

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def get_stats(request: Request) -> Response:
        return JSONResponse(stats(server, api, meter))

    async def put_tick(request: Request) -> Response:
        try:
            order = msgspec.json.decode(await read_body(request, MAX_TICK_ORDER), type=TickOrder)
        except MALFORMED as error:
            return PlainTextResponse(
                f'Send {{"seconds": 2.5}} or {{"seconds": null}}: {error}\n', HTTPStatus.BAD_REQUEST
            )
        if order.seconds is not None and not 0.001 <= order.seconds <= 86400:
            return PlainTextResponse("seconds must be from 0.001 to 86400.\n", HTTPStatus.BAD_REQUEST)
        server.set_tick(order.seconds)
        return JSONResponse({"seconds": order.seconds})

    starlette = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/stats", get_stats),
            Route("/tick", put_tick, methods=["PUT"]),
            *messages_api.routes(server.router, server.store),
        ],
        exception_handlers={HTTPException: _explain},
    )
    starlette.router.redirect_slashes = False  # a path with a slash more is another path
    token = server.options.token
    return for_programs_only(starlette if token is None else with_token(starlette, token), any_host=token is not None)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def serve(server: "Server", sock: socket.socket) -> None:
    """Serve the control API on a listening socket until cancelled."""
    api = ApiServer()
    await api.serve(application(server, api), trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
