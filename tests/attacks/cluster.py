"""Runs against a cluster on one machine, to parts of which something is done while messages are sent.

Three load hosts open the connections, two front machines hold them, a router sends to these over a Valkey server
(`tests.attacks.cluster_ground`). One run is left alone, and nothing may be lost; in the others a load host is killed or
stopped, its cable pulled, Valkey killed and started again, the cable of a front machine pulled, or the controller
killed (`tests.attacks.cluster_trial`). What came of each is held against what the kernel, the router and each host say
(`tests.attacks.cluster_verdicts`).

Each run is made in namespaces of its own, which end with it. A share has fewer connections and, below a tenth, fewer
runs, which the seed chooses.
"""

import json
import subprocess
from pathlib import Path

from tests.attacks.cluster_trial import MOST_SECONDS, RUNS, Seen, rate_of
from tests.attacks.cluster_verdicts import accounts_of, broken
from tests.attacks.order import Order, Tally
from tests.rigs.machines import apart

USERS = 30_000
LEAST_USERS = 100


def attack(order: Order) -> Tally:
    """Make the runs of this order's share."""
    tally = Tally()
    users = max(LEAST_USERS, order.count(USERS))
    for name in _chosen(order):
        folder = order.folder / name.replace(" ", "-")
        folder.mkdir()
        seen = _run_apart(name, users, folder)
        tally.did[f"run of {users:,} connections, {name}"] += 1
        tally.saw[f"exit {seen.code}"] += 1
        tally.notes.append(f"{name}: {accounts_of(seen)}")
        tally.faults += [f"{name}: {what}" for what in broken(name, users, RUNS[name][1] * rate_of(users), seen)]
    return tally


def _chosen(order: Order) -> list[str]:
    """Return the runs to make: all, or the one that the seed chooses."""
    names = list(RUNS)
    first = (order.seed - 1) % len(names)
    return (names[first:] + names[:first])[: min(len(names), order.count(len(names) * 10))]


def _run_apart(name: str, users: int, folder: Path) -> Seen:
    line = apart("tests.attacks.cluster_trial", name, str(users), str(folder))
    root = Path(__file__).parents[2]
    with subprocess.Popen(line, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=MOST_SECONDS)
        finally:
            process.kill()  # and with it all that it has started
    assert process.returncode == 0, f"the run {name} was not made: exit code {process.returncode}"
    return Seen(**json.loads(said))
