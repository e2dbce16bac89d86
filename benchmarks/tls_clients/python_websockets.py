"""`websockets` on asyncio, as it is by default: pings, and compression offered. See the package."""

import asyncio
import ssl
import sys

from websockets.asyncio.client import ClientConnection, connect

AT_ONCE = 64
"""Connections that are being opened at a time."""


async def main() -> None:
    host, port, cafile, name = sys.argv[1:]
    context = ssl.create_default_context(cafile=cafile)
    kept: list[ClientConnection] = []
    room = asyncio.Semaphore(AT_ONCE)

    async def open_one(user: int) -> None:
        async with room:
            uri = f"wss://{host}:{port}/ws/{user}"
            kept.append(await connect(uri, ssl=context, server_hostname=name, open_timeout=60))
            await kept[-1].recv()

    while line := await asyncio.to_thread(sys.stdin.readline):
        async with asyncio.TaskGroup() as group:
            for user in range(len(kept) + 1, int(line) + 1):
                group.create_task(open_one(user))
        print(len(kept), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
