"""A front's life in small, gone through once in the process that fronts are forked from.

CPython 3.11 rewrites code that has run a few times, fills its caches and counts references in the objects it touches.
Done after the fork, each front makes private copies of the pages concerned; done before, they are shared: measured
6.5 MB private a front without, 4.7 MB with. Sixteen connections on a listener of its own, two ticks, a few waits.
"""

import socket
import time

import trio

from flyweight.ledger import Ledger
from flyweight.limits import raise_files_limit
from flyweight.readiness import Readiness
from server_under_test.accounts import FRONT_LEDGER
from server_under_test.front import Accept, Front, FrontSpecification, Tick
from server_under_test.limits import Limits

CONNECTIONS = 32
ROUNDS = 40


def rehearse() -> None:
    """Open, serve and close a few connections; nothing of it is left but what it taught the interpreter."""
    trio.run(_rehearse)


async def _rehearse() -> None:
    spec = FrontSpecification(0, 1, 1000, Limits())
    with socket.create_server(("127.0.0.1", 0)) as listener, Readiness() as readiness:
        listener.setblocking(False)
        front = Front(spec, listener, readiness, Ledger(FRONT_LEDGER, 1), raise_files_limit())
        front.obey(Accept(True))
        clients = []
        for user in range(1, CONNECTIONS + 1):
            client = socket.create_connection(listener.getsockname())
            client.sendall(b"GET /test/%d HTTP/1.1\r\nHost: rehearsal\r\n\r\n" % user)
            clients.append(client)
            front.turn()
        for number in range(1, ROUNDS + 1):
            front.obey(Tick(number))
            front.turn()
            await readiness.wait(time.monotonic() + 0.001)
        for client in clients:
            client.close()
            front.turn()
        while front.close_some():
            pass
