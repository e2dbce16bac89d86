"""Whether a server can be reached at all: a ramp against a port at which nobody listens need not go on to its end.

In: the ledger of a site's workers, and seconds of patience. A server that starts late is waited for as long as a single
connection may take (`--connect-timeout`), counted from the first one that was begun. Cost: a look at the ledger four
times a second, and none any more once a connection has come about.
"""

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.loadgen.client.accounts import Phase

LOOK_SECONDS = 0.25

LEAST = 10
"""Failures that tell more of a server than chance: at a slow pace one of them says little of the next connection."""


async def connections_in_vain(ledger: Ledger, patience: float) -> int:
    """Return how many connections were begun when for so many seconds none of them had come about; 0: one has.

    Until `LEAST` have failed nothing is known: those that are dropped on the way fail by their time-out only.
    """
    began: float | None = None
    while not _has_reached_a_server(ledger):
        attempts, now = int(ledger.total("attempts")), trio.current_time()
        if attempts and began is None:
            began = now
        if began is not None and now - began >= patience and ledger.total("failures").sum() >= LEAST:
            return attempts
        await trio.sleep(LOOK_SECONDS)
    return 0


def _has_reached_a_server(ledger: Ledger) -> bool:
    """Whether a connection has come about, be it open or not: the model httpx tells of its failures and opens only."""
    connected, failures = ledger.total("connect_us"), ledger.total("failures")
    return bool(ledger.total("opens") or connected.any() or failures[Phase.TLS :].any())
