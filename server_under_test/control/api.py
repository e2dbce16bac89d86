"""The control API of `comet serve`: health, figures, the ticker, messages. Starlette on a server of our own.

It tells process ids and lets anyone who reaches it send messages, so it is bound to loopback unless there is a token,
which then every call has to bring; and web pages, which a browser lets reach loopback, are refused in either case.
"""

import hmac
import socket
from http import HTTPStatus
from typing import Protocol

import msgspec
import numpy as np
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import read_memory
from floodtest.flyweight.machine.processes import ProcessMeter
from floodtest.server_under_test.control import messages as messages_api
from floodtest.server_under_test.control.bodies import json_answer, read_body
from floodtest.server_under_test.control.same_origin import for_programs_only
from floodtest.server_under_test.control.server import ApiServer
from floodtest.server_under_test.fronts.accounts import FIRST_STATUS, TLS_CAUSES
from floodtest.server_under_test.fronts.ticker import Ticker
from floodtest.server_under_test.models import MODELS
from floodtest.server_under_test.routing.history import History
from floodtest.server_under_test.routing.replays import Replays
from floodtest.server_under_test.routing.router import Publisher
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.control import (
    HEALTH_PATH,
    LEAST_TICK_SECONDS,
    MALFORMED,
    MAX_TICK_BYTES,
    MOST_TICK_SECONDS,
    STATS_PATH,
    TICK_PATH,
    KeptHistory,
    MachineFigures,
    SentTick,
    ServerMemory,
    ServerPids,
    Stats,
    StoreSize,
    TickPeriod,
    TlsFigures,
)
from floodtest.wire.tls.counts import CIPHERS, OTHER


class Controlled(Protocol):
    """What is controlled: a router, its fronts' figures, and its ticker, wherever the fronts are."""

    @property
    def token(self) -> str | None:
        """What every call has to bring."""

    @property
    def model(self) -> str:
        """How connections are held."""

    @property
    def ledger(self) -> Ledger:
        """What all fronts have counted."""

    @property
    def store(self) -> Store | None: ...

    @property
    def publisher(self) -> Publisher: ...

    @property
    def ticker(self) -> Ticker: ...

    @property
    def history(self) -> History | None: ...

    @property
    def replays(self) -> Replays | None: ...

    @property
    def has_tls(self) -> bool: ...

    @property
    def pids(self) -> ServerPids: ...

    @property
    def private_elsewhere(self) -> int:
        """Bytes of private memory of what is none of `pids`."""

    @property
    def front_statuses(self) -> list[int | None]: ...

    @property
    def fronts_begun(self) -> int: ...

    @property
    def fronts_given_up(self) -> int: ...

    @property
    def fronts_left_out(self) -> int: ...

    @property
    def machines(self) -> list[MachineFigures] | None:
        """The front machines, None where all fronts are on this one."""

    async def bring_up_to_date(self) -> None:
        """Have the figures be those of now."""


def stats(server: Controlled, api: ApiServer, meter: ProcessMeter) -> Stats:
    """Return the figures of GET /stats."""
    ledger, publisher, pids = server.ledger, server.publisher, server.pids
    rejected, violations = ledger.total("rejected"), ledger.total("violations")
    meter.read(pids.all)
    memory = read_memory()
    return Stats(
        model=server.model,
        connections=int(ledger.total("open")),
        logins=int(ledger.total("logins")),
        bytes=int(ledger.total("bytes")),
        dropped=int(ledger.total("dropped")),
        slow=int(ledger.total("slow")),
        excess=int(ledger.total("excess")),
        silent=int(ledger.total("silent")),
        deliveries=int(ledger.total("deliveries")),
        undeliverable=int(ledger.total("undeliverable")),
        accept_errors=int(ledger.total("accept_errors")),
        rejected={code: int(rejected[code]) for code in np.flatnonzero(rejected).tolist()},
        violations={FIRST_STATUS + at: int(violations[at]) for at in np.flatnonzero(violations).tolist()},
        unanswered=int(ledger.total("unanswered")),
        tls=_tls(server),
        control=api.figures(),
        pids=pids,
        fronts=server.front_statuses,
        fronts_begun=server.fronts_begun,
        fronts_given_up=server.fronts_given_up,
        fronts_left_out=server.fronts_left_out,
        memory=ServerMemory(meter.private + server.private_elsewhere, memory.available, memory.total),
        tick_seconds=server.ticker.seconds,
        ticking=server.ticker.ticking,
        ticks_skipped=server.ticker.skipped,
        messages=publisher.messages,
        routed=publisher.deliveries,
        subscriptions=None if server.store is None else StoreSize(*server.store.counts()),
        history=_history(server),
        ticks=_ticks(server),
        machines=server.machines,
    )


def _tls(server: Controlled) -> TlsFigures | None:
    """Return what has come of TLS; None where streams are without."""
    if not server.has_tls:
        return None
    ledger = server.ledger
    ciphers = dict(zip(CIPHERS, ledger.total("tls_ciphers").tolist(), strict=True))
    ends = zip(TLS_CAUSES, ledger.total("tls_ends").tolist(), strict=True)
    handshakes = sum(ciphers.values())
    versions = {"1.2": ciphers[OTHER], "1.3": handshakes - ciphers[OTHER]}
    knows_cpu = all(traits.knows_handshake_cpu for model, traits in MODELS.items() if model in server.model)
    return TlsFigures(
        handshakes=handshakes,
        resumed=int(ledger.total("tls_resumed")),
        versions={name: number for name, number in versions.items() if number},
        ciphers={name: number for name, number in ciphers.items() if number},
        tickets=int(ledger.total("tls_tickets")),
        key_updates=int(ledger.total("tls_key_updates")),
        cpu_seconds=int(ledger.total("tls_cpu_ns")) / 1e9 if knows_cpu else None,
        late=int(ledger.total("tls_late")),
        ends={cause.name.lower(): number for cause, number in ends if number},
    )


def _history(server: Controlled) -> KeptHistory | None:
    """Return what is kept now, and what has been made of it since the server started."""
    kept, replays = server.history, server.replays
    if kept is None or replays is None:
        return None
    kept.expire()
    return KeptHistory(kept.messages, kept.subjects, kept.size, replays.made, replays.messages, replays.lost)


def _ticks(server: Controlled) -> list[SentTick]:
    """Return the last ticks; one that no front has written yet has been sent to nobody."""
    written = server.ledger.ticks()
    nobody = (0, None, None)
    return [
        SentTick(number, planned, *written.get(number, nobody)) for number, planned in server.ticker.planned.items()
    ]


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


def application(server: Controlled, api: ApiServer) -> ASGIApp:
    """Return the control API of a server as an ASGI application, which `api` serves."""
    meter = ProcessMeter()

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def get_stats(request: Request) -> Response:
        await server.bring_up_to_date()
        return json_answer(stats(server, api, meter))

    async def put_tick(request: Request) -> Response:
        try:
            order = msgspec.json.decode(await read_body(request, MAX_TICK_BYTES), type=TickPeriod)
        except MALFORMED as error:
            return PlainTextResponse(
                f'Send {{"seconds": 2.5}} or {{"seconds": null}}: {error}\n', HTTPStatus.BAD_REQUEST
            )
        if order.seconds is not None and not LEAST_TICK_SECONDS <= order.seconds <= MOST_TICK_SECONDS:
            words = f"seconds must be from {LEAST_TICK_SECONDS} to {MOST_TICK_SECONDS}.\n"
            return PlainTextResponse(words, HTTPStatus.BAD_REQUEST)
        server.ticker.set(order.seconds)
        return json_answer(order)

    starlette = Starlette(
        routes=[
            Route(HEALTH_PATH, healthz),
            Route(STATS_PATH, get_stats),
            Route(TICK_PATH, put_tick, methods=["PUT"]),
            *messages_api.routes(server.publisher, server.store),
        ],
        exception_handlers={HTTPException: _explain},
    )
    starlette.router.redirect_slashes = False  # a path with a slash more is another path
    token = server.token
    return for_programs_only(starlette if token is None else with_token(starlette, token), any_host=token is not None)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


async def serve(server: Controlled, sock: socket.socket) -> None:
    """Serve the control API on a listening socket until cancelled."""
    api = ApiServer()
    await api.serve(application(server, api), trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
