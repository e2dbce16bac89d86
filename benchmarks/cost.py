"""`python -m benchmarks.cost`: what one more user costs servers that are not ours, beside what /proc says, as a table.

The servers are those of the tests (`tests/rigs/foreign.py`), each started anew for each run, as fast as it goes and at
`RATE` connections a second. What /proc says is read beside the run, by psutil: the private memory of the server's
process while all connections are held, less that before the first, over the connections. A figure should differ by no
more than 5%, or carry a doubt.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.rigs.foreign import SERVERS
from tests.rigs.support import OURS

NAMES = ("starlette on uvicorn", "express and ws")
SIZES = (1000, 3000, 6000)
RATE = 600
HOLD, WITHIN = 7.0, 4.0
"""Seconds that connections are held, and the last of these in which memory is read."""

PERIOD = 0.15
"""Seconds between two readings."""

HEAD = "| server | connections | rate | said | interval | /proc | off | doubt |\n|---|---|---|---|---|---|---|---|"

Reading = tuple[float, int, int]
"""When, the server's open files, and its private memory."""


@contextmanager
def watched(pid: int) -> Iterator[list[Reading]]:
    """Read a process until the block ends."""
    process, readings, is_over = psutil.Process(pid), list[Reading](), threading.Event()

    def read() -> None:
        while not is_over.wait(PERIOD):
            readings.append((time.monotonic(), process.num_fds(), process.memory_full_info().uss))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield readings
    finally:
        is_over.set()
        thread.join()


def cost_by(readings: Sequence[Reading], connections: int) -> float:
    """Return the bytes of one connection, by readings from before the first to the end of the hold."""
    least = readings[0][1]
    before = next(at for at, (_, files, _) in enumerate(readings) if files > least) - 1
    held = [(when, size) for when, files, size in readings if files >= least + connections]
    late = median(size for when, size in held if when > held[-1][0] - WITHIN)
    return (late - readings[before][2]) / connections


def run(name: str, connections: int, rate: int | None, folder: Path) -> tuple[dict[str, Any], float]:
    """Run against a server that is started for it; return the summary, and what /proc says of a connection."""
    server = SERVERS[name]
    with server.started(folder) as served:
        time.sleep(1)  # until what it takes to start is there
        line = [
            *(sys.executable, "-P", "-m", "floodtest", "run", "--json", "--no-report", "--out", str(folder / "runs")),
            *(*OURS, "--target", f"http://{served.at}{server.streams['sse']}", "--open-when", "text:subscribed"),
            *("--connections", str(connections), "--hold", str(HOLD), "--connect-timeout", "60"),
            *(() if rate is None else ("--rate", str(rate))),
        ]
        with watched(served.pid) as readings:
            done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"cost: {name}: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout), cost_by(readings, connections)


def row(name: str, connections: int, rate: int | None, summary: dict[str, Any], truth: float) -> str:
    """Return a row of the table."""
    cost = summary["memory"]["server"]
    interval = "-" if cost["low"] is None else f"{cost['low'] / 1024:.1f} to {cost['high'] / 1024:.1f}"
    cells = [
        name,
        f"{connections:,}",
        "as it goes" if rate is None else f"{rate}/s",
        f"{cost['one_more'] / 1024:.1f} KiB",
        interval,
        f"{truth / 1024:.1f} KiB",
        f"{cost['one_more'] / truth - 1:+.1%}",
        "no" if cost["doubt"] is None else "yes",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--only", default="", metavar="WORD", help="servers with this in their name")
    options = parser.parse_args()
    print(HEAD, flush=True)
    for name in NAMES:
        if options.only not in name:
            continue
        if (missing := SERVERS[name].missing) is not None:
            print(f"left out: {name}: {missing}", file=sys.stderr)
            continue
        for connections in options.sizes:
            for rate in (None, RATE):
                with tempfile.TemporaryDirectory() as folder:
                    print(row(name, connections, rate, *run(name, connections, rate, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
