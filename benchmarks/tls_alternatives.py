"""`python -m benchmarks.tls_alternatives`: what a connection over TLS costs, floodtest's ends and others, as a table.

Each row is a server and a client of WebSockets over TLS: our own server or one of the proxies of the tests
(`tests/rigs/foreign.py`), two of each as a connection is two files of a proxy, before our own server without TLS; and
floodtest or a client of `benchmarks/tls_clients`. The first connections are opened, and after a pause the others, as
fast as both ends go. Bytes are the growth of private memory (smaps_rollup) from then until `SETTLE` seconds after the
last one is open, and CPU is user and system time until that is open, handshakes included; both of all processes of an
end together, over the connections that were opened meanwhile. What the kernel keeps is not in it. Certificates are of
P-256. What can't be started here is left out, and said to be. Fails: where a connection does not open.
"""

import argparse
import datetime
import json
import os
import platform
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
    """How many connections there are at the first, and in the end."""

    first: int = 1_000
    all: int = 10_000


# -- servers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Serving:
    """A server that is there."""

    host: str
    port: int
    pids: tuple[int, ...]
    """Of which, and of whose children, the cost is."""
    ours: Comet
    """Who is behind it, or the server itself, and knows how many connections are open."""


Server = Callable[[Path, Path, int], AbstractContextManager[Serving]]
"""In: an empty folder, certificate and key in one file, and for how many connections."""


@contextmanager
def of_model(model: str, folder: Path, pem: Path, most: int) -> Iterator[Serving]:
    """Our own server."""
    line = ("--model", model, "--max-users", str(most), "--tls-cert", str(pem))
    with comet(*line, is_started=True) as server:
        yield Serving("127.0.0.1", server.port, (server.process.pid,), server)


@contextmanager
def behind(name: str, folder: Path, pem: Path, most: int) -> Iterator[Serving]:
    """Two processes of a proxy at one address, before our own server without TLS."""
    with ExitStack() as stack:
        server = stack.enter_context(comet("--max-users", str(most), is_started=True))
        start = partial(TLS_PROXIES[name].started, at=address(0), behind=server.port, pem=pem)
        pids = tuple(stack.enter_context(start(folder / f"{name}-{number}")).pid for number in range(2))
        yield Serving(*address(0), pids, server)


SHARING = ("haproxy", "nginx", "hitch")
"""Proxies of which two take connections at one address. Of two caddies one takes all, and runs out of files."""

SERVERS: dict[str, Server] = {
    "comet, columns": partial(of_model, "columns"),
    "comet, tasks": partial(of_model, "tasks"),
    **{f"{name}, two of it": partial(behind, name) for name in SHARING},
}


# -- clients ---------------------------------------------------------------------------------------------------------

Client = Callable[[Serving, Path, Path, Sizes], Sequence[str]]
"""In: a server, who is trusted, a folder, and how many connections. Out: a command line."""


def floodtest(
    model: str, scheme: str, path: str, serving: Serving, cafile: Path, folder: Path, sizes: Sizes
) -> Sequence[str]:
    """Return the line of a run, which opens by the clock: first ones, and after a pause the others."""
    pause = PAUSE + 2 + sizes.first // 500  # the first ones are to be open long before its end
    return [
        *(sys.executable, "-P", "-m", "floodtest", "run", "--no-report", "--out", str(folder / "runs"), *OURS),
        *("--target", f"{scheme}://{serving.host}:{serving.port}/{path}/{{user}}", "--open-when", "id"),
        *("--cafile", str(cafile), "--server-name", NAME, "--client", model, "--connections", str(sizes.all)),
        *("--stages", f"{sizes.first * 100}/s:10ms,0:{pause}s,max", "--hold", str(HOLD), "--connect-timeout", "60"),
        *(("--ports", "kernel") if model == "httpx" else ()),
    ]


def program(start: Sequence[str], serving: Serving, cafile: Path, folder: Path, sizes: Sizes) -> Sequence[str]:
    """Return the line of a program of `tls_clients`."""
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
    """Say what is missing for a pair; None if nothing is."""
    for name, proxy in TLS_PROXIES.items():
        if server.startswith(f"{name},"):
            return proxy.missing
    if client.startswith("node"):
        return missing_program("node") or (None if WS.exists() else f"there is no {WS} here: .ci/run has what makes it")
    return None


# -- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What the processes of an end have taken."""

    private: int
    cpu: float
    """Seconds."""


def read(pids: Sequence[int]) -> Reading:
    """Read processes and all their children."""
    processes = [
        process for pid in pids for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]
    private = sum(process.memory_full_info().uss for process in processes)
    return Reading(private, sum(sum(process.cpu_times()[:2]) for process in processes))


@dataclass(frozen=True)
class Cost:
    """Of one connection, at one end."""

    size: float
    seconds: float

    def cells(self) -> list[str]:
        size = f"{self.size:,.0f} B" if self.size < 1024 else f"{self.size / 1024:,.1f} KiB"
        return [size, f"{self.seconds * 1e6:,.0f} µs"]


def cost(before: Reading, opened: Reading, settled: Reading, count: int) -> Cost:
    """Return what a connection costs, by readings before so many were opened, when they were, and after that."""
    return Cost((settled.private - before.private) / count, (opened.cpu - before.cpu) / count)


def measure(server: str, client: str, folder: Path, sizes: Sizes) -> tuple[Cost, Cost]:
    """Return what a connection costs server and client."""
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
    """Say what was measured, program by program."""
    lines = [["haproxy", "-v"], ["nginx", "-v"], ["hitch", "--version"], ["caddy", "version"], ["node", "--version"]]
    said = [f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, websockets {version('websockets')}"]
    for line in lines:
        if missing_program(line[0]) is None:
            done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"PATH": PATH})
            first = (done.stdout + done.stderr).split("\n")[0]
            said.append(first if line[0] in first.lower() else f"{line[0]} {first}")
    if WS.exists():
        said.append(f"ws {json.loads((WS / 'package.json').read_text())['version']}")
    return "; ".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=2, metavar="N", help="of each pair")
    parser.add_argument("--first", type=int, default=Sizes.first, metavar="N", help="connections that are not counted")
    parser.add_argument("--connections", type=int, default=Sizes.all, metavar="N", help="in the end")
    parser.add_argument("--only", default="", metavar="WORD", help="pairs with this in their names")
    options = parser.parse_args()
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
                costs = measure(server, client, Path(folder), Sizes(options.first, options.connections))
            cells = [cell for each in costs for cell in each.cells()]
            print(f"| {' | '.join([server, client, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
