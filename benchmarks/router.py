"""What routing costs by itself: the server's parent process at 2008's rate, its fronts played by a null sink.

A million users are logged in at 54 fronts that write nothing; `comet msggen` publishes 16,666 messages a second about
random ones over HTTP, as in a run. Prints the parent's CPU, the control API included, as a share of one core, and that
of routing alone. Run: `python -m benchmarks.router` (needs a core for the generator, one for the parent).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import trio

from datagen.graph import friend_graph
from flyweight.ledger import Ledger
from server_under_test import control
from server_under_test.accounts import FRONT_LEDGER
from server_under_test.bus import Bus, Deliver
from server_under_test.router import find_routes
from server_under_test.server import Options, Server, listen
from server_under_test.subscriptions import Store
from server_under_test.whereabouts import Whereabouts

USERS, FRIENDS, FRONTS, FILES = 1_000_000, 15, 54, 20_000
RATE, SECONDS = 16_666, 10


class NullFront:
    """A front, and its channel, that has written whatever it is told to at once."""

    exit_status = None

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.number = number
        self.channel = self
        self._written = ledger.rows["turn"]

    async def send(self, order: Deliver) -> bool:
        self._written[self.number] = order.turn
        return True


class NullFronts:
    """All of them, as a server sees its workers."""

    def __init__(self, ledger: Ledger) -> None:
        self.all = [NullFront(number, ledger) for number in range(FRONTS)]
        self.pids: list[int] = [0]


def fill(whereabouts: Whereabouts) -> None:
    """Log the users in, as many at each front."""
    users = np.arange(1, USERS + 1)
    for front, part in enumerate(np.array_split(users, FRONTS)):
        whereabouts.of_front(front).login(list(range(50, 50 + len(part))), part.tolist())


async def routed(server: Server, port: int) -> tuple[float, int]:
    """Publish for some seconds; return the share of a core that took, and how many messages were routed."""
    command = [sys.executable, "-m", "server_under_test", "msggen", "--control", f"http://127.0.0.1:{port}"]
    options = {"rate": RATE, "seconds": SECONDS, "users": USERS}
    began, used = time.monotonic(), time.process_time()
    await trio.run_process(
        [*command, *(word for name, value in options.items() for word in (f"--{name}", str(value)))],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return (time.process_time() - used) / (time.monotonic() - began), server.router.messages


def alone(store: Store, whereabouts: Whereabouts) -> float:
    """Return the seconds that finding the routes of a message takes, in turns of 25 ms."""
    random = np.random.default_rng(1)
    turns = [random.integers(1, USERS, RATE // 40).tolist() for _ in range(40)]
    began = time.process_time()
    for subjects in turns:
        find_routes(subjects, store, whereabouts)
    return (time.process_time() - began) / sum(map(len, turns))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
        store.add_subscriptions(friend_graph(USERS, FRIENDS, seed=1))
        ledger, whereabouts = Ledger(FRONT_LEDGER, FRONTS), Whereabouts(USERS, FRONTS, FILES)
        fill(whereabouts)
        each = alone(store, whereabouts)
        with listen("127.0.0.1", 0) as listener, listen("127.0.0.1", 0) as api:
            server = Server(Options(), listener, cast(Any, NullFronts(ledger)), ledger, whereabouts, Bus(), store)
            async with trio.open_nursery() as tasks:
                tasks.start_soon(server.router.run)
                tasks.start_soon(control.serve, server, api)
                share, messages = await routed(server, api.getsockname()[1])
                tasks.cancel_scope.cancel()
        print(f"{messages:,} of {RATE * SECONDS:,} messages routed, {server.router.deliveries:,} deliveries")
        print(f"the server's parent used {share:.1%} of a core, the control API included")
        print(f"finding routes alone: {each * 1e6:.1f} µs a message, {each * RATE:.1%} of a core at this rate")


if __name__ == "__main__":
    trio.run(main)
