"""loadgen.commands.run_series and repeating: runs one after another, what ends them, what they show at their end."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from floodtest.analysis import RecordWriter, load
from floodtest.flyweight.errors import ExitCode
from floodtest.loadgen.commands import repeating
from floodtest.loadgen.commands import run_series as series_module
from floodtest.loadgen.commands.run_series import (
    Ended,
    alternating,
    how_run_ended,
    run_in_turn,
    run_series,
    without_option,
    worst,
)
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.rules import problems
from tests.rigs.figures import MIB, sample, start, summary
from tests.rigs.support import OURS, run_here

OK, SHORT, REFUSED, FAULT, INTERRUPTED = (
    ExitCode.OK,
    ExitCode.SHORTFALL,
    ExitCode.REFUSED,
    ExitCode.FAULT,
    ExitCode.INTERRUPTED,
)


@pytest.mark.parametrize(
    ("codes", "ran", "code"),
    [
        ((OK, OK, OK), 3, OK),
        ((OK, SHORT, OK), 3, SHORT),
        ((SHORT, REFUSED, OK), 2, REFUSED),
        ((OK, FAULT, OK), 2, FAULT),
        ((SHORT, INTERRUPTED, OK), 2, INTERRUPTED),
    ],
)
def test_a_series_goes_on_after_a_shortfall_and_ends_after_all_else(
    codes: tuple[ExitCode, ...], ran: int, code: ExitCode
) -> None:
    left = list(codes)

    async def run_one(words: Sequence[str]) -> Ended:
        return Ended(left.pop(0), None)

    ended = trio.run(run_in_turn, [["run"]] * len(codes), run_one)
    assert len(ended) == ran
    assert worst(ended) == code


def test_what_a_run_said_and_its_status_are_how_it_ended() -> None:
    said = msgspec.json.encode(summary())
    assert how_run_ended(0, said) == Ended(OK, summary())
    assert how_run_ended(4, said).has_figures
    assert how_run_ended(130, said).has_figures  # its report was interrupted
    assert not how_run_ended(130, msgspec.json.encode(summary(outcome="interrupted"))).has_figures
    assert how_run_ended(3, b'{"format": 2, "run": null, "outcome": "refused", "reasons": []}') == Ended(REFUSED, None)
    assert how_run_ended(-9, b"") == how_run_ended(77, b"") == Ended(FAULT, None)


def test_sides_take_turns_so_that_neither_is_first_more_often() -> None:
    assert alternating(4) == [0, 1, 1, 0, 0, 1, 1, 0]
    assert alternating(1) == [0, 1]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--repeat", "3", "--rate", "5"], ["--rate", "5"]),
        (["--fit", "--repeat=3", "--rate=5"], ["--fit", "--rate=5"]),
        (["--send", "--repeat", "--repeat", "2"], ["--send", "--repeat"]),
        (["--clock-offset", "-0.5", "--repeat", "2"], ["--clock-offset", "-0.5"]),
        (["--repeat"], []),
    ],
)
def test_an_option_is_taken_out_of_a_command_line_with_its_text_alone(words: list[str], kept: list[str]) -> None:
    assert without_option(["run", *words], "--repeat", ["--fit"]) == ["run", *kept]


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "-x", "a b", "x" * 61])
def test_a_name_is_one_that_a_file_can_have(name: str, tmp_path: Path) -> None:
    assert problems(RunOptions(Plan(1, 20, "127.0.1.1", 1024, 20), name=name))
    done = run_here("floodtest", "plan", "--connections", "20", f"--name={name}", cwd=tmp_path)
    assert done.returncode == 2
    assert "--name takes a name of up to 60 letters" in done.stderr


def test_records_of_a_name_are_numbered(tmp_path: Path) -> None:
    for name in ("a-1", "a-2"):
        writer = RecordWriter(tmp_path, "a", is_numbered=True)
        writer.close()
        assert writer.folder.name == name


class Interruptible:
    """Stands for a process that sends its parent a signal once it is waited for, and ends when that is passed on."""

    def __init__(self, *arguments: str, stdout: int) -> None:
        self._is_over = trio.Event()
        os.write(stdout, msgspec.json.encode(summary(outcome="interrupted")))

    async def wait(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await self._is_over.wait()
        return -signal.SIGINT

    def interrupt(self) -> None:
        self._is_over.set()


def test_a_signal_is_passed_on_and_ends_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_module, "launch", Interruptible)
    (ended,) = run_series([["run"]] * 3)
    assert ended == Ended(INTERRUPTED, summary(outcome="interrupted"))
    assert not ended.has_figures


# -- with runs that are made up --------------------------------------------------------------------------------------


class MadeUp:
    """Stands for the processes of runs: each writes a record, of which a server takes more memory with `tasks`."""

    def __init__(self, out: Path, *codes: ExitCode) -> None:
        self._out = out
        self._codes = list(codes)
        self.lines: list[Sequence[str]] = []

    def run(self, lines: Sequence[Sequence[str]]) -> list[Ended]:
        async def run_one(words: Sequence[str]) -> Ended:
            self.lines.append(words)
            return self._write(words, self._codes.pop(0) if self._codes else OK)

        return trio.run(run_in_turn, [*lines], run_one)

    def _write(self, words: Sequence[str], code: ExitCode) -> Ended:
        name = words[len(words) - list(reversed(words)).index("--name")]
        writer = RecordWriter(self._out, name, is_numbered=True)
        outcome: Any = "ok" if code == OK else "shortfall"
        told = summary(run=str(writer.folder), outcome=outcome)
        command, options = " ".join(words), {"target": None, "name": name}
        writer.write_run({"command": command, "options": options, "host": {}, "summary": msgspec.to_builtins(told)})
        each = (2000 if "tasks" in words else 1000) + len(self.lines)
        for at in range(11):
            size = {"open": at * 100, "server_private": 30 * MIB + at * 100 * each}
            writer.write_sample(sample(time=at, stage="ramp", **size) if at else start(**size))
        writer.close()
        return Ended(code, None if code == REFUSED else told)


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    found = MadeUp(tmp_path)
    monkeypatch.setattr(repeating, "run_series", found.run)
    return found


def test_a_repeated_run_prints_the_scatter_of_its_figures(made_up: MadeUp, tmp_path: Path) -> None:
    done = run_here("floodtest", "run", "--connections", "20", "--repeat", "3", "--name", "few", "--fit")
    assert done.returncode == 0, done.stderr
    assert made_up.lines == [["run", "--connections", "20", "--name", "few", "--fit"]] * 3
    assert done.stdout.startswith(f"3 runs: {', '.join(str(tmp_path / f'few-{at}') for at in (1, 2, 3))}\n")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("server, user memory, one more connection")]
    assert line.split("connection")[1].split() == ["1,002", "B", "(1,001", "to", "1,003)"]
    assert done.stderr.splitlines() == ["Run 1 of 3.", "Run 2 of 3.", "Run 3 of 3."]


def test_a_series_without_a_name_is_called_by_its_time_and_its_json_has_every_run(
    made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up._codes = [OK, SHORT]
    monkeypatch.setattr(repeating, "now", lambda: "20261130-120000")
    done = run_here("floodtest", "run", "--connections", "20", "--repeat=2", "--json")
    assert done.returncode == 4
    told = json.loads(done.stdout)
    assert told["outcome"] == "shortfall"
    assert [Path(one["run"]).name for one in told["runs"]] == ["20261130-120000-1", "20261130-120000-2"]
    (group,) = told["table"]["groups"]
    assert group["name"] == "20261130-120000"
    (remark,) = told["table"]["remarks"]
    assert remark.endswith("20261130-120000-2 ended as shortfall.")


def test_a_series_whose_first_run_is_refused_shows_nothing(made_up: MadeUp) -> None:
    made_up._codes = [REFUSED]
    done = run_here("floodtest", "run", "--connections", "20", "--repeat", "2")
    assert (done.returncode, done.stdout, len(made_up.lines)) == (3, "", 1)


SIDES = ("--a", "--server-model columns", "--b", "--server-model tasks")


def test_two_sides_are_run_in_turn_and_compared(
    made_up: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "now", lambda: "now")
    done = run_here("floodtest", "ab", *SIDES, "--connections", "20", "--rate=50", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [words[-3] for words in made_up.lines] == ["columns", "tasks", "tasks", "columns", "columns", "tasks"]
    common = ["--connections", "20", "--rate=50", "--no-report"]
    assert made_up.lines[1] == ["run", "--name", "b", *common, "--server-model", "tasks", "--out", "runs/ab-now"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("server, user memory, one more connection")]
    assert ", significant (" in line
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("client, user memory, one more connection")]
    assert ", significant" not in line
    assert done.stderr.splitlines()[-1] == "comparison: runs/ab-now/compare.html"
    assert (tmp_path / "runs/ab-now/compare.html").exists()


def test_a_comparison_takes_a_run_of_each_side(made_up: MadeUp, tmp_path: Path) -> None:
    made_up._codes = [OK, REFUSED]
    done = run_here("floodtest", "ab", *SIDES, "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads(done.stdout)["table"] is None
    assert (
        done.stderr.splitlines()[-1]
        == "There is no comparison: not both sides have a run that came to its end and whose record can be read."
    )


def test_a_record_that_can_t_be_read_is_named_and_the_others_are_shown(made_up: MadeUp, tmp_path: Path) -> None:
    def spoil(words: Sequence[str], code: ExitCode) -> Ended:
        ended = MadeUp._write(made_up, words, code)
        if len(made_up.lines) == 2:
            (tmp_path / "few-2" / "run.json").write_text("{")
        return ended

    made_up._write = spoil  # type: ignore[method-assign]
    done = run_here("floodtest", "run", "--connections", "20", "--repeat", "3", "--name", "few")
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "2 runs")
    (said,) = [line for line in done.stderr.splitlines() if "few-2" in line]
    assert said.endswith("The run is left out of the table.")


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (("--a", "--rate x", "--b", ""), "With the options of --a: --rate takes a number a second"),
        (("--a", "", "--b", "--ports explicit --client httpx"), "With the options of --b: --ports explicit is not for"),
        (("--a", "", "--b", "--repeat 3"), "With the options of --b: No such option: --repeat"),
        (("--a", "--help", "--b", ""), "With the options of --a: No such option: --help"),
        (("--a", "-h", "--b", ""), "With the options of --a: No such option: -h"),
        (("--a", "", "--b", "--version"), "With the options of --b: No such option: --version"),
        (("--a", "", "--b", "here"), "With the options of --b: Got unexpected extra argument"),
        (("--a", "'", "--b", ""), "--a can't be taken apart into options: No closing quotation."),
    ],
)
def test_both_command_lines_are_checked_before_the_first_run(
    sides: tuple[str, ...], said: str, made_up: MadeUp, tmp_path: Path
) -> None:
    done = run_here("floodtest", "ab", *sides, "--connections", "20", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not made_up.lines


# -- with a run ------------------------------------------------------------------------------------------------------


def test_a_run_of_a_series_is_a_process_with_a_record_of_the_name(tmp_path: Path) -> None:
    line = ("--connections", "20", "--hold", "0", "--no-report", "--out", str(tmp_path), "--name", "few", *OURS)
    done = run_here("floodtest", "run", *line, "--repeat", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["run"] for one in told["runs"]] == [str(tmp_path / f"few-{at}") for at in (1, 2)]
    record = load(tmp_path / "few-2")
    assert record.part("options")["name"] == "few"
    assert record.run["command"].startswith("floodtest run --connections 20 ")
    assert "--repeat" not in record.run["command"]
