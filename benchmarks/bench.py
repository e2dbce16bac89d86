"""`make bench`: floodtest and the C yardstick in turn, A B A B, at the same size; prints medians and their ratios.

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flyweight.limits import cores, raise_files_limit, read_memory
from flyweight.sockets import read_sockets
from loadgen.host import fit

SOURCE = Path(__file__).with_name("yardstick.c")
TICKS = 3
SETTLE_SECONDS = 120


@dataclass(frozen=True)
class Figures:
    """One run: connections opened a second, median deliveries a second of its ticks."""

    opening: float
    delivery: float


def compile_yardstick(folder: Path) -> Path:
    """Compile the yardstick; SystemExit where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("bench: there is no C compiler (cc or gcc); the yardstick needs one, nothing else does.")
    program = folder / "yardstick"
    subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], check=True)
    return program


def run_yardstick(program: Path, connections: int) -> Figures:
    """Run the C loop."""
    arguments = ["--connections", str(connections), "--rounds", str(TICKS)]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return _figures(json.loads(done.stdout))


def run_floodtest(connections: int, out: Path) -> Figures:
    """Run floodtest; its ticks are far enough apart that none waits for the one before."""
    apart = max(2.0, connections / 50_000)
    arguments = ["--connections", str(connections), "--tick", f"{apart}s", "--hold", f"{apart * (TICKS - 0.5)}s"]
    command = [sys.executable, "-P", "-m", "loadgen", "run", "--json", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return _figures(json.loads(done.stdout))


def _figures(summary: dict[str, object]) -> Figures:
    ramp, ticks = summary["ramp"], summary["ticks"]
    assert isinstance(ramp, dict)
    assert isinstance(ticks, list)
    return Figures(ramp["per_second"], statistics.median(tick["per_second"] for tick in ticks))


def settle() -> None:
    """Wait until the kernel has closed the sockets of the run before."""
    until = time.monotonic() + SETTLE_SECONDS
    while read_sockets().tcp_inuse > 1000 and time.monotonic() < until:
        time.sleep(0.5)  # the kernel has no event for it
    time.sleep(1)  # what it frees behind the sockets


def compare(size: int, rounds: int, yardstick: Callable[[], Figures], floodtest: Callable[[], Figures]) -> None:
    """Run both in turn and print each round, then the medians."""
    pairs: list[tuple[Figures, Figures]] = []
    for number in range(rounds):
        found: dict[str, Figures] = {}
        both = [("c", yardstick), ("py", floodtest)]
        for name, runner in both if number % 2 == 0 else reversed(both):
            settle()
            found[name] = runner()
        c, py = found["c"], found["py"]
        pairs.append((c, py))
        print(
            f"{size:>9,}  round {number + 1}: opening C {c.opening:>8,.0f}/s, floodtest {py.opening:>8,.0f}/s, "
            f"ratio {py.opening / c.opening:.2f}; delivery C {c.delivery:>8,.0f}/s, floodtest {py.delivery:>8,.0f}/s, "
            f"ratio {py.delivery / c.delivery:.2f}",
            flush=True,
        )
    opening = statistics.median(py.opening / c.opening for c, py in pairs)
    delivery = statistics.median(py.delivery / c.delivery for c, py in pairs)
    print(
        f"{size:>9,}  medians of {rounds}: opening {opening:.2f} of the yardstick, delivery {delivery:.2f}", flush=True
    )


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
            if (bound := fit(size)).connections < size:
                print(f"{size:>9,}  left out: {bound.reason}")
                continue
            compare(
                size,
                options.rounds,
                yardstick=partial(run_yardstick, program, size),
                floodtest=partial(run_floodtest, size, Path(folder) / "runs"),
            )


if __name__ == "__main__":
    main()
