"""A whole `floodtest run` with ticks and with messages by the friend graph, as benchmarks make it.

In: connections, a file of friends, further options. Out: the summary and the record. SystemExit where the run lost
anything, since its rates would be those of something else.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from floodtest.analysis import Record, load
from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph

TICKS = 3
MESSAGES, MESSAGE_SECONDS = 100_000, 10
FRIENDS = 15


def write_friends(connections: int, folder: Path) -> Path:
    """Make the friends of so many users."""
    file = folder / f"friends-{connections}.npy"
    write_pairs(file, friend_graph(connections, min(FRIENDS, connections - 1), seed=1), "npy")
    return file


def run_floodtest(connections: int, friends: Path, out: Path, *more: str) -> tuple[dict[str, Any], Record]:
    """Run floodtest; its ticks are far enough apart that none waits for the one before."""
    apart = max(2.0, connections / 50_000)
    ticks = ["--tick", f"{apart}s", "--hold", f"{apart * (TICKS - 0.5)}s"]
    messages = ["--friends", str(friends), "--messages", f"{MESSAGES}/s", "--message-seconds", str(MESSAGE_SECONDS)]
    arguments = ["--json", "--no-report", "--out", str(out), "--connections", str(connections), *ticks, *messages]
    command = [sys.executable, "-P", "-m", "floodtest", "run", *arguments, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    summary = json.loads(done.stdout or "{}")
    found = summary.get("messages")
    if found is None or found["lost"] or found["duplicated"] or summary["connections"]["peak_open"] != connections:
        sys.exit(f"bench: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return summary, load(summary["run"])


def median_of_ticks(summary: dict[str, Any]) -> float:
    """Return deliveries a second, in the median of the ticks."""
    return statistics.median([float(tick["per_second"]) for tick in summary["ticks"]])
