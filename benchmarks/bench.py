"""`make bench`: floodtest and the C yardstick in turn, A B A B, at the same size; prints medians and their ratios.

Three rates: connections opened, ticks delivered (the same to all), and messages delivered by the friend graph, asked
for more than the machine carries; the last two are held against the yardstick's broadcast.

The machine's speed drifts, and memory that was never touched costs more than memory that was, so only runs next to each
other are compared: each round runs both, every other round in the opposite order, and a ratio is taken within a round.
Sizes that this machine can't hold are left out, and said to be.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datagen.files import write_pairs
from datagen.graph import friend_graph
from flyweight.limits import cores, raise_files_limit, read_memory
from flyweight.sockets import read_sockets
from loadgen.host.demand import Demand
from loadgen.host.machine import Machine
from loadgen.host.preflight import fit
from loadgen.plan import Plan

SOURCE = Path(__file__).with_name("yardstick.c")
TICKS = 3
MESSAGES, MESSAGE_SECONDS = 100_000, 10
FRIENDS = 15
SETTLE_SECONDS = 120


@dataclass(frozen=True)
class Figures:
    """One run: connections opened a second, deliveries a second, in the median of its ticks and by messages."""

    opening: float
    delivery: float
    messages: float


def compile_yardstick(folder: Path) -> Path:
    """Compile the yardstick; SystemExit where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("bench: there is no C compiler (cc or gcc); the yardstick needs one, nothing else does.")
    program = folder / "yardstick"
    subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


def run_yardstick(program: Path, connections: int) -> Figures:
    """Run the C loop, which knows of no friends: its broadcast stands for both ways to deliver."""
    arguments = ["--connections", str(connections), "--rounds", str(TICKS)]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    delivery = _median_of_ticks(summary)
    return Figures(summary["ramp"]["per_second"], delivery, delivery)


def write_friends(connections: int, folder: Path) -> Path:
    """Make the friends of so many users."""
    file = folder / f"friends-{connections}.npy"
    write_pairs(file, friend_graph(connections, min(FRIENDS, connections - 1), seed=1), "npy")
    return file


def run_floodtest(connections: int, friends: Path, out: Path) -> Figures:
    """Run floodtest; its ticks are far enough apart that none waits for the one before."""
    apart = max(2.0, connections / 50_000)
    ticks = ["--tick", f"{apart}s", "--hold", f"{apart * (TICKS - 0.5)}s"]
    messages = ["--friends", str(friends), "--messages", f"{MESSAGES}/s", "--message-seconds", str(MESSAGE_SECONDS)]
    arguments = ["--json", "--out", str(out), "--connections", str(connections), *ticks, *messages]
    done = subprocess.run([sys.executable, "-P", "-m", "loadgen", "run", *arguments], capture_output=True, text=True)
    summary = json.loads(done.stdout or "{}")
    found = summary.get("messages")
    if found is None or found["lost"] or found["duplicated"] or summary["connections"]["peak_open"] != connections:
        sys.exit(f"bench: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Figures(summary["ramp"]["per_second"], _median_of_ticks(summary), found["per_second"])


def _median_of_ticks(summary: dict[str, Any]) -> float:
    return statistics.median([float(tick["per_second"]) for tick in summary["ticks"]])


def settle() -> None:
    """Wait until the kernel has closed the sockets of the run before."""
    until = time.monotonic() + SETTLE_SECONDS
    while read_sockets().tcp_inuse > 1000 and time.monotonic() < until:
        time.sleep(0.5)  # the kernel has no event for it
    time.sleep(1)  # what it frees behind the sockets


def demand(size: int) -> Demand:
    """Return what a run of this size asks of the machine."""
    return Demand(Plan(-(-size // 62_000), 62_000, "127.0.1.1", 1024, size), traffic=True)


def compare(size: int, rounds: int, yardstick: Callable[[], Figures], floodtest: Callable[[], Figures]) -> None:
    """Run both in turn and print each round, then the medians."""
    rows: list[dict[str, float]] = []
    for number in range(rounds):
        found: dict[str, Figures] = {}
        both = [("c", yardstick), ("py", floodtest)]
        for name, runner in both if number % 2 == 0 else reversed(both):
            settle()
            found[name] = runner()
        c, py = asdict(found["c"]), asdict(found["py"])
        rows.append({what: py[what] / c[what] for what in c})
        figures = (f"{what} C {c[what]:,.0f}/s, floodtest {py[what]:,.0f}/s, ratio {rows[-1][what]:.2f}" for what in c)
        print(f"{size:>9,}  round {number + 1}: {'; '.join(figures)}", flush=True)
    medians = (f"{what} {statistics.median(row[what] for row in rows):.2f}" for what in rows[0])
    print(f"{size:>9,}  medians of {rounds}, of the yardstick's rates: {', '.join(medians)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[190_000, 1_054_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {cores()} cores, {read_memory().total / 2**30:.1f} GiB, "
        f"{raise_files_limit():,} files a process, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        program = compile_yardstick(Path(folder))
        for size in options.sizes:
            if (bound := fit(Machine(), demand(size))).connections < size:
                print(f"{size:>9,}  left out: {bound.reason}")
                continue
            compare(
                size,
                options.rounds,
                yardstick=partial(run_yardstick, program, size),
                floodtest=partial(run_floodtest, size, write_friends(size, Path(folder)), Path(folder) / "runs"),
            )


if __name__ == "__main__":
    main()
