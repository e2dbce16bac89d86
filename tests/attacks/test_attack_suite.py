"""tests.attacks: the suite tells what an attack finds, and what is wrong with an attack; the attacks are played."""

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.attacks import __main__ as command_line
from tests.attacks import suite
from tests.attacks.order import Attack, Order, Tally
from tests.attacks.suite import Result, attack_apart, attack_here, repeat_line, run_suite, table

WELL = Tally(Counter({"kills of a front": 1200}), Counter({"exit 4": 1199, "exit 0": 1}), ["12.5 s at the most"])


def play(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `kills` be this attack."""
    module = ModuleType("tests.attacks.kills")
    module.attack = attack  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests.attacks.kills", module)


def order(folder: Path, share: float = 1.0, seed: int = 1) -> Order:
    return Order("kills", seed, share, folder)


def test_a_seed_repeats_an_attack_and_a_share_makes_it_small(tmp_path: Path) -> None:
    first, again, other = order(tmp_path), order(tmp_path), order(tmp_path, seed=2)
    assert first.random.random() == first.random.random() == again.random.random() != other.random.random()
    assert [order(tmp_path, share).count(70) for share in (1, 0.5, 0.01, 0.0001)] == [70, 35, 1, 1]


def test_what_an_attack_returns_comes_back_from_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(lambda _: WELL, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["attacks", "--here", str(tmp_path), *repeat_line("kills", 1, 0.25)])
    assert command_line.main() == 0
    said = capsys.readouterr().out

    def run(line: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert line[-6:] == ["--only", "kills", "--seed", "1", "--share", "0.25"]
        return subprocess.CompletedProcess(line, 0, said)

    monkeypatch.setattr(subprocess, "run", run)
    assert attack_apart("kills", 1, 0.25, tmp_path).tally == WELL


def test_an_attack_is_told_how_it_is_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Order] = []

    def attack(order: Order) -> Tally:
        told.append(order)
        return Tally()

    play(attack, monkeypatch)
    monkeypatch.setattr(
        sys, "argv", ["attacks", "--here", str(tmp_path), "--only", "kills", "--seed", "7", "--share", "0.5"]
    )
    assert command_line.main() == 0
    assert told == [Order("kills", 7, 0.5, tmp_path)]


def test_an_attack_that_raises_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def attack(order: Order) -> Tally:
        raise LookupError("where is it?")

    play(attack, monkeypatch)
    (fault,) = attack_here(order(tmp_path)).faults
    assert fault.startswith("the attack ended early, in test_attack_suite.py, line ")
    assert fault.endswith(": LookupError: where is it?")


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        (subprocess.CompletedProcess([], -9, ""), "exit code -9"),
        (subprocess.TimeoutExpired([], 1), "the attack was not over after 1200 s"),
    ],
)
def test_an_attack_whose_process_does_not_end_well_is_a_fault(
    end: Any, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(line: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(end, Exception):
            raise end
        ended: subprocess.CompletedProcess[str] = end
        return ended

    monkeypatch.setattr(subprocess, "run", run)
    assert attack_apart("kills", 1, 1, tmp_path).tally.faults == [fault]


def test_the_table_has_a_row_an_attack_and_each_fault_with_the_line_that_repeats_it() -> None:
    ill = Tally(Counter({"heads": 3}), Counter({"431": 2}), [], ["it hung.", "it crashed."])
    assert table([Result("kills", 61.7, WELL), Result("heads", 2.2, ill)], 5, 0.25).splitlines() == [
        "| attack | did | saw | faults | seconds |",
        "|---|---|---|---|---|",
        "| kills | 1,200 kills of a front | 1,199 exit 4, 1 exit 0; 12.5 s at the most | 0 | 62 |",
        "| heads | 3 heads | 2 431 | 2 | 2 |",
        "",
        "- heads: it hung. To repeat: `python -m tests.attacks --only heads --seed 5 --share 0.25`",
        "- heads: it crashed. To repeat: `python -m tests.attacks --only heads --seed 5 --share 0.25`",
    ]


@pytest.mark.parametrize(("faults", "code"), [([], 0), (["it hung."], 1)])
def test_a_fault_gives_exit_code_1(
    faults: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def attack_apart(name: str, seed: int, share: float, folder: Path) -> Result:
        return Result(name, 1.0, Tally(faults=faults if name == "heads" else []))

    monkeypatch.setattr(suite, "attack_apart", attack_apart)
    monkeypatch.setattr(sys, "argv", ["attacks", "--only", "heads", "--only", "kills", "--seed", "3"])
    assert command_line.main() == code
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines()[2:4]] == ["kills", "heads"]
    assert ("`python -m tests.attacks --only heads --seed 3 --share 1`" in said) == bool(faults)
    assert "seed 3, share 1, " in said


def test_lanes_run_beside_each_other_and_attacks_of_a_lane_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = {"one": ("kills", "churn"), "two": ("heads",)}
    began: list[str] = []
    both = threading.Barrier(2)
    folders = []

    def attack_apart(name: str, seed: int, share: float, folder: Path) -> Result:
        assert list(folder.iterdir()) == []
        folders.append(folder)
        if name != "churn":
            both.wait(20)  # who of the other lane has begun as well
        began.append(name)
        return Result(name, 1.0, Tally())

    monkeypatch.setattr(suite, "LANES", lanes)
    monkeypatch.setattr(suite, "ATTACKS", ("kills", "churn", "heads"))
    monkeypatch.setattr(suite, "attack_apart", attack_apart)
    assert [result.name for result in run_suite(("churn", "heads", "kills"), 1, 1)] == ["kills", "churn", "heads"]
    assert began.index("kills") < began.index("churn")
    assert len(set(folders)) == 3
    assert not any(folder.exists() for folder in folders)


def test_a_tally_can_be_written_as_json() -> None:
    """The counters, too, whose keys are words."""
    assert json.loads(json.dumps(vars(WELL)))["did"] == {"kills of a front": 1200}
