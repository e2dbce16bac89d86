"""A client worker's life in small, gone through once in the process that workers are forked from.

What runs before the fork leaves its traces (rewritten code, caches, reference counts) in pages that all workers share
instead of in a copy for each; see `server_under_test.rehearsal`, and docs/benchmarks.md for what it saves.
"""

import socket
import tempfile
import time
from pathlib import Path

import trio

from flyweight import chunks
from flyweight.ledger import Ledger
from flyweight.limits import raise_files_limit
from flyweight.readiness import Readiness
from loadgen.accounts import LEDGER, Accounts, create_columns
from loadgen.client import Client, Go, Specification
from loadgen.plan import Plan

CONNECTIONS = 16
ROUNDS = 12
_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def rehearse() -> None:
    """Open, feed and close a few connections to a listener of its own."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        create_columns(Path(folder), CONNECTIONS)
        trio.run(_rehearse, folder, listener)


async def _rehearse(folder: str, listener: socket.socket) -> None:
    address = listener.getsockname()
    share = Plan(1, CONNECTIONS, "127.0.0.1", 1024, CONNECTIONS).shares(1)[0]
    spec = Specification(
        worker=0,
        workers=1,
        share=share,
        folder=folder,
        target=(address[0], address[1]),
        request=("GET /test/", " HTTP/1.1\r\nHost: rehearsal\r\n\r\n"),
        ports="kernel",
        reserved=frozenset(),
        rate=None,
        connect_timeout=10.0,
        reset_at_end=True,
    )
    accounts = Accounts(Path(folder), 1, CONNECTIONS, Ledger(LEDGER, 1).rows[0])
    with Readiness() as readiness:
        client = Client(spec, readiness, accounts, raise_files_limit())
        client.go(Go(time.monotonic(), CONNECTIONS))
        client.turn()
        servers = []
        for _ in range(CONNECTIONS):
            server, _ = listener.accept()
            user = server.recv(256).split()[1].rpartition(b"/")[2]
            server.sendall(_HEAD + chunks.encode(b"Welcome, user %b\n" % user))
            servers.append(server)
            client.turn()
        for number in range(1, ROUNDS + 1):
            message = chunks.encode(b"Recvd msg #%d: tick %d\n" % (number, number))
            for server in servers:
                server.sendall(message)
            await readiness.wait(time.monotonic() + 0.001)
            client.turn()
        for server in servers:
            server.close()
        while client.turn() or client.close_some():
            pass
