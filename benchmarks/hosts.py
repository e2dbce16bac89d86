"""How quickly load opens from two hosts of a cluster on this machine (`--cluster local:2`), beside one process.

In: connections, a file of friends, where runs go. Out: connections opened a second, in the host's network. What it
takes to start the cluster is not in it: the ramp begins when all hosts are ready. Fails: SystemExit where a run lost
anything.
"""

from functools import partial
from pathlib import Path

from benchmarks.rounds import Figures, Runner
from benchmarks.whole_runs import run_floodtest

ALONE, OF_HOSTS = "floodtest", "floodtest --cluster local:2"
OPENED = "opened/s"
LIMITS = {OPENED: 0.95}
"""What two hosts have to open at the least, against one process."""


def runners_of_hosts(connections: int, friends: Path, out: Path) -> tuple[dict[str, Runner], list[tuple[str, str]]]:
    """Return runners of one process and of two hosts, and what is held against what."""
    runners: dict[str, Runner] = {
        ALONE: partial(_opening, ("--network", "host"), connections, friends, out),
        OF_HOSTS: partial(_opening, ("--cluster", "local:2"), connections, friends, out),
    }
    return runners, [(OF_HOSTS, ALONE)]


def _opening(options: tuple[str, ...], connections: int, friends: Path, out: Path) -> Figures:
    summary, _ = run_floodtest(connections, friends, out, *options)
    return {OPENED: summary["ramp"]["per_second"]}
