"""`python -m benchmarks.tls_alternatives`: what a connection over TLS costs, floodtest's ends and others, as a table.

Each row of the table is a server and a client of WebSockets over TLS 1.3, and what one connection costs each of them.
The server is our own, or a proxy of the tests (`tests/rigs/foreign.py`) that ends TLS, with our own server behind it,
which then speaks none; the client is floodtest, or a program of `benchmarks/tls_clients`. A run opens `--first`
connections, pauses, and then opens the others as fast as both ends go; what is counted is divided by these others.

Bytes: by how much the private memory (USS, of smaps_rollup) of all processes of an end has grown, from the pause until
`SETTLE` seconds after the last connection is open. CPU: user and system time of these processes, from the pause until
the last connection is open, handshakes included. What the kernel keeps for its sockets is in neither. Certificates are
of P-256. Whatever is not installed is left out, with a line on standard error that says so; a row whose connections do
not all open ends the program. A row takes 20 to 40 seconds at 10,000 connections.
"""

import argparse
import datetime
import json
import os
import platform
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import psutil

from floodtest.flyweight.machine.files import cores, raise_files_limit
from tests.rigs.foreign import TLS_PROXIES, address, missing_program
from tests.rigs.serving import PATH
from tests.rigs.support import OURS, Comet, comet, wait_until
from tests.rigs.tls import write_certificate

PAUSE, SETTLE, HOLD = 3, 3, 8
"""Seconds: before the others are opened, before memory is read, and for which floodtest holds its connections."""

PERIOD = 0.3
"""Seconds between two looks at how many are open."""

NAME = "localhost"

PROGRAMS = Path(__file__).with_name("tls_clients")
WS = PROGRAMS.parents[1] / "examples/express/node_modules/ws"

HEAD = "| server | client | server, bytes | server, CPU | client, bytes | client, CPU |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Sizes:
    """How many connections are open in the pause, and in the end."""

    first: int = 1_000
    all: int = 10_000

    def at_most(self, most: int) -> "Sizes":
        """Return sizes of which neither is above a number."""
        return Sizes(min(self.first, most), min(self.all, most))


# -- servers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Serving:
    """A server that accepts connections."""

    host: str
    port: int
    pids: tuple[int, ...]
    """The processes whose cost is measured, their children included."""
    ours: Comet
    """Our own server, here or behind a proxy: it is asked how many connections are open."""


Server = Callable[[Path, Path, int], AbstractContextManager[Serving]]
"""In: an empty folder, a file with certificate and key, the most connections. Out: the server, for a block."""


@contextmanager
def of_model(model: str, folder: Path, pem: Path, most: int) -> Iterator[Serving]:
    """Our own server, of one of its models."""
    line = ("--model", model, "--max-users", str(most), "--tls-cert", str(pem))
    with comet(*line, is_started=True) as server:
        yield Serving("127.0.0.1", server.port, (server.process.pid,), server)


@contextmanager
def behind(name: str, processes: int, folder: Path, pem: Path, most: int) -> Iterator[Serving]:
    """Our own server, behind so many processes of a proxy, which listen at one address."""
    with ExitStack() as stack:
        server = stack.enter_context(comet("--max-users", str(most), is_started=True))
        start = partial(TLS_PROXIES[name].started, at=address(0), behind=server.port, pem=pem)
        pids = tuple(stack.enter_context(start(folder / f"{name}-{number}")).pid for number in range(processes))
        yield Serving(*address(0), pids, server)


OF_TWO = ("haproxy", "nginx", "hitch")
"""Proxies of which two processes share a port (SO_REUSEPORT), so that either has half of the connections. A connection
is two files of a proxy, and the hard limit of files is often 20,000."""

OF_ONE = ("caddy", "stunnel")
"""Proxies of which there is one process: of two caddies at one port one gets all connections, and a second stunnel
can't listen."""

MOST_OF_ONE = 9_000
"""Connections for which one process of a proxy has files enough."""

SERVERS: dict[str, Server] = {
    "comet, columns": partial(of_model, "columns"),
    "comet, tasks": partial(of_model, "tasks"),
    **{f"{name}, two of it": partial(behind, name, 2) for name in OF_TWO},
    **{f"{name}, one of it": partial(behind, name, 1) for name in OF_ONE},
}


def sizes_for(server: str, asked: Sizes) -> Sizes:
    """Return how many connections are opened at a server: fewer than were asked for where it can't have as many."""
    return asked.at_most(MOST_OF_ONE) if server.partition(",")[0] in OF_ONE else asked


# -- clients ---------------------------------------------------------------------------------------------------------

Client = Callable[[Serving, Path, Path, Sizes], Sequence[str]]
"""In: a server, the file of certificates that are trusted, a folder for what is written, sizes. Out: a command line."""


def floodtest(
    model: str, scheme: str, path: str, serving: Serving, cafile: Path, folder: Path, sizes: Sizes
) -> Sequence[str]:
    """Return the command line of a run. Nobody tells a run when to go on, so that its stages have the pause."""
    pause = PAUSE + 2 + sizes.first // 500  # all of the first ones have to be open before the pause is over
    return [
        *(sys.executable, "-P", "-m", "floodtest", "run", "--no-report", "--out", str(folder / "runs"), *OURS),
        *("--target", f"{scheme}://{serving.host}:{serving.port}/{path}/{{user}}", "--open-when", "id"),
        *("--cafile", str(cafile), "--server-name", NAME, "--client", model, "--connections", str(sizes.all)),
        *("--stages", f"{sizes.first * 100}/s:10ms,0:{pause}s,max", "--hold", str(HOLD), "--connect-timeout", "60"),
        *(("--ports", "kernel") if model == "httpx" else ()),
    ]


def program(start: Sequence[str], serving: Serving, cafile: Path, folder: Path, sizes: Sizes) -> Sequence[str]:
    """Return the command line of a program of `tls_clients`, which is told on standard input how many to open."""
    return [*start, serving.host, str(serving.port), str(cafile), NAME]


CLIENTS: dict[str, Client] = {
    "floodtest, columns": partial(floodtest, "columns", "wss", "ws"),
    "floodtest, httpx": partial(floodtest, "httpx", "https", "events"),
    "Python's ssl": partial(program, [sys.executable, str(PROGRAMS / "python_ssl.py")]),
    "websockets": partial(program, [sys.executable, str(PROGRAMS / "python_websockets.py")]),
    "node, ws": partial(program, ["node", str(PROGRAMS / "node_ws.cjs")]),
}

PAIRS = [
    *((server, "floodtest, columns") for server in SERVERS),
    *(("comet, columns", client) for client in CLIENTS if client != "floodtest, columns"),
]


def missing(server: str, client: str) -> str | None:
    """Say what is not installed of a server and a client; None if both can be started."""
    for name, proxy in TLS_PROXIES.items():
        if server.startswith(f"{name},"):
            return proxy.missing
    if client.startswith("node"):
        return missing_program("node") or (None if WS.exists() else f"there is no {WS} here: .ci/run has what makes it")
    return None


# -- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What the processes of an end take at one time."""

    private: int
    """Bytes of private memory."""
    cpu: float
    """Seconds of CPU, since they began."""


def read(pids: Sequence[int]) -> Reading:
    """Add up what processes take, and all their children."""
    processes = [
        process for pid in pids for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]
    private = sum(process.memory_full_info().uss for process in processes)
    return Reading(private, sum(sum(process.cpu_times()[:2]) for process in processes))


@dataclass(frozen=True)
class Cost:
    """What one connection costs one end."""

    size: float
    """Bytes."""
    seconds: float
    """Of CPU."""

    def cells(self) -> list[str]:
        size = f"{self.size:,.0f} B" if self.size < 1024 else f"{self.size / 1024:,.1f} KiB"
        return [size, f"{self.seconds * 1e6:,.0f} µs"]


def cost(before: Reading, opened: Reading, settled: Reading, count: int) -> Cost:
    """Return the cost of one of `count` connections: `before` is read in the pause, `opened` as soon as all are open,
    and `settled` some seconds later, when what is needed to open them has been given back.
    """
    return Cost((settled.private - before.private) / count, (opened.cpu - before.cpu) / count)


def measure(server: str, client: str, folder: Path, sizes: Sizes) -> tuple[Cost, Cost]:
    """Start a server and a client, have connections opened, and return what one costs the server, and the client."""
    cert, key = write_certificate(folder, NAME)
    (pem := folder / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
    with SERVERS[server](folder, pem, sizes.all) as serving:
        line = CLIENTS[client](serving, cert, folder, sizes)
        with (
            open(folder / "said", "w") as said,
            subprocess.Popen(line, stdin=subprocess.PIPE, stdout=said, stderr=said, text=True) as process,
        ):
            try:
                costs = _measure(serving, process, sizes)
                process.communicate(timeout=120)
                if process.returncode:
                    raise AssertionError(f"it ended with {process.returncode}")
            except AssertionError as error:
                sys.exit(f"{server}, {client}: {error}\n{(folder / 'said').read_text()[-2000:]}")
            finally:
                process.kill()
    return costs


def _measure(serving: Serving, process: "subprocess.Popen[str]", sizes: Sizes) -> tuple[Cost, Cost]:
    ends = serving.pids, (process.pid,)

    def open_up_to(count: int) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{count}\n")
        process.stdin.flush()

    def is_open(count: int) -> bool:
        assert process.poll() is None, "the client has ended"
        time.sleep(PERIOD)
        return bool(serving.ours.stats()["connections"] == count)

    open_up_to(sizes.first)
    wait_until(lambda: is_open(sizes.first), f"{sizes.first:,} connections are open", seconds=120)
    time.sleep(PAUSE / 3)
    before = [read(pids) for pids in ends]
    assert is_open(sizes.first), "the others were begun before there was a reading"
    open_up_to(sizes.all)
    wait_until(lambda: is_open(sizes.all), f"{sizes.all:,} connections are open", seconds=300)
    opened = [read(pids) for pids in ends]
    time.sleep(SETTLE)
    settled = [read(pids) for pids in ends]
    count = sizes.all - sizes.first
    at_server, at_client = (cost(*readings, count) for readings in zip(before, opened, settled, strict=True))
    return at_server, at_client


def versions() -> str:
    """Return the version of each program that is installed."""
    lines = [
        *(["haproxy", "-v"], ["nginx", "-v"], ["hitch", "--version"], ["caddy", "version"]),
        *(["stunnel", "-version"], ["node", "--version"]),
    ]
    said = [f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, websockets {version('websockets')}"]
    for line in lines:
        if missing_program(line[0]) is None:
            done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"PATH": PATH})
            told = (done.stdout + done.stderr).splitlines()
            first = next((one for one in told if re.search(r"\d+\.\d+", one)), "")
            said.append(first if line[0] in first.lower() else f"{line[0]} {first}")
    if WS.exists():
        said.append(f"ws {json.loads((WS / 'package.json').read_text())['version']}")
    return "; ".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--runs", type=int, default=2, metavar="N", help="how often each row is measured; default %(default)s"
    )
    parser.add_argument(
        "--first", type=int, default=Sizes.first, metavar="N", help="connections before the pause; default %(default)s"
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=Sizes.all,
        metavar="N",
        help=f"connections in the end; default %(default)s, and with {' and '.join(OF_ONE)} {MOST_OF_ONE} at the most",
    )
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only rows that have this in the names of their server and client"
    )
    options = parser.parse_args()
    asked = Sizes(options.first, options.connections)
    if not 0 < asked.first < asked.all or sizes_for(OF_ONE[0], asked).first >= MOST_OF_ONE:
        parser.error(f"--first has to be above 0, and below --connections and {MOST_OF_ONE}")
    raise_files_limit()
    print(
        f"{datetime.date.today()}, {platform.system()} {platform.release()}, {cores()} cores for both ends\n"
        f"{versions()}\n\n{HEAD}",
        flush=True,
    )
    for server, client in PAIRS:
        if options.only not in f"{server}, {client}":
            continue
        if (reason := missing(server, client)) is not None:
            print(f"left out: {server}, {client}: {reason}", file=sys.stderr)
            continue
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory() as folder:
                costs = measure(server, client, Path(folder), sizes_for(server, asked))
            cells = [cell for each in costs for cell in each.cells()]
            print(f"| {' | '.join([server, client, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
