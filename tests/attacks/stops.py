"""Stops each kind of process of a run for some seconds, as a debugger or a starved machine does, and lets it go on.

The runs are those of `tests.attacks.kills`. Each has to end by itself: with exit code 0 if all that was planned was
done in the end, and else with 4 and a reason.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from tests.attacks import parts
from tests.attacks.order import Order, Tally
from tests.attacks.promises import broken, changed, host, summary_of, was_whole
from tests.attacks.trial import Ground, Outcome, draw, tally_of, trials

STOPS = 20
SECONDS = (1.0, 4.0)


def attack(order: Order) -> Tally:
    """Stop a process in each of so many runs."""
    before = host()
    random = order.random
    drawn = [part for part in parts.PARTS if part != parts.MAKER]  # that one is gone within milliseconds
    drawn = (drawn * STOPS)[:STOPS]
    plans = [draw(random, number, part) for number, part in enumerate(drawn[: order.count(STOPS)])]
    seconds = {plan.number: random.uniform(*SECONDS) for plan in plans}
    outcomes = trials(Ground(order.folder), plans, lambda plan, pid: stop(pid, seconds[plan.number]))
    tally = tally_of(outcomes, "stop", partial(broken, misjudged=_misjudged))
    tally.faults += changed(before)
    return tally


def stop(pid: int, seconds: float) -> None:
    """Stop a process for so long."""
    with suppress(ProcessLookupError):  # it ended meanwhile, or was ended
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)


def _misjudged(outcome: Outcome) -> Iterator[str]:
    code, summary = outcome.code, summary_of(outcome)
    if code == 0 and (summary is None or not was_whole(summary)):
        yield f"exit code 0, and not all is well: {summary}"
    elif code == 4 and (summary is None or not summary["reasons"]):
        yield "exit code 4 without a reason"
    elif code not in (0, 4, None):
        yield "an exit code that says nothing of this"
