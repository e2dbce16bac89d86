"""What routing costs by itself: the server's parent process at 2008's rate, its fronts played by a null sink.

A million users with 15 friends each are logged in at 54 fronts that write nothing; 16,666 messages a second about
random ones are handed to the router, and then published over HTTP by `comet msggen`, as in a run. Prints the CPU that
the parent took of one core, user and system time, in each way.
Run: `python -m benchmarks.router` (needs a core for the generator and one for the parent).
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import numpy as np
import trio

from floodtest.datagen.graph import friend_graph
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.server_under_test.control import api as control
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.fronts.listener import listen
from floodtest.server_under_test.generator.msggen import PERIOD
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subscriptions import Store

USERS, FRIENDS, FRONTS, FILES = 1_000_000, 15, 54, 20_000
RATE, SECONDS, ROUNDS = 16_666, 10, 3


class NullFront:
    """A front, and its channel, that has written whatever it is told to at once."""

    exit_status = None

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.number = number
        self.channel = self
        self._written = ledger.rows["turn"]

    def send_nowait(self, order: Deliver) -> bool:
        self._written[self.number] = order.turn
        return True


class NullFronts:
    """All of them, as a server sees its workers."""

    def __init__(self, ledger: Ledger) -> None:
        self.all = [NullFront(number, ledger) for number in range(FRONTS)]
        self.pids: list[int] = [0]


def fill(whereabouts: SharedWhereabouts) -> None:
    """Log the users in, as many at each front."""
    users = np.arange(1, USERS + 1)
    for front, part in enumerate(np.array_split(users, FRONTS)):
        whereabouts.of_front(front).login(list(range(50, 50 + len(part))), part.tolist())


async def published(port: int) -> None:
    """Have the messages published over HTTP, as in a run."""
    command = [sys.executable, "-m", "floodtest.server_under_test", "msggen", "--control", f"http://127.0.0.1:{port}"]
    options = {"rate": RATE, "seconds": SECONDS, "users": USERS}
    await trio.run_process(
        [*command, *(word for name, value in options.items() for word in (f"--{name}", str(value)))],
        stderr=subprocess.DEVNULL,
        check=False,
    )


async def handed_over(router: Router) -> None:
    """Publish as many without HTTP, every `PERIOD` seconds those of that time."""
    random = np.random.default_rng(1)
    began, turns = time.monotonic(), round(SECONDS / PERIOD)
    for turn in range(turns):
        await trio.sleep(max(0.0, began + turn * PERIOD - time.monotonic()))
        subjects = random.integers(1, USERS + 1, round(RATE * PERIOD)).tolist()
        await router.publish(subjects, [b"x" * 100] * len(subjects))


async def measure(what: str, router: Router, publish: Awaitable[None]) -> None:
    """Print the share of a core that this process used meanwhile."""
    messages, deliveries = router.messages, router.deliveries
    began, used = time.monotonic(), time.process_time()
    await publish
    share = (time.process_time() - used) / (time.monotonic() - began)
    messages, deliveries = router.messages - messages, router.deliveries - deliveries
    print(f"{what}: {share:.1%} of a core for {messages:,} messages, {deliveries:,} deliveries in {SECONDS} s")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
        store.add_subscriptions(friend_graph(USERS, FRIENDS, seed=1))
        ledger, whereabouts = Ledger(FRONT_LEDGER, FRONTS), SharedWhereabouts(USERS, FRONTS, FILES)
        fill(whereabouts)
        with listen("127.0.0.1", 0) as listener, listen("127.0.0.1", 0) as api:
            server = Server(
                Options(), listener, cast(Any, NullFronts(ledger)), ledger, whereabouts, SharedBus(FRONTS), store
            )
            router = server.router
            async with trio.open_nursery() as tasks:
                tasks.start_soon(router.run)
                tasks.start_soon(control.serve, server, api)
                for _ in range(ROUNDS):
                    await measure("the router alone", router, handed_over(router))
                    await measure("with the control API over HTTP", router, published(api.getsockname()[1]))
                tasks.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
