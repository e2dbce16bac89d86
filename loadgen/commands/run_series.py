"""A series: runs one after another, each a `floodtest run` in a process of its own.

In: for each run the words of its command line, without `floodtest`. Out: how each ended. A run leaves nothing in the
memory of the process that the next one is measured in, and can be in another network. Its standard error is ours; its
summary is what it prints as JSON.

A run that falls short has been measured, so that the series goes on and its exit code tells of it; one that is refused,
ends by a fault or is interrupted ends the series, since the next one would be none of its kind either. SIGINT and
SIGTERM are passed on to the run that is under way, which closes in order at the first and ends at once at a second.
The kernel kills a run with the process of its series (`flyweight.processes.launch`).
"""

import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import trio

from floodtest.analysis import Summary
from floodtest.flyweight.errors import ExitCode
from floodtest.flyweight.processes.launch import Program, how_it_ended, launch
from floodtest.loadgen.run.interruption import HEARD

GOES_ON = (ExitCode.OK, ExitCode.SHORTFALL)
"""After a run that ended so there is another one."""

GRAVITY = (ExitCode.OK, ExitCode.SHORTFALL, ExitCode.REFUSED, ExitCode.USAGE, ExitCode.FAULT, ExitCode.INTERRUPTED)
"""Exit codes of runs, the worst last."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: ExitCode
    summary: Summary | None
    """None: it was refused, or broke off."""

    @property
    def has_figures(self) -> bool:
        """Whether its record is one of a whole run, even if what came after the run was interrupted."""
        return self.summary is not None and self.summary.outcome in ("ok", "shortfall")


def worst(runs: Sequence[Ended]) -> ExitCode:
    """Return the exit code of a series."""
    return max((run.code for run in runs), key=GRAVITY.index, default=ExitCode.OK)


RunOne = Callable[[Sequence[str]], Awaitable[Ended]]


async def run_in_turn(lines: Sequence[Sequence[str]], run_one: RunOne) -> list[Ended]:
    """Run one after another until all have run, or one ended so that the series ends with it."""
    ended: list[Ended] = []
    for at, words in enumerate(lines):
        print(f"Run {at + 1} of {len(lines)}.", file=sys.stderr, flush=True)
        ended.append(await run_one(words))
        if ended[-1].code not in GOES_ON:
            break
    return ended


class Processes:
    """Runs in processes, and the signals that are passed on to them."""

    def __init__(self) -> None:
        self._program: Program | None = None
        self._is_interrupted = False

    async def run_all(self, lines: Sequence[Sequence[str]]) -> list[Ended]:
        """Run all command lines in turn, hearing signals meanwhile."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen)
            ended = await run_in_turn(lines, self._run_one)
            nursery.cancel_scope.cancel()
        return ended

    async def _listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(*HEARD) as signals:
            task_status.started()
            async for _ in signals:
                self._is_interrupted = True
                if self._program is not None:
                    self._program.interrupt()

    async def _run_one(self, words: Sequence[str]) -> Ended:
        """Run a command line in a process. If a signal came, the run counts as interrupted, whatever its status is."""
        if self._is_interrupted:
            return Ended(ExitCode.INTERRUPTED, None)
        with open(os.memfd_create("summary"), "w+b") as output:
            self._program = launch("floodtest", *words, "--json", stdout=output.fileno())
            status = await self._program.wait()
            self._program = None
            output.seek(0)
            ended = how_run_ended(status, output.read())
        return Ended(ExitCode.INTERRUPTED, ended.summary) if self._is_interrupted else ended


def how_run_ended(status: int, output: bytes) -> Ended:
    """Return how a run ended that has this exit status (negative: a signal) and wrote this to standard output."""
    try:
        summary = msgspec.json.decode(output, type=Summary)
    except msgspec.DecodeError:
        summary = None  # a run that was refused has none, but says why
    if status in GRAVITY:
        return Ended(ExitCode(status), summary)
    print(f"The run ended {how_it_ended(status)}.", file=sys.stderr)
    return Ended(ExitCode.FAULT, summary)


def run_series(lines: Iterable[Sequence[str]]) -> list[Ended]:
    """Run command lines one after another; to be called in the main thread."""
    return trio.run(Processes().run_all, [*lines])


def without_option(words: Sequence[str], option: str, flags: Sequence[str]) -> list[str]:
    """Return the words of a command line without an option that has a text; `flags` are those that have none."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, joined, _ = word.partition("=")
        texts = [] if joined or not word.startswith("--") or name in flags else [*islice(rest, 1)]
        if name != option:
            kept += [word, *texts]
    return kept


def alternating(rounds: int) -> list[int]:
    """Return which of two runs when: 0 1, 1 0, 0 1 and so on, so that what drifts in a machine favours neither."""
    return [side for at in range(rounds) for side in ((0, 1) if at % 2 == 0 else (1, 0))]
