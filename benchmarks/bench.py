"""`make bench`: floodtest and the C yardstick in turn, in each network, at the same size; prints medians of ratios.

Three rates: connections opened, ticks delivered (the same to all), and messages delivered by the friend graph, asked
for more than the machine carries; the last two are held against the yardstick's broadcast.

The machine's speed drifts, and memory that was never touched costs more than memory that was, so only runs next to each
other are compared: each round runs all, every other round in the opposite order, and a ratio is taken within a round:
floodtest against the yardstick in the host's network and in one of their own, and floodtest there against the host's.
Sizes that this machine can't hold are left out, and said to be.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph
from floodtest.flyweight.machine.files import cores, raise_files_limit, read_memory
from floodtest.flyweight.machine.sockets import read_sockets
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.demand import Demand
from floodtest.loadgen.preflight.fit import fit
from floodtest.loadgen.preflight.machine import Machine

SOURCE = Path(__file__).with_name("yardstick.c")
TICKS = 3
MESSAGES, MESSAGE_SECONDS = 100_000, 10
FRIENDS = 15
SETTLE_SECONDS = 120
SETTLED_BYTES = 16 << 20
"""Slab memory that a kernel which frees nothing more may still give back in half a second."""

NETWORKS = ("host", "isolated")


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


def run_yardstick(program: Path, connections: int, network: str) -> Figures:
    """Run the C loop, which knows of no friends: its broadcast stands for both ways to deliver."""
    arguments = ["--connections", str(connections), "--rounds", str(TICKS)]
    within = [sys.executable, "-P", "-m", "benchmarks.isolate", str(connections)] if network == "isolated" else []
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parents[1])}
    command = [*within, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    summary = json.loads(done.stdout)
    delivery = _median_of_ticks(summary)
    return Figures(summary["ramp"]["per_second"], delivery, delivery)


def write_friends(connections: int, folder: Path) -> Path:
    """Make the friends of so many users."""
    file = folder / f"friends-{connections}.npy"
    write_pairs(file, friend_graph(connections, min(FRIENDS, connections - 1), seed=1), "npy")
    return file


def run_floodtest(connections: int, friends: Path, out: Path, network: str) -> Figures:
    """Run floodtest; its ticks are far enough apart that none waits for the one before."""
    apart = max(2.0, connections / 50_000)
    ticks = ["--tick", f"{apart}s", "--hold", f"{apart * (TICKS - 0.5)}s"]
    messages = ["--friends", str(friends), "--messages", f"{MESSAGES}/s", "--message-seconds", str(MESSAGE_SECONDS)]
    kind = ["--network", network, "--connections", str(connections)]
    arguments = ["--json", "--no-report", "--out", str(out), *kind, *ticks, *messages]
    done = subprocess.run([sys.executable, "-P", "-m", "floodtest", "run", *arguments], capture_output=True, text=True)
    summary = json.loads(done.stdout or "{}")
    found = summary.get("messages")
    if found is None or found["lost"] or found["duplicated"] or summary["connections"]["peak_open"] != connections:
        sys.exit(f"bench: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Figures(summary["ramp"]["per_second"], _median_of_ticks(summary), found["per_second"])


def _median_of_ticks(summary: dict[str, Any]) -> float:
    return statistics.median([float(tick["per_second"]) for tick in summary["ticks"]])


def settle() -> None:
    """Wait until the kernel has closed the sockets of the run before, those of a network that is gone among them."""
    until, before = time.monotonic() + SETTLE_SECONDS, 1 << 62
    while time.monotonic() < until:
        slab = read_memory().slab
        if read_sockets().tcp_inuse <= 1000 and slab > before - SETTLED_BYTES:
            break
        before = slab
        time.sleep(0.5)  # the kernel has no event for it
    time.sleep(1)  # what it frees behind the sockets


def demand(size: int) -> Demand:
    """Return what a run of this size asks of the machine."""
    return Demand(Plan(-(-size // 62_000), 62_000, "127.0.1.1", 1024, size), traffic=True)


Runner = Callable[[], Figures]


def pairs_of(networks: Sequence[str]) -> list[tuple[str, str]]:
    """Return which runners are held against which."""
    pairs = [(f"floodtest {network}", f"C {network}") for network in networks]
    return [*pairs, ("floodtest isolated", "floodtest host")] if len(networks) > 1 else pairs


def compare(size: int, rounds: int, runners: dict[str, Runner], pairs: list[tuple[str, str]]) -> None:
    """Run all in turn and print each round, then the medians of their ratios."""
    rows: list[dict[str, dict[str, float]]] = []
    for number in range(rounds):
        row: dict[str, dict[str, float]] = {}
        for name in list(runners) if number % 2 == 0 else reversed(runners):
            settle()
            row[name] = asdict(runners[name]())
            figures = ", ".join(f"{what} {rate:,.0f}/s" for what, rate in row[name].items())
            print(f"{size:>9,}  round {number + 1}: {name}: {figures}", flush=True)
        rows.append(row)
    for one, other in pairs:
        medians = (
            f"{what} {statistics.median(row[one][what] / row[other][what] for row in rows):.2f}"
            for what in rows[0][one]
        )
        print(f"{size:>9,}  {one} / {other}, medians of {rounds}: {', '.join(medians)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[190_000, 1_054_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--networks", choices=NETWORKS, nargs="+", default=list(NETWORKS))
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
            friends = write_friends(size, Path(folder))
            runners: dict[str, Runner] = {}
            for network in options.networks:
                runners[f"C {network}"] = partial(run_yardstick, program, size, network)
                runners[f"floodtest {network}"] = partial(run_floodtest, size, friends, Path(folder) / "runs", network)
            compare(size, options.rounds, runners, pairs_of(options.networks))


if __name__ == "__main__":
    main()
