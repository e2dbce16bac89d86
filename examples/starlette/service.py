"""Live updates for each user, by server-sent events and by WebSocket, and an endpoint that publishes one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

listeners: dict[str, set[asyncio.Queue[str]]] = {}


@contextmanager
def subscription(user: str) -> Iterator[asyncio.Queue[str]]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    listeners.setdefault(user, set()).add(queue)
    try:
        yield queue
    finally:
        listeners[user].discard(queue)
        if not listeners[user]:
            del listeners[user]


async def events(request: Request) -> EventSourceResponse:
    async def updates() -> AsyncIterator[dict[str, str]]:
        with subscription(request.path_params["user"]) as queue:
            yield {"event": "ready", "data": "subscribed"}
            while True:
                yield {"data": await queue.get()}

    return EventSourceResponse(updates())


async def live(websocket: WebSocket) -> None:
    async def send_updates(queue: asyncio.Queue[str]) -> None:
        while True:
            await websocket.send_text(await queue.get())

    await websocket.accept()
    with subscription(websocket.path_params["user"]) as queue:
        await websocket.send_text("subscribed")
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send_updates(queue))
            async for _ in websocket.iter_text():
                pass  # clients have nothing to say, but this ends when they go
            sending.cancel()


async def publish(request: Request) -> JSONResponse:
    message = (await request.body()).decode()
    queues = listeners.get(request.path_params["user"], set())
    for queue in queues:
        queue.put_nowait(message)
    return JSONResponse({"listeners": len(queues)})


app = Starlette(
    routes=[
        Route("/events/{user}", events),
        WebSocketRoute("/live/{user}", live),
        Route("/publish/{user}", publish, methods=["POST"]),
    ]
)
