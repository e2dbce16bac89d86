"""Kills each kind of process of a run at random instants: what is lost is counted and named, and nothing is left.

The run is small, against the bundled server: with messages or ticks, friends or a store, either model of either end, in
the host's network or one of its own. Exit code 0 then says that nothing was lost; 4, or 1 before the ramp, comes with
words for the process that was killed.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from tests.attacks import parts
from tests.attacks.order import Order, Tally
from tests.attacks.promises import broken, changed, host, summary_of, was_whole
from tests.attacks.trial import Ground, Outcome, Plan, draw, tally_of, trials

EACH = 7
FEW = 3
"""Kills of what is only there for an instant, and of what only reads."""

CLOSING = (parts.SERVER, parts.FRONT, parts.SERVER_NURSERY, parts.CLIENT_NURSERY, parts.CLIENT_WORKER)
"""What is killed while a run closes its connections as well."""

_SERVER = ("bundled server ended", "bundled server did not answer", "of the bundled server ended by themselves")

_NAMED = {
    parts.LOADER: ("comet load ended by signal 9",),
    parts.READER: ("comet subs ended by signal 9",),
    parts.SERVER: _SERVER,
    parts.SERVER_NURSERY: _SERVER,
    parts.FRONT: _SERVER,
    parts.CLIENT_NURSERY: ("the process that client workers come from ended",),
    parts.CLIENT_WORKER: ("client worker",),
    parts.GENERATOR: ("generator ended by itself",),
}
"""What names each of them in the reasons of a run."""

_BEFORE_IT_RUNS = {
    parts.SERVER: ("bundled server",),
    parts.SERVER_NURSERY: ("bundled server",),
    parts.FRONT: ("bundled server",),
    parts.CLIENT_NURSERY: ("workers come from", "Client worker"),
    parts.CLIENT_WORKER: ("Client worker",),
    parts.LOADER: _NAMED[parts.LOADER],
    parts.READER: _NAMED[parts.READER],
}
"""The same on stderr, when a run can't start for it."""

_NEEDLESS = (parts.MAKER, parts.REMOVER)
"""What a run can do without."""

_SOON_OVER = (parts.GENERATOR, parts.LOADER, parts.READER)
"""What ends by itself in the middle of a run: a kill may come when it has just done its work, and then nothing is lost.
That a load is made as a whole or not at all is what the attack on loads is for."""


def attack(order: Order) -> Tally:
    """Kill a process in each of so many runs."""
    before = host()
    tally = tally_of(trials(Ground(order.folder), plans(order), kill), "kill", partial(broken, misjudged=_misjudged))
    tally.faults += changed(before)
    return tally


def kill(_: Plan, pid: int) -> None:
    """Kill a process, unless it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def plans(order: Order) -> list[Plan]:
    """Draw all the kills, and return this order's share of them."""
    random = order.random
    drawn: list[tuple[str, tuple[str, ...]]] = [
        (part, ()) for part in parts.PARTS for _ in range(FEW if part in (parts.MAKER, parts.READER) else EACH)
    ]
    drawn += [(part, ("close",)) for part in CLOSING]
    random.shuffle(drawn)
    return [
        draw(random, number, part, stages) for number, (part, stages) in enumerate(drawn[: order.count(len(drawn))])
    ]


def _misjudged(outcome: Outcome) -> Iterator[str]:
    """Say what of the exit code and its reasons does not fit what was done."""
    part, code, summary = outcome.plan.part, outcome.code, summary_of(outcome)
    was_hit = outcome.pid is not None
    if part == parts.FLOODTEST and was_hit:
        if code != -signal.SIGKILL:
            yield "it was killed, and did not end of that"
    elif code == 0:
        if summary is None or not was_whole(summary):
            yield f"exit code 0, and not all is well: {summary}"
        elif was_hit and outcome.stage != "close" and part not in (*_NEEDLESS, *_SOON_OVER):
            yield "exit code 0, as if it had lost nothing"
    elif code == 4 and summary is not None:
        if not any(words in reason for reason in summary["reasons"] for words in _NAMED.get(part, ())):
            yield f"no reason names what was killed: {summary['reasons']}"
    elif code == 1:
        if outcome.stage != "start" or not any(words in outcome.errors for words in _BEFORE_IT_RUNS.get(part, ())):
            yield "exit code 1, and nothing on stderr that names what was killed"
    elif code == 3 and part == parts.MAKER and outcome.plan.variant == "veth":
        if "--network isolated: the kernel permits no other" not in outcome.errors:
            yield "it was refused, and nothing on stderr says why"
    elif code is not None:
        yield "an exit code that says nothing of this"
