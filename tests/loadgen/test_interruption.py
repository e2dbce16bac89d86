"""loadgen.run.interruption: the first signal ends a run in order, and a second one at once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from floodtest.analysis import Sample, Summary
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.bundled import BundledServer
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.interruption import Interruption
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher
from tests.rigs.support import OUR_NETWORK

PLAN = Plan(1, 200, f"{OUR_NETWORK}.11", 2000, 200)


class Ended(BaseException):
    """In place of the end of the process."""


def hear_twice(put_away: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Let an interruption hear two signals, and end as it does."""

    def end(code: int) -> None:
        raise Ended(code)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            await tasks.start(Interruption(said.append, put_away).listen)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep(0.1)
            pytest.fail("it should have ended")

    said: list[str] = []
    patch.setattr(os, "_exit", end)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(BaseExceptionGroup) as caught:
            trio.run(main)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert caught.group_contains(Ended, match="130")
    assert said == ["Interrupted: closing in order. Once more to end at once."]


def test_a_second_signal_has_the_terminal_put_right_first(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    hear_twice(lambda: done.append("put away"), monkeypatch)
    assert done == ["put away"]


def test_a_second_signal_ends_the_process_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    hear_twice(fail, monkeypatch)


class Interrupter(Watcher):
    """Sends a signal once some ticks have arrived."""

    def __init__(self) -> None:
        self.has_sent = False

    def sample(self, sample: Sample, reading: Reading) -> None:
        if not self.has_sent and sample.stage == Stage.HOLD and len(reading.ticks) >= 3:
            self.has_sent = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("forks")
def test_ticks_end_when_a_hold_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent and what was received are then of one moment."""
    original, orders = BundledServer.set_tick, []

    async def set_tick(self: BundledServer, seconds: float | None) -> bool:
        orders.append(seconds)
        return await original(self, seconds)

    monkeypatch.setattr(BundledServer, "set_tick", set_tick)
    options = RunOptions(PLAN, hold=60, tick=0.05, interval=0.2, out=tmp_path)
    summary: Summary = trio.run(Run(options, [Interrupter()]).execute)
    assert (summary.outcome, summary.reasons, orders) == ("interrupted", [], [0.05, None])
    assert len(summary.ticks) >= 3
    assert {(tick.sent, tick.received) for tick in summary.ticks} == {(200, 200)}


def test_a_program_catches_a_refusal_by_its_type(tmp_path: Path) -> None:
    """Not in a group, as trio raises it."""
    with pytest.raises(Refused, match="can't be resolved"):
        trio.run(Run(RunOptions(PLAN, target="http://nowhere.invalid/{user}", out=tmp_path)).execute)
