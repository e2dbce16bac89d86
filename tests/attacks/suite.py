"""The attack suite: runs attacks in lanes side by side, and makes the table of what they did and saw.

In: the names of attacks, a seed and a share. Out: a result for each, whose faults say how to repeat the attack. An
attack runs in a process of its own, so that one that hangs can be ended and one that fails takes no other along.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.attacks.order import Order, Tally

LANES: dict[str, tuple[str, ...]] = {
    "kill": ("kills", "cluster"),
    "churn": ("churn",),
    "peers": ("stops", "loads", "heads", "frames", "bodies", "streams", "crowd", "outputs", "limits"),
}
"""The attacks by what may run side by side: one of each lane at a time."""

ATTACKS = tuple(name for lane in LANES.values() for name in lane)

MOST_SECONDS = 1_200.0
"""No attack takes longer; one that does is ended, which is a fault."""


@dataclass(frozen=True)
class Result:
    """What came of one attack."""

    name: str
    seconds: float
    tally: Tally


def attack_here(order: Order) -> Tally:
    """Make an attack in this process."""
    try:
        tally: Tally = import_module(f"tests.attacks.{order.name}").attack(order)
    except Exception as error:  # whatever an attack fails of must be in the table
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        traceback.print_exc()
        return Tally(faults=[f"the attack ended early, in {where}: {type(error).__name__}: {error}"])
    return tally


def attack_apart(name: str, seed: int, share: float, folder: Path) -> Result:
    """Make an attack in a process of its own."""
    began = time.monotonic()
    line = [sys.executable, "-P", "-m", "tests.attacks", "--here", str(folder), *repeat_line(name, seed, share)]
    root = Path(__file__).parents[2]
    try:
        done = subprocess.run(line, cwd=root, stdout=subprocess.PIPE, text=True, timeout=MOST_SECONDS)
        tally = Tally(**json.loads(done.stdout)) if done.stdout else Tally(faults=[f"exit code {done.returncode}"])
    except subprocess.TimeoutExpired:
        tally = Tally(faults=[f"the attack was not over after {MOST_SECONDS:g} s"])
    return Result(name, time.monotonic() - began, tally)


def repeat_line(name: str, seed: int, share: float) -> list[str]:
    """Return the arguments that repeat an attack."""
    return ["--only", name, "--seed", str(seed), "--share", f"{share:g}"]


def run_suite(names: Sequence[str], seed: int, share: float) -> list[Result]:
    """Run attacks, those of a lane one after another; return their results in the order of the table."""
    results: dict[str, Result] = {}

    def run_lane(lane: Sequence[str], folder: Path) -> None:
        for name in lane:
            own = folder / name
            own.mkdir()
            results[name] = attack_apart(name, seed, share, own)

    with tempfile.TemporaryDirectory(prefix="floodtest-attack-") as folder:
        lanes = [[name for name in lane if name in names] for lane in LANES.values()]
        threads = [threading.Thread(target=run_lane, args=(lane, Path(folder))) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [results[name] for name in ATTACKS if name in results]


def table(results: Sequence[Result], seed: int, share: float) -> str:
    """Return the results as a table in Markdown, followed by each fault and the line that repeats its attack."""
    rows = ["| attack | did | saw | faults | seconds |", "|---|---|---|---|---|"]
    faults = []
    for result in results:
        tally = result.tally
        saw = "; ".join(filter(None, [_counts(tally.saw), *tally.notes]))
        rows.append(f"| {result.name} | {_counts(tally.did)} | {saw} | {len(tally.faults)} | {result.seconds:.0f} |")
        repeat = " ".join(repeat_line(result.name, seed, share))
        faults += [f"- {result.name}: {fault} To repeat: `python -m tests.attacks {repeat}`" for fault in tally.faults]
    return "\n".join(rows + (["", *faults] if faults else []))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
