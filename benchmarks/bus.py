"""What a delivery costs a server with two front machines over Valkey, beside one whose fronts share its memory.

In: how many connections, which one `floodtest run` holds meanwhile, and friends of as many users. Both servers are
published equal messages, in batches of 1,000 and of 100, at a rate that neither has trouble with. Out: CPU time of all
of a server's processes divided by what was delivered: API, router, Valkey and the fronts' writes, beyond what is taken
at rest; and what Valkey and the router took of that, each by itself. The client's is not in it. Front machines are
programs on loopback of this machine, so a network between machines is not in it either.

Fails: SystemExit where not all connections were open, or not all was delivered, in time; a program that does not come
up ends the benchmark by what its rig raises.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import trio

from benchmarks.rounds import Figures, Runner
from floodtest.wire.control import PUBLICATION_LINE
from floodtest.wire.control_client import ControlClient
from tests.rigs.cluster import HOST, program, valkey
from tests.rigs.support import command

ALONE, OVER_VALKEY = "comet serve", "two front machines"
BATCHES = {1000: 1.1, 100: 1.5}
"""How many messages are published together, and what a delivery over Valkey may cost then against one without."""

COST = "CPU µs a delivery"
LIMITS = {f"{COST}, {batch} messages a batch": limit for batch, limit in BATCHES.items()}

MESSAGES_A_SECOND = 3000
"""Some 48,000 deliveries a second, with 15 friends each."""

SECONDS = 10
"""Of messages; and for so long it is seen before what the server takes at rest, which is in no delivery."""

OPEN_SECONDS, REST_SECONDS = 120, 10
"""In which all connections have to be open, and in which the last messages have to be delivered."""

TEXT = b"x" * 100
FREE = ("--port", "0")

Cpu = dict[str, float]
"""CPU time by name, in seconds or, of a delivery, in µs: what the whole server took, and each part that has a name."""

WHOLE = "whole"


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    control: str
    """URL of its control API."""
    fronts: list[str]
    """HOST:PORT of those that users connect to."""
    processes: list[psutil.Process]
    parts: dict[str, psutil.Process] = field(default_factory=dict)
    """Those of the processes whose cost is said by itself as well."""

    def cpu(self) -> Cpu:
        """Return the seconds of CPU that all of it has taken, and each part, with all processes below its own."""
        return {WHOLE: sum(map(_cpu, self.processes)), **{name: _cpu(one) for name, one in self.parts.items()}}


def _cpu(process: psutil.Process) -> float:
    return float(sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True))))


def runners_of_buses(connections: int, friends: Path, folder: Path) -> tuple[dict[str, Runner], list[tuple[str, str]]]:
    """Return runners of both servers, and what is held against what."""
    store = folder / f"store-{connections}"
    subprocess.run(command("comet", "load", str(friends), "--db", str(store)), check=True, capture_output=True)
    runners: dict[str, Runner] = {
        ALONE: partial(_measure, _alone, connections, store, folder),
        OVER_VALKEY: partial(_measure, _over_valkey, connections, store, folder),
    }
    return runners, [(OVER_VALKEY, ALONE)]


def _measure(start: Callable[[ExitStack, Path, Path], Server], connections: int, store: Path, folder: Path) -> Figures:
    with ExitStack() as stack:
        server = start(stack, store, folder)
        stack.enter_context(_holding(connections, server.fronts, folder))
        return trio.run(_publish_all, server, connections)


_started = partial(program, is_started=True, stderr=subprocess.DEVNULL)  # they tell who comes and goes


def _alone(stack: ExitStack, store: Path, folder: Path) -> Server:
    """Start a server with fronts of its own."""
    served = stack.enter_context(_started("serve", *FREE, "--control-port", "0", "--db", str(store)))
    return _server(served.control, [served.port], [served.process.pid])


def _over_valkey(stack: ExitStack, store: Path, folder: Path) -> Server:
    """Start a Valkey server, a router and two front machines."""
    bus = stack.enter_context(valkey(folder))
    to_bus = ("--bus", bus.url)
    head = stack.enter_context(_started("router", *to_bus, "--control-port", "0", "--db", str(store)))
    fronts = [stack.enter_context(_started("front", *to_bus, "--machine", name, *FREE)) for name in ("one", "two")]
    pids = [bus.pid, head.process.pid, *(front.process.pid for front in fronts)]
    return _server(head.control, [front.port for front in fronts], pids, "Valkey", "router")


def _server(control: int, ports: list[int], pids: list[int], *parts: str) -> Server:
    """Return what runs at ports of loopback; of its processes the first ones are the parts that have a name."""
    processes = [psutil.Process(pid) for pid in pids]
    by_name = dict(zip(parts, processes, strict=False))
    return Server(f"http://{HOST}:{control}", [f"{HOST}:{port}" for port in ports], processes, by_name)


@contextmanager
def _holding(connections: int, fronts: list[str], folder: Path) -> Iterator[None]:
    """Hold connections, each user's to its own front, as long as the block lasts."""
    by_ring = ("--ring", ",".join(fronts)) if len(fronts) > 1 else ()
    options = ("--connections", str(connections), "--hold", "10m", "--network", "host", "--no-report", *by_ring)
    where = ("--target", f"http://{fronts[0]}/test/{{user}}", "--out", str(folder / "runs"))
    line = command("floodtest", "run", *where, *options)
    client = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        client.send_signal(signal.SIGINT)
        client.wait(60)


async def _publish_all(server: Server, connections: int) -> Figures:
    """Publish batches of each size when all connections are open; return what a delivery cost."""
    async with ControlClient(server.control, None) as api:
        with trio.move_on_after(OPEN_SECONDS):
            while (await api.stats()).connections < connections:
                await trio.sleep(0.5)
        if (await api.stats()).connections < connections:
            sys.exit(f"bench: {connections:,} connections were not open within {OPEN_SECONDS} s.")
        await trio.sleep(1)
        cpu = server.cpu()
        await trio.sleep(SECONDS)
        at_rest = {name: seconds - cpu[name] for name, seconds in server.cpu().items()}
        figures: Figures = {}
        for batch in BATCHES:
            cost = await _publish(api, server, connections, batch, at_rest)
            figures[f"{COST}, {batch} messages a batch"] = cost.pop(WHOLE)
            figures |= {f"of these {name}, {batch} a batch": part for name, part in cost.items()}
        return figures


async def _publish(api: ControlClient, server: Server, users: int, batch: int, at_rest: Cpu) -> Cpu:
    """Publish for `SECONDS`, and return when all is delivered what a delivery cost beyond what is taken `at_rest`, in
    µs, by the whole server and by each part.
    """
    random = np.random.default_rng(batch)
    before, cpu, began = (await api.stats()).deliveries, server.cpu(), trio.current_time()
    expected = 0
    for turn in range(SECONDS * MESSAGES_A_SECOND // batch):
        await trio.sleep_until(began + turn * batch / MESSAGES_A_SECOND)
        lines = [PUBLICATION_LINE % (subject, TEXT) for subject in random.integers(1, users + 1, batch).tolist()]
        expected += (await api.publish(b"".join(lines), batch)).deliveries
    with trio.move_on_after(REST_SECONDS):
        while (await api.stats()).deliveries < before + expected:
            await trio.sleep(0.2)
    delivered = (await api.stats()).deliveries - before
    if delivered != expected:
        sys.exit(f"bench: {delivered:,} of {expected:,} were delivered.")
    return {name: (now - cpu[name] - at_rest[name]) / delivered * 1e6 for name, now in server.cpu().items()}
