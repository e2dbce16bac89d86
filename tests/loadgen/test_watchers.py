"""loadgen.run.watch, journal: a watcher that raises can't hurt the run, and is named in the summary."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from floodtest.analysis import Sample, Summary, load
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.crew import Crew
from floodtest.loadgen.run.journal import Journal
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher, Watchers
from tests.rigs.figures import reading, sample, summary
from tests.rigs.support import OUR_NETWORK


class Listener(Watcher):
    """Keeps what it is told, and raises at a part of it, such as "sample hold"."""

    def __init__(self, raises_at: str = "") -> None:
        self._raises_at = raises_at
        self.told: list[str] = []
        self.summaries: list[Summary] = []

    def _take(self, what: str) -> None:
        self.told.append(what)
        if what == self._raises_at:
            raise ZeroDivisionError("by our own fault")

    def say(self, text: str) -> None:
        self._take(f"say {text.split()[0]}")

    def stage(self, stage: Stage) -> None:
        self._take(f"stage {stage}")

    def sample(self, sample: Sample, reading: Reading) -> None:
        self._take(f"sample {sample.stage}")

    def summary(self, summary: Summary, is_final: bool) -> None:
        self.summaries.append(summary)
        self._take(f"summary {'final' if is_final else 'first'}")

    def close(self) -> None:
        self._take("close")


class Bystander(Listener):
    """A watcher that does not fail."""


pytestmark = pytest.mark.usefixtures("forks")


def run(out: Path, *watchers: Watcher) -> Summary:
    options = RunOptions(Plan(1, 200, f"{OUR_NETWORK}.9", 2000, 200), hold=0.3, interval=0.1, out=out)
    return trio.run(Run(options, watchers).execute)


def linger(patch: pytest.MonkeyPatch) -> None:
    """Let closing take as long as a few samples."""
    original = Crew.close

    async def close(self: Crew) -> None:
        await trio.sleep(0.3)
        await original(self)

    patch.setattr(Crew, "close", close)


PARTS = [f"{part} {stage}" for part in ("stage", "sample") for stage in ("start", "ramp", "hold", "close")]


ALL_PARTS = [*PARTS, "say The", "say Closing", "summary first", "summary final"]


def test_a_watcher_that_raises_at_any_part_ends_nothing_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run for all parts: each watcher fails by itself, between others that do not."""
    linger(monkeypatch)
    bad, good = [Listener(part) for part in ALL_PARTS], Bystander()
    found = run(tmp_path, *bad[:5], good, *bad[5:])
    assert (found.outcome, found.connections.opened, found.connections.closed_early) == ("ok", 200, 0)
    assert len(found.reasons) == len(bad)
    for reason in found.reasons:
        assert reason.startswith("watcher Listener: ZeroDivisionError: by our own fault (test_watchers.py, line ")
        assert reason.endswith("; it was told nothing more")
    for watcher, part in zip(bad, ALL_PARTS, strict=True):
        assert watcher.told[-2:] == [part, "close"]
        assert watcher.told.count(part) == 1
    assert good.summaries[-1] == found == load(found.run).summary
    assert {*ALL_PARTS, "close"} == set(good.told)
    shown = capsys.readouterr().err
    assert shown.count("Traceback") == len(bad)
    assert "ZeroDivisionError: by our own fault" in shown


def test_a_watcher_that_can_not_be_closed_is_shown_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(tmp_path, Listener("close"))
    assert (found.outcome, found.reasons) == ("ok", [])
    assert "ZeroDivisionError: by our own fault" in capsys.readouterr().err


def test_all_watchers_may_fail(tmp_path: Path) -> None:
    found = run(tmp_path, Listener("sample ramp"), Bystander("stage hold"), Bystander("summary final"))
    assert [reason.partition(":")[0] for reason in found.reasons] == [
        "watcher Listener",
        "watcher Bystander",
        "watcher Bystander",
    ]
    assert (found.outcome, load(found.run).summary) == ("ok", found)


@pytest.mark.parametrize("part", ["stage", "sample", "summary"])
def test_a_record_that_fails_by_our_own_fault_is_missed(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run was for is done, and its connections are accounted for; without its record it falls short."""

    def fail(self: Journal, *told: object) -> None:
        raise ZeroDivisionError("by our own fault")

    monkeypatch.setattr(Journal, part, fail)
    found = run(tmp_path, Bystander())
    assert (found.outcome, found.connections.opened) == ("shortfall", 200)
    (reason,) = found.reasons
    assert reason.startswith("record: ZeroDivisionError: by our own fault (test_watchers.py, line ")
    assert "Traceback" in capsys.readouterr().err


def test_only_who_wants_them_is_told_of_samples_that_were_not_asked_for() -> None:
    some, every = Listener(), Listener()
    every.takes_all_samples = True
    watchers = Watchers([some, every])
    watchers.sample(sample(stage="ramp"), reading(), was_asked_for=False)
    watchers.sample(sample(stage="hold"), reading(), was_asked_for=True)
    assert (some.told, every.told) == (["sample hold"], ["sample ramp", "sample hold"])


def test_a_watcher_that_fails_twice_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Hopeless(Watcher):
        def say(self, text: str) -> None:
            raise LookupError("first")

        def close(self) -> None:
            raise LookupError("second")

    hopeless, record = Hopeless(), Watcher()
    watchers = Watchers([hopeless])
    watchers.put_first(record)
    watchers.say("Hello.")
    watchers.summary(summary(), is_final=True)
    watchers.close()
    (words,) = watchers.failures(besides=record)
    assert words.startswith("watcher Hopeless: LookupError: first (")
    assert watchers.failure_of(record) is None
    shown = capsys.readouterr().err
    assert "LookupError: first" in shown
    assert "LookupError: second" in shown


@dataclass
class Equal(Watcher):
    """Of which any two are equal."""

    fails: bool = field(compare=False)
    told: list[str] = field(default_factory=list, compare=False)

    def say(self, text: str) -> None:
        self.told.append(text)
        if self.fails:
            raise ZeroDivisionError


def test_who_failed_is_told_nothing_more_and_not_who_is_equal_to_it() -> None:
    good, bad = Equal(fails=False), Equal(fails=True)
    assert good == bad
    watchers = Watchers([good, bad])
    watchers.say("one")
    watchers.say("two")
    assert (good.told, bad.told) == (["one", "two"], ["one"])
    assert watchers.failure_of(good) is None


def test_an_error_that_can_not_be_told_in_words_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError("no words")

    class Failing(Watcher):
        def say(self, text: str) -> None:
            raise Mute

    watchers = Watchers([Failing()])
    watchers.say("Hello.")
    (words,) = watchers.failures(besides=Watcher())
    assert words.startswith("watcher Failing: Mute: it can't be told in words (test_watchers.py, line ")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_failure_of_a_watcher_goes_on(error: type[BaseException]) -> None:
    class Ending(Watcher):
        def say(self, text: str) -> None:
            raise error

    with pytest.raises(error):
        Watchers([Ending()]).say("Hello.")


def test_a_broken_standard_error_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stderr", Broken())
    watchers = Watchers([Listener("say Hello.")])
    watchers.say("Hello.")
    assert len(watchers.failures(besides=Watcher())) == 1
