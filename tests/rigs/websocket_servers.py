"""WebSocket servers that nobody here wrote, each in a process of its own, since they want asyncio: `python
websocket_servers.py NAME` prints its port, serves until its input ends, and prints then, as JSON, what it saw.

Each sends a welcome that names the user, numbered messages (one of them in fragments where the library can), and pings
every 0.5 s; who does not pong in time is closed, which would be an early end in the run.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

MESSAGES = 5
PING_SECONDS = 0.5
seen: Counter[str] = Counter()


def welcome(path: str) -> str:
    return f"Welcome, user {path.rpartition('/')[2]}"


async def serve_websockets() -> AsyncIterator[int]:
    """Serve with the library websockets, whose server compresses if a client offers that."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def handle(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        seen["extensions"] += "Sec-WebSocket-Extensions" in request.headers
        await connection.send(welcome(request.path))
        for number in range(1, MESSAGES):
            await connection.send(f"Recvd msg #{number}: hello")
            await asyncio.sleep(0.1)
        await connection.send(["Recvd msg ", f"#{MESSAGES}: ", "in three"])
        try:
            async for _ in connection:
                seen["messages"] += 1
        except ConnectionClosed:
            pass
        seen[f"closed {connection.close_code}"] += 1
        seen["pongs"] += connection.latency > 0

    async with serve(handle, "127.0.0.1", 0, ping_interval=PING_SECONDS, ping_timeout=5, backlog=1000) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def serve_aiohttp() -> AsyncIterator[int]:
    """Serve with aiohttp."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(heartbeat=PING_SECONDS * 2)
        await connection.prepare(request)
        seen["extensions"] += "Sec-WebSocket-Extensions" in request.headers
        await connection.send_str(welcome(request.path))
        for number in range(1, MESSAGES + 1):
            await connection.send_bytes(b"Recvd msg #%d: hello" % number)
            await asyncio.sleep(0.1)
        async for _ in connection:
            seen["messages"] += 1
        seen[f"closed {connection.close_code}"] += 1
        return connection

    application = web.Application()
    application.router.add_get("/ws/{user}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1000)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


SERVERS = {"websockets": serve_websockets, "aiohttp": serve_aiohttp}


async def main(name: str) -> None:
    loop = asyncio.get_running_loop()
    async for port in SERVERS[name]():
        print(port, flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(seen), flush=True)


class ForeignServer:
    """One of the servers, as a test has it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._process = process
        self.target = f"ws://127.0.0.1:{int(process.stdout.readline())}/ws/{{user}}"

    def end(self) -> dict[str, Any]:
        """End it in order; return what it saw."""
        told, _ = self._process.communicate(timeout=60)
        found: dict[str, Any] = json.loads(told)
        return found


@contextmanager
def foreign_server(name: str) -> Iterator[ForeignServer]:
    """One of `SERVERS`, ended with the block at the latest."""
    line = [sys.executable, __file__, name]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield ForeignServer(process)
        finally:
            if process.poll() is None:
                process.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
