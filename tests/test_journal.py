"""loadgen.run, journal: what writes a run down or reads its figures may fail; the run goes on, or ends in order."""

import time
from pathlib import Path

import pytest
import trio

from analysis import Sample, Summary
from flyweight.command import known_error
from loadgen.console import PlainConsole
from loadgen.crew import Crew
from loadgen.journal import Journal
from loadgen.options import RunOptions
from loadgen.plan import Plan
from loadgen.run import Run
from loadgen.sampling import Sampler
from tests.support import OUR_NETWORK


def run(out: Path) -> Summary:
    options = RunOptions(Plan(1, 200, f"{OUR_NETWORK}.9", 2000, 200), hold=0.5, interval=0.1, out=out)
    return trio.run(Run(options, PlainConsole()).execute)


def test_samples_that_cannot_be_read_are_a_reason_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Sampler.read

    def fail_in_hold(self: Sampler, stage: str, *rest: object) -> Sample:
        if stage == "hold":
            raise OSError(24, "Too many open files", "/proc/meminfo")
        return original(self, stage, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampler, "read", fail_in_hold)
    summary = run(tmp_path)
    assert summary.connections.opened == 200
    assert summary.reasons == ["samples: some are missing, since /proc/meminfo: Too many open files"]


@pytest.mark.parametrize("stage", ["ramp", "hold", "close"])
def test_a_fault_beside_the_stages_ends_the_run_in_order_and_soon(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Journal.add

    def fail_in_stage(self: Journal, sample: Sample, shown: bool = True) -> None:
        if sample.stage == stage:
            raise ZeroDivisionError
        original(self, sample, shown)

    monkeypatch.setattr(Journal, "add", fail_in_stage)
    original_close = Crew.close

    async def linger(self: Crew) -> None:
        await trio.sleep(0.5)  # for a sample of this stage
        await original_close(self)

    monkeypatch.setattr(Crew, "close", linger)
    began = time.monotonic()
    with pytest.raises(BaseExceptionGroup) as caught:
        run(tmp_path)
    assert caught.group_contains(ZeroDivisionError)
    assert known_error(caught.value) is None
    assert time.monotonic() - began < 30
