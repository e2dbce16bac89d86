"""`python -m benchmarks.latency`: latency to the arrival, held against a server whose latency is known, as a table.

Each row is one `floodtest run --latency` against a server that sends 20,000 messages a second, each a known time after
what it says (`benchmarks.stamping_server`). What is told of the arrival should differ from the truth by no more than
0.1 ms, and the delay that was put in should be found, whatever the client itself adds until it has read.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.stamping_server import read_truth
from floodtest.loadgen.client import histogram

SIZES = (19_000, 100_000, 1_054_000)
DELAYS = (0.0, 5.0, 50.0)
"""Milliseconds."""

RATE, SECONDS = 20_000, 10
AFTER = 5
"""Seconds that connections are held behind the messages."""

HEAD = (
    "| connections | delay | truth p50, p99 | at arrival p50, p99 | delay found | read p50, p99 "
    "| client's own p50, p99 | sample: messages, connections, left out |\n|---|---|---|---|---|---|---|---|"
)


@contextmanager
def serving(connections: int, rate: float, seconds: float, delay: float, folder: Path) -> Iterator[int]:
    """Have the server, in a process group of its own; its port."""
    options = {"connections": connections, "rate": rate, "seconds": seconds, "delay": delay, "out": folder}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-P", "-m", "benchmarks.stamping_server", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def run(connections: int, rate: float, seconds: float, delay: float, folder: Path) -> dict[str, Any]:
    """Run floodtest against the server; return the summary."""
    with serving(connections, rate, seconds, delay, folder) as port:
        line = [
            *(sys.executable, "-P", "-m", "floodtest", "run", "--json", "--no-report", "--out", str(folder / "runs")),
            *("--target", f"http://127.0.0.1:{port}/", "--connections", str(connections)),
            *("--hold", f"{seconds + AFTER}s", "--latency", r"t=(?P<ns>\d+)", "--network", "host"),
        ]
        done = subprocess.run(line, capture_output=True, text=True)
    summary: dict[str, Any] = json.loads(done.stdout or "{}")
    if (
        not summary
        or summary["connections"]["peak_open"] != connections
        or not summary["client_share"]["sampled_messages"]
    ):
        sys.exit(f"latency: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return summary


def row(connections: int, delay: float, summary: dict[str, Any], truth: dict[int, int]) -> str:
    """Return a row of the table; times are milliseconds."""
    told = histogram.microseconds_at([0.5, 0.99], histogram.dense(truth))
    assert told is not None
    share = summary["client_share"]
    arrival, read = ([share[name][part] for part in ("p50", "p99")] for name in ("arrival_ms", "read_ms"))
    own = [late - early for late, early in zip(read, arrival, strict=True)]
    cells = [
        f"{connections:,}",
        f"{delay:g}",
        _pair([value / 1000 for value in told]),
        _pair(arrival),
        f"{arrival[0] / delay - 1:+.1%}" if delay else "",
        _pair(read),
        _pair(own),
        f"{share['sampled_messages']:,}, {share['sampled_connections']:,}, {share['shared']:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _pair(values: Sequence[float]) -> str:
    return ", ".join(f"{value:,.3f}" for value in values)


def print_table(
    sizes: Sequence[int], delays: Sequence[float] = DELAYS, rate: float = RATE, seconds: float = SECONDS
) -> None:
    """Make the runs one after another and print the table, in milliseconds; nothing where there are no sizes."""
    if sizes:
        print(f"Latency, {rate:,.0f} messages a second, milliseconds\n\n{HEAD}", flush=True)
    for connections in sizes:
        for delay in delays:
            with tempfile.TemporaryDirectory() as folder:
                summary = run(connections, rate, seconds, delay, Path(folder))
                print(row(connections, delay, summary, read_truth(Path(folder))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N")
    parser.add_argument("--delays", type=float, nargs="+", default=list(DELAYS), metavar="MS")
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help="messages a second")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S")
    options = parser.parse_args()
    print_table(options.sizes, options.delays, options.rate, options.seconds)


if __name__ == "__main__":
    main()
