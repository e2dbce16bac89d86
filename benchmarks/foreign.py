"""`python -m benchmarks.foreign`: servers that are not ours, by one `floodtest run` each, as a table in Markdown.

The servers and proxies are those of the tests (`tests/rigs/foreign.py`), each started anew for each run. A run opens as
fast as the server lets it, holds, and publishes messages by the server's own API, or by a gateway that has one, each to
one connection; a proxy is before `comet serve`, and its figures are those of the proxy alone, but for the kernel's
memory. What can't be started here is left out, and said to be.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floodtest.analysis import load
from floodtest.flyweight.machine.files import cores, raise_files_limit, read_memory
from floodtest.wire.names import LONGPOLL
from tests.rigs.foreign import PROXIES, SERVERS, address
from tests.rigs.support import OURS, comet

RATE, SECONDS, HOLD = 100, 10, 5
FILES_OF_A_PROXY = 2
"""For each connection, beside some of its own."""
PATHS = {"sse": "/events/{user}", "chunked": "/test/{user}", "websocket": "/ws/{user}"}
"""Of our own server, which is behind a proxy."""

HEAD = (
    "| server | protocol | connections | opened a second | user memory | kernel memory | CPU a connection "
    "| CPU a delivery | lost | latency p50, p99 |\n|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Case:
    """A server with one of its protocols."""

    name: str
    protocol: str
    proxy: bool

    @property
    def missing(self) -> str | None:
        return PROXIES[self.name].missing if self.proxy else SERVERS[self.name].missing

    @contextmanager
    def started(self, folder: Path, connections: int) -> Iterator[tuple[str, ...]]:
        """Start it; give the options of a run against it."""
        if not self.proxy:
            server = SERVERS[self.name]
            with server.started(folder) as served:
                yield server.options(served, self.protocol)
            return
        scheme = "ws" if self.protocol == "websocket" else "http"
        with (
            comet("--max-users", str(connections), is_started=True) as behind,
            PROXIES[self.name].started(folder / "proxy", address(0), behind.port) as served,
        ):
            yield (
                *("--target", f"{scheme}://{served.at}{PATHS[self.protocol]}"),
                *("--publish", f"POST http://127.0.0.1:{behind.control}/publish"),
                *("--publish-body", '{"subject": {user}, "message": "{message}"}'),
            )


CASES = [
    *(Case(name, protocol, proxy=False) for name, server in SERVERS.items() for protocol in server.streams),
    *(Case(name, protocol, proxy=True) for name in PROXIES for protocol in PATHS),
]


def run(case: Case, connections: int, folder: Path) -> dict[str, Any]:
    """Run against a server that is started for it; return the summary."""
    most = (raise_files_limit() - 100) // FILES_OF_A_PROXY if case.proxy else connections
    planned = min(connections, most)
    with case.started(folder, planned) as options:
        line = [
            *(sys.executable, "-P", "-m", "floodtest", "run", "--json", "--no-report", "--out", str(folder / "runs")),
            *(*OURS, *options, "--connections", str(planned), "--in-flight", "512", "--connect-timeout", "60"),
            *("--hold", str(HOLD), "--messages", f"{RATE}/s", "--message-seconds", str(SECONDS)),
        ]
        done = subprocess.run(line, capture_output=True, text=True)
    if not done.stdout:
        sys.exit(
            f"foreign: {case.name}, {case.protocol}: floodtest ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    summary: dict[str, Any] = json.loads(done.stdout)
    for reason in summary["reasons"]:
        print(f"{case.name}, {case.protocol}: {reason}", file=sys.stderr, flush=True)
    return summary


def row(case: Case, summary: dict[str, Any]) -> str:
    """Return a row of the table."""
    connections, memory, messages = summary["connections"], summary["memory"], summary["messages"]
    samples = load(summary["run"]).samples
    first, held = samples[0], [sample for sample in samples if sample.stage == "hold"][-1]
    opened, received = connections["opened"], messages["received"]
    cpu = {sample.stage: sample.server_cpu for sample in samples}  # the last of each stage
    ramp = _each(_less(cpu.get("ramp"), first.server_cpu), opened, 1e6)
    delivery = _each(_less(cpu.get("messages"), held.server_cpu), received, 1e6)
    kernel, latency = memory["kernel_bytes_per_connection"], messages["latency_ms"] or {"p50": 0, "p99": 0}
    cells = [
        f"{case.name}, before comet" if case.proxy else case.name,
        case.protocol,
        f"{opened:,}" if opened == connections["planned"] else f"{opened:,} of {connections['planned']:,}",
        "-" if case.protocol == LONGPOLL else f"{summary['ramp']['per_second']:,.0f}",  # that is what --held allows
        f"{_each(_less(held.server_private, first.server_private), opened, 1 / 1024)} KiB",
        "-" if kernel is None or kernel < 0 else f"{kernel / 1024:,.1f} KiB",
        f"{ramp} µs",
        f"{delivery} µs",
        f"{messages['lost']} of {messages['expected']:,}",
        f"{latency['p50']:,.1f}, {latency['p99']:,.1f} ms",
    ]
    return f"| {' | '.join(cells)} |"


def _less(last: float | None, first: float | None) -> float | None:
    return None if last is None or first is None else last - first


def _each(amount: float | None, count: int, factor: float) -> str:
    """Return an amount over a count in other units, as text."""
    if amount is None or not count:
        return "-"
    each = amount / count * factor
    return f"{each:,.1f}" if each < 100 else f"{each:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=10_000, metavar="N")
    parser.add_argument("--only", default="", metavar="WORD", help="servers with this in their name")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {cores()} cores for both ends, {read_memory().total / 2**30:.1f} GiB, "
        f"{raise_files_limit():,} files a process; one run of each, {RATE} messages a second for {SECONDS} s\n\n{HEAD}",
        flush=True,
    )
    for case in CASES:
        if options.only not in case.name:
            continue
        if case.missing is not None:
            print(f"left out: {case.name}: {case.missing}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            print(row(case, run(case, options.connections, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
