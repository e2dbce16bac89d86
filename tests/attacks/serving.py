"""A `comet serve` under attack: at the end of the block it has to be as it was at the beginning.

In: a tally that takes what is wrong. Out: the server. It must run in the processes it began in, hold no descriptor more
than then, say nothing on stderr, and end with exit code 0 when it is told to.
"""

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.attacks.order import Order, Tally
from tests.rigs.support import Comet, comet, wait_until
from tests.server_under_test.test_comet_attacks import held

MOST_FAULTS = 20
"""Faults that are told in full: one mistake may have thousands."""

PATIENCE = 60.0
"""Seconds for what takes a moment, on a machine with other work to do."""

MIB = 1 << 20


def fault(tally: Tally, text: str) -> None:
    """Add a fault, as long as there are few."""
    if len(tally.faults) < MOST_FAULTS:
        tally.faults.append(text)


def figures(server: Comet) -> dict[str, Any]:
    """Return GET /stats."""
    connection = http.client.HTTPConnection("127.0.0.1", server.control, timeout=PATIENCE)
    connection.request("GET", "/stats")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


@contextmanager
def serving(order: Order, tally: Tally, *options: str) -> Iterator[Comet]:
    """Serve as long as the block lasts; whatever has changed by its end is a fault."""
    log = order.folder / f"stderr of {' '.join(options).replace('/', ' ')[:80]}"
    with log.open("w+") as stderr, comet(*options, stderr=stderr, is_started=not order.is_forked) as server:
        before, descriptors = figures(server), held(server)
        try:
            yield server
        except OSError as error:
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(10)  # if it is about to end by itself, it has more to say
            fault(tally, f"The attack could not go on: {error!r}. comet serve said: {log.read_text()[-1500:]!r}.")
            return
        try:
            wait_until(lambda: figures(server)["connections"] == 0, "no connection is left", PATIENCE)
            wait_until(lambda: held(server) == descriptors, "the fronts have the descriptors they had", PATIENCE)
        except AssertionError as error:
            more = f"{figures(server)['connections']} streams, {held(server) - descriptors} descriptors more than then"
            fault(tally, f"comet serve {' '.join(options)}: {error}: {more}.")
        after = figures(server)
        if after["pids"] != before["pids"] or any(status is not None for status in after["fronts"]):
            fault(tally, f"comet serve lost processes: {before['pids']}, then {after['pids']}, {after['fronts']}.")
        if (code := server.stop()) != 0:
            fault(tally, f"comet serve ended with exit code {code}.")
        if said := log.read_text().strip():
            fault(tally, f"comet serve said on stderr: {said[-600:]}")


def note_growth(tally: Tally, what: str, before: dict[str, Any], after: dict[str, Any], most: int) -> None:
    """Note how much more memory a server had after something; more than `most` bytes is a fault."""
    grown = after["memory"]["private"] - before["memory"]["private"]
    tally.notes.append(f"{what}: {grown / MIB:+.1f} MiB")
    if grown > most:
        fault(tally, f"Memory grew by {grown / MIB:.1f} MiB ({what}), and {most / MIB:.0f} were the most.")
