"""The httpx client with a scripted network below it: each user's server is a list of reads. No socket, no clock."""

import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpcore
import httpx
import trio

from floodtest.flyweight.processes.channel import Channel
from floodtest.loadgen.client.orders import Go, Specification, ToWorker
from floodtest.loadgen.client.tasks import HttpxClient
from floodtest.loadgen.client.worker import Shared
from floodtest.loadgen.plan.pacer import Stage
from floodtest.loadgen.plan.plan import Plan
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.template import RequestTemplate
from tests.rigs.client import FILES, AccountsReader
from tests.rigs.support import REQUEST


class Script(httpcore.AsyncNetworkStream):
    """A connection that reads what its user's server says, and then its end."""

    def __init__(self, answers: dict[int, list[bytes]], note: Callable[[int], None]) -> None:
        self._answers = answers
        self._note = note
        self._left: list[bytes] = []
        self.written = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (as in httpcore)
        await trio.lowlevel.checkpoint()
        if not self._left:
            return b""
        data = self._left.pop(0)
        if len(data) > max_bytes:
            self._left.insert(0, data[max_bytes:])
        return data[:max_bytes]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (as in httpcore)
        await trio.lowlevel.checkpoint()
        self.written += buffer
        asked = re.match(rb"GET /test/(\d+)[ ?]", buffer)
        if asked:
            self._note(int(asked[1]))
            self._left = [piece for piece in self._answers[int(asked[1])] if piece]

    async def aclose(self) -> None:
        self._left = []

    def get_extra_info(self, info: str) -> Any:
        return ("127.0.0.1", 1024) if info == "client_addr" else None


class Network(httpcore.AsyncNetworkBackend):
    """Connects at once, to the script of whoever asks."""

    def __init__(self, answers: dict[int, list[bytes]]) -> None:
        self._answers = answers
        self.hosts: dict[int, str] = {}
        """Where each user's request went."""
        self.connections: list[Script] = []

    async def connect_tcp(self, host: str, *rest: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        self.connections.append(Script(self._answers, lambda user: self.hosts.update({user: host})))
        return self.connections[-1]


class ScriptedClient(HttpxClient):
    """A client whose connections are scripts."""

    network: Network

    async def _new_client(self, address: str) -> httpx.AsyncClient:
        client = await super()._new_client(address)
        client._transport._pool._network_backend = self.network  # type: ignore[attr-defined] # httpx takes none
        return client


class HttpxRig(AccountsReader):
    """Connections of the httpx client, and their accounts."""

    def __init__(
        self,
        folder: Path,
        users: int,
        hosts: Sequence[str] = ("127.0.0.1",),
        request: RequestTemplate = REQUEST,
        grammar: Grammar = OURS,
    ) -> None:
        super().__init__(folder, users)
        self.hosts: dict[int, str] = {}
        (share,) = Plan(1, users, "127.0.0.1", 1024, users).shares(1)
        self._spec = Specification(
            worker=0,
            workers=1,
            share=share,
            folder=os.fsencode(folder),
            targets=[(host, 80) for host in hosts],
            request=request,
            protocol="chunked",
            open_when="id",
            grammar=grammar,
            ports="kernel",
            reserved=[],
            stages=(Stage(None),),
            connect_timeout=10.0,
            reset_at_end=False,
        )

    def feed(self, answers: dict[int, list[bytes]]) -> list[bytes]:
        """Open a connection for each user, to a server that says this and then ends it; return what each has sent, when
        all have ended.
        """
        return trio.run(self._feed, answers)

    async def _feed(self, answers: dict[int, list[bytes]]) -> list[bytes]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with trio.fail_after(60), ours, theirs:
            shared = Shared(self._spec, Channel[ToWorker](theirs, ToWorker), FILES, self.accounts)
            async with AsyncExitStack() as clients, trio.open_nursery() as tasks:
                client = ScriptedClient(shared, tasks, clients)
                client.network = Network(answers)
                self.hosts = client.network.hosts
                await client.ramp(Go(time.monotonic(), len(answers)))
        return [connection.written for connection in client.network.connections]
