"""`make bench`: floodtest and the C yardstick in turn, in each network, and floodtest's protocols; medians of ratios.

Against the yardstick, three rates: connections opened, ticks delivered (the same to all), and messages delivered by the
friend graph, asked for more than the machine carries; the last two are held against the yardstick's broadcast. Of the
protocols that the bundled server speaks, against chunks: connections opened a second, and what a tick, a message and a
connection cost (`benchmarks.protocols`). WebSockets over TLS are held against plain ones, at sizes of their own, since
their handshakes take a minute for 50,000; and what bare handshakes cost (`benchmarks.handshakes`) against what it takes
to open connections over TLS. Fronts on two machines over Valkey are held against a server by itself, by what a delivery
costs (`benchmarks.bus`), and load from two hosts of a cluster against one process, by the rate at which it opens
(`benchmarks.hosts`). At the end latency is held against a server whose latency is known (`benchmarks.latency`).

The machine's speed drifts, and memory that was never touched costs more than memory that was, so only runs next to each
other are compared: each round runs all, every other round in the opposite order, and a ratio is taken within a round:
floodtest against the yardstick in the host's network and in one of their own, floodtest there against the host's, and
each protocol against chunks, TLS against none. Sizes that this machine can't hold are left out, and said to be.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import bus, hosts, latency
from benchmarks.protocols import AGAINST_IT, BASE, run_protocol, runners_of_tls
from benchmarks.rounds import Figures, Runner, compare
from benchmarks.whole_runs import TICKS, median_of_ticks, run_floodtest, write_friends
from floodtest.flyweight.machine.files import cores, raise_files_limit, read_memory
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.demand import Demand, Traffic
from floodtest.loadgen.preflight.fit import fit
from floodtest.loadgen.preflight.machine import Machine

SOURCE = Path(__file__).with_name("yardstick.c")
NETWORKS = ("host", "isolated")


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
    delivery = median_of_ticks(summary)
    return _rates(summary["ramp"]["per_second"], delivery, delivery)


def run_in(network: str, connections: int, friends: Path, out: Path) -> Figures:
    """Run floodtest in a network."""
    summary, _ = run_floodtest(connections, friends, out, "--network", network)
    return _rates(summary["ramp"]["per_second"], median_of_ticks(summary), summary["messages"]["per_second"])


def _rates(opening: float, delivery: float, messages: float) -> Figures:
    """Name the rates: connections opened a second, deliveries a second, in the median of ticks and by messages."""
    return {"opened/s": opening, "ticks/s": delivery, "messages/s": messages}


def demand(size: int) -> Demand:
    """Return what a run of this size asks of the machine."""
    return Demand(Plan(-(-size // 62_000), 62_000, "127.0.1.1", 1024, size), traffic=Traffic(ticks=True))


def pairs_of(networks: Sequence[str]) -> list[tuple[str, str]]:
    """Return which runners are held against which."""
    pairs = [(f"floodtest {network}", f"C {network}") for network in networks]
    return [*pairs, ("floodtest isolated", "floodtest host")] if len(networks) > 1 else pairs


def _of_protocols(
    protocols: Sequence[str], size: int, friends: Path, out: Path
) -> tuple[dict[str, Runner], list[tuple[str, str]]]:
    """Return runners of these protocols and of what they are held against, and the pairs."""
    names = [BASE, *protocols] if protocols else []
    runners: dict[str, Runner] = {name: partial(run_protocol, name, size, friends, out) for name in names}
    return runners, [(name, BASE) for name in protocols]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[190_000, 1_054_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--networks", choices=NETWORKS, nargs="*", default=list(NETWORKS))
    parser.add_argument("--protocols", choices=AGAINST_IT, nargs="*", default=list(AGAINST_IT))
    parser.add_argument("--tls", type=int, nargs="*", default=[50_000], metavar="N", help="connections over TLS")
    parser.add_argument("--buses", type=int, nargs="*", default=[50_000], metavar="N", help="connections over Valkey")
    parser.add_argument("--hosts", type=int, nargs="*", default=[50_000], metavar="N", help="connections of a cluster")
    parser.add_argument("--latency", type=int, nargs="*", default=list(latency.SIZES), metavar="N")
    options = parser.parse_args()
    print(
        f"{platform.platform()}, {cores()} cores, {read_memory().total / 2**30:.1f} GiB, "
        f"{raise_files_limit():,} files a process, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        program = compile_yardstick(Path(folder))
        for size in options.sizes:
            if not _has_room(size):
                continue
            friends = write_friends(size, Path(folder))
            runners: dict[str, Runner] = {}
            for network in options.networks:
                runners[f"C {network}"] = partial(run_yardstick, program, size, network)
                runners[f"floodtest {network}"] = partial(run_in, network, size, friends, Path(folder) / "runs")
            compare(size, options.rounds, runners, pairs_of(options.networks))
            compare(size, options.rounds, *_of_protocols(options.protocols, size, friends, Path(folder) / "runs"))
        _compare_others(options, Path(folder))
    latency.print_table([size for size in options.latency if _has_room(size)])


def _compare_others(options: argparse.Namespace, folder: Path) -> None:
    """Hold TLS against none, two front machines against one server, two hosts against one, at sizes of their own."""
    for size in filter(_has_room, options.tls):
        compare(size, options.rounds, *runners_of_tls(size, write_friends(size, folder), folder / "runs"))
    for size in filter(_has_room, options.buses):
        compare(size, options.rounds, *bus.runners_of_buses(size, write_friends(size, folder), folder), bus.LIMITS)
    for size in filter(_has_room, options.hosts):
        runs = hosts.runners_of_hosts(size, write_friends(size, folder), folder / "runs")
        compare(size, options.rounds, *runs, hosts.LIMITS)


def _has_room(size: int) -> bool:
    """Whether this machine can hold a run of this size; say so if not."""
    bound = fit(Machine(), demand(size))
    if bound.connections < size:
        print(f"{size:>9,}  left out: {bound.reason}")
    return bound.connections >= size


if __name__ == "__main__":
    main()
