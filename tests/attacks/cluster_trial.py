"""A run against a cluster on one machine, to a part of which something is done, and what is seen of it from outside.

`python -m tests.attacks.cluster_trial RUN USERS FOLDER`, in namespaces of its own (`tests.rigs.machines`). In: which of
`RUNS`, how many connections, a folder for all that is written. Out: `Seen`, as JSON on standard output.

What is looked for often is that nothing happens for a while, or what happens in processes that tell nobody: there is no
event to wait for, and so these are times of the clock, each with its reason.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floodtest.loadgen.client.accounts import State
from tests.attacks.cluster_ground import HOSTS, PORT, RATE, SCHEDULER, TOKEN, Ground, ground
from tests.attacks.trial import stage_of
from tests.rigs.support import command, wait_until

OPENINGS = 3_000
"""A second."""

BEFORE = 4.0
"""Seconds in which messages are sent before anything is done."""

UNTIL_FOUND = 6.0
"""Seconds after which it has been found out that a killed host is gone, and its connections are closed."""

LOST_AFTER = 8.0
"""Seconds of silence after which a load host, or a front machine, is given up, as docs/cluster.md says."""

WITHIN = 4.0
"""Seconds in which nobody has noticed yet that a host is cut off."""

BEYOND = 3.0
"""Seconds by which a host is silent for longer than it takes to give it up, and in which it then hears of that."""

DOWN = 2.0
"""Seconds without Valkey, in which messages that are published have nowhere to go."""

BACK = 4.0
"""Seconds in which router and front machines have found a Valkey server again."""

HEALED = 5.0
"""Seconds in which a host whose cable is in again could join again, which it may not."""

CAUGHT_UP = 6.0
"""Seconds in which a front machine whose cable is in again is found, and has got what had waited for it."""

VICTIM = "east"
FRONT = "web2"

MOST_SECONDS = 300.0
"""No run takes longer."""


@dataclass
class Seen:
    """What was seen of a run, by its kernel and the router; counts by the name of the machine."""

    part_of: dict[str, int] = field(default_factory=dict)
    """Established connections of each load host before anything was done."""
    held_by: dict[str, int] = field(default_factory=dict)
    """Those of each front machine."""
    told_by: dict[str, int] = field(default_factory=dict)
    """Connections that the router says each front machine has."""
    kept_by_victim: int | None = None
    """Connections that the load host without a cable itself has for open."""
    ended_after: dict[str, float] = field(default_factory=dict)
    """Seconds until load hosts had ended by themselves, after they could be reached no more."""
    stayed: dict[str, int] = field(default_factory=dict)
    """Established connections of each load host some time after it was done."""
    held_then: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    """Connections of front machines, and processes of load hosts, when the run was over."""
    stats: dict[str, Any] = field(default_factory=dict)
    """What the router says then."""
    code: int | None = None
    seconds: float = 0.0
    record: str = ""
    errors: str = ""


Act = Callable[[Ground, Seen], None]


def _nothing(made: Ground, seen: Seen) -> None:
    pass


def _kill_host(made: Ground, seen: Seen) -> None:
    made.machines[VICTIM].kill()
    time.sleep(UNTIL_FOUND)
    _look_again(made, seen)


def _cut_host(made: Ground, seen: Seen) -> None:
    machine, began = made.machines[VICTIM], time.monotonic()
    machine.cut()
    time.sleep(WITHIN)
    seen.kept_by_victim = made.states_of(VICTIM).count(_OPEN)
    _note_its_end(made, seen, VICTIM, began)
    _look_again(made, seen)
    time.sleep(max(0.0, began + LOST_AFTER + BEYOND - time.monotonic()))  # the host ends before the run gives it up
    machine.mend()
    time.sleep(HEALED)


def _note_its_end(made: Ground, seen: Seen, host: str, since: float) -> None:
    """Wait until a load host has ended by itself."""
    with suppress(AssertionError):
        wait_until(lambda: not made.is_there(host), "it ends by itself", 20)
        seen.ended_after[host] = time.monotonic() - since


def _stop_host(made: Ground, seen: Seen) -> None:
    machine, began = made.machines[VICTIM], time.monotonic()
    machine.signal(signal.SIGSTOP)
    time.sleep(LOST_AFTER + BEYOND)
    _look_again(made, seen)
    machine.signal(signal.SIGCONT)
    _note_its_end(made, seen, VICTIM, began + LOST_AFTER + BEYOND)
    time.sleep(BEYOND)


def _restart_valkey(made: Ground, seen: Seen) -> None:
    made.programs["valkey"].kill()
    made.programs["valkey"].wait()
    time.sleep(DOWN)
    made.start_valkey()
    time.sleep(BACK)
    _look_again(made, seen)


def _cut_front(made: Ground, seen: Seen) -> None:
    machine = made.machines[FRONT]
    machine.cut()
    time.sleep(LOST_AFTER)
    machine.mend()
    time.sleep(CAUGHT_UP)
    _look_again(made, seen)


def _kill_controller(made: Ground, seen: Seen) -> None:
    made.programs["controller"].kill()
    began = time.monotonic()
    for host in HOSTS:
        _note_its_end(made, seen, host, began)
    _look_again(made, seen)


_OPEN = bytes([State.OPEN])

RUNS: dict[str, tuple[Act, int]] = {
    "host killed": (_kill_host, 15),
    "left alone": (_nothing, 15),
    "link of a host cut": (_cut_host, 25),
    "host stopped": (_stop_host, 25),
    "Valkey restarted": (_restart_valkey, 15),
    "link of a front machine cut": (_cut_front, 25),
    "controller killed": (_kill_controller, 25),
}
"""What is done in each run, and for how many seconds messages are sent. A small share makes the first one."""


def rate_of(users: int) -> int:
    """Return how many messages a second are sent in a run of so many connections."""
    return min(RATE, users * 2 // 3)


def make(name: str, users: int, folder: Path) -> Seen:
    """Make a run, and look at it from outside."""
    act, message_seconds = RUNS[name]
    seen = Seen()
    with ground(folder, users) as made, (folder / "stderr").open("w") as errors:
        began = time.monotonic()
        run = subprocess.Popen(_line(made, message_seconds), stdout=subprocess.DEVNULL, stderr=errors)
        made.programs["controller"] = run
        _wait_for_messages(run, folder)
        _look(made, seen)
        time.sleep(BEFORE)
        act(made, seen)
        seen.code = run.wait(MOST_SECONDS)
        seen.seconds = time.monotonic() - began
        seen.errors = (folder / "stderr").read_text()
        seen.record = str(next((folder / "runs").iterdir(), ""))
        _look_at_the_end(made, seen)
    return seen


def _line(made: Ground, message_seconds: int) -> list[str]:
    server = ("--target", "http://comet.example/test/{user}", "--ring", made.servers)
    control = ("--control", made.control, "--token", TOKEN)
    pace = ("--connections", str(made.users), "--rate", str(OPENINGS), "--hold", "3")
    messages = ("--messages", f"{rate_of(made.users)}/s", "--message-seconds", str(message_seconds))
    where = ("--cluster", SCHEDULER, "--out", str(made.folder / "runs"))
    return command("floodtest", "run", *where, *server, *control, *pace, *messages)


def _wait_for_messages(run: "subprocess.Popen[bytes]", folder: Path) -> None:
    wait_until(
        lambda: run.poll() is not None or stage_of(folder / "runs") == "messages", "messages are sent", MOST_SECONDS
    )


def _look(made: Ground, seen: Seen) -> None:
    seen.part_of = {host.name: host.established(PORT, is_server=False) for host in made.hosts}
    seen.held_by = {front.name: front.established(PORT, is_server=True) for front in made.fronts}
    seen.told_by = {one["name"]: one["connections"] for one in made.stats()["machines"]}


def _look_again(made: Ground, seen: Seen) -> None:
    seen.stayed = {host.name: host.established(PORT, is_server=False) for host in made.hosts}
    seen.held_then = {front.name: front.established(PORT, is_server=True) for front in made.fronts}


def _look_at_the_end(made: Ground, seen: Seen) -> None:
    def left() -> dict[str, int]:
        connections = {front.name: front.established(PORT, is_server=True) for front in made.fronts}
        return connections | {name: int(made.is_there(name)) for name in HOSTS}

    with suppress(AssertionError):
        wait_until(lambda: not any(left().values()), "nothing is left", 20)
    seen.left = {name: count for name, count in left().items() if count}
    seen.stats = made.stats()


if __name__ == "__main__":
    kind, count, where = sys.argv[1:]
    print(json.dumps(vars(make(kind, int(count), Path(where)))))
