"""Ten minutes of clients that come and go at a `comet serve` of each model, and what that leaves in its processes.

Every few seconds each process is asked how much memory of its own it has, how many files its threads have open, and
how many threads it has. A straight line is fitted to what came after a third of the time. Memory that grows for sure,
files or threads that are still there when everybody has gone, and messages that went astray are faults.
"""

import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import httpx
import numpy as np
import trio

from floodtest.flyweight.machine.processes import private_bytes
from floodtest.server_under_test.models import MODELS, Model
from floodtest.server_under_test.routing.subscriptions import Store
from tests.attacks.order import Order, Tally
from tests.attacks.visitors import USERS, Visitors
from tests.rigs.support import Comet, comet

SECONDS = 600.0
LEAST_SECONDS = 3.0

READINGS = 200
"""At the most, and as many seconds apart as that takes; one a second in a short attack."""

WARM_UP = 1 / 3
"""The part of the time whose readings are left out."""

MOST_GROWTH = 30 << 20
"""Bytes an hour."""

LEAST_GROWTH = 2 << 20
"""Bytes by which a process must have grown besides, since an allocator takes a megabyte at once."""

SURE = 4.0
"""Standard errors by which a slope is above what is allowed."""

SETTLING_SECONDS = 60.0
"""Within which all files and threads have gone after the last client: an idle thread of trio's ends after 10 s."""

SPARE_THREADS = 2


@dataclass
class Process:
    """One process of a server: its readings in order of time."""

    name: str
    pid: int
    is_front: bool
    base: tuple[int, int] = (0, 0)
    """Files and threads before anybody came."""
    times: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base = self.open_now()

    def open_now(self) -> tuple[int, int]:
        return open_now(self.pid, self.is_front)

    def beyond(self) -> tuple[int, int]:
        """Return how many files and threads there are above those from before, idle threads of trio's left out."""
        files, threads = self.open_now()
        return max(0, files - self.base[0]), max(0, threads - self.base[1] - SPARE_THREADS)

    def read(self) -> None:
        """Take a reading, if the process is there."""
        memory, (files, threads) = private_bytes(self.pid), self.open_now()
        if memory is not None:
            for column, value in zip(
                (self.times, self.memory, self.files, self.threads),
                (trio.current_time(), memory, files, threads),
                strict=True,
            ):
                column.append(float(value))


def open_now(pid: int, is_front: bool) -> tuple[int, int]:
    """Return how many files a process has open, and how many threads it has.

    The threads of a process of fronts have a table of files each; those of another process share one.
    """
    files = threads = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it has ended
            if is_front or task.name == str(pid):
                files += len(list((task / "fd").iterdir()))
            threads += 1
    return files, threads


def slope(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the slope of a straight line through the points, an hour, and its standard error."""
    if len(times) < 3 or times[-1] == times[0]:
        return 0.0, math.inf
    x = np.asarray(times) / 3600
    x -= x.mean()
    y = np.asarray(values) - np.mean(values)
    rise = float(x @ y / (x @ x))
    rest = y - rise * x
    return rise, math.sqrt(float(rest @ rest) / (len(times) - 2) / float(x @ x))


def attack(order: Order) -> Tally:
    """Let clients come and go at a server of each model."""
    tally = Tally()
    seconds = max(LEAST_SECONDS, SECONDS * order.share)
    with ExitStack() as stack:
        servers: dict[Model, Comet] = {}
        for model in MODELS:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=order.folder))
            with Store(Path(folder) / "db", create=True):
                pass
            words = ("--model", model, "--max-users", str(USERS), "--db", f"{folder}/db")
            servers[model] = stack.enter_context(comet(*words, is_started=not order.is_forked))
        trio.run(_all, servers, order.random, seconds, tally)
        for name, server in servers.items():
            if (code := server.stop()) != 0:
                tally.faults.append(f"{name}: the server ended with exit code {code}")
    return tally


async def _all(servers: dict[Model, Comet], random: Random, seconds: float, tally: Tally) -> None:
    async with trio.open_nursery() as tasks:
        for model, server in servers.items():
            tasks.start_soon(_one, model, server, Random(f"{random.random()} {model}"), seconds, tally)


async def _one(model: str, server: Comet, random: Random, seconds: float, tally: Tally) -> None:
    """Let clients come to one server, read its processes meanwhile, and judge what that has left."""
    visitors = Visitors(model, server.port, server.control, random)
    await visitors.come_and_go(min(2.0, seconds / 4))  # so that whatever is opened once is open
    pids = (await trio.to_thread.run_sync(server.stats))["pids"]
    names = {pids["parent"]: "parent", pids["nursery"]: "nursery"}
    names |= {pid: f"front {number}" for number, pid in enumerate(pids["fronts"], 1)}
    await _settled(server)
    processes = [Process(f"{model} {name}", pid, "front" in name) for pid, name in names.items()]
    async with trio.open_nursery() as reading:
        reading.start_soon(_read_on, processes, max(1.0, seconds / READINGS))
        await visitors.come_and_go(seconds)
        reading.cancel_scope.cancel()
    tally.did.update({f"{what} ({model})": count for what, count in visitors.did.items()})
    tally.faults += visitors.faults
    await _returned(server, processes)
    for process in processes:
        _judge(process, seconds, tally)


async def _read_on(processes: list[Process], interval: float) -> None:
    while True:
        for process in processes:
            process.read()
        await trio.sleep(interval)


async def _settled(server: Comet) -> None:
    """Wait until the server has noticed that nobody is there, and our own call of its API is over."""
    with trio.move_on_after(SETTLING_SECONDS):
        while (await _connections(server)) != 0:
            await trio.sleep(0.2)
    await trio.sleep(0.5)


async def _connections(server: Comet) -> int:
    try:
        return int((await trio.to_thread.run_sync(server.stats))["connections"])
    except httpx.HTTPError:
        return -1


async def _returned(server: Comet, processes: list[Process]) -> None:
    """Wait until no process has more open than at first, or for as long as that may take."""
    await _settled(server)
    with trio.move_on_after(SETTLING_SECONDS):
        while any(process.beyond() != (0, 0) for process in processes):
            await trio.sleep(0.2)


def _judge(process: Process, seconds: float, tally: Tally) -> None:
    """Note what the readings of a process say, and what is wrong with it."""
    files, threads = process.open_now()
    if not threads:
        tally.faults.append(f"{process.name} (process {process.pid}) is not there any more.")
        return
    since = process.times[0] + seconds * WARM_UP if process.times else 0.0
    kept = [index for index, time in enumerate(process.times) if time >= since]
    fit = partial(_fit, process.times, kept)
    growth, error = fit(process.memory)
    mib = 1 << 20
    tally.notes.append(
        f"{process.name}: {process.memory[-1] / mib:.1f} MiB, {growth / mib:+.2f} MiB an hour "
        f"(± {error / mib:.2f}), files {files - process.base[0]:+}, threads {fit(process.threads)[0]:+.1f} an hour"
        if process.memory
        else f"{process.name}: its memory can't be read"
    )
    grown = process.memory[kept[-1]] - process.memory[kept[0]] if kept else 0.0
    if growth - SURE * error > MOST_GROWTH and grown > LEAST_GROWTH:
        tally.faults.append(f"{process.name}: its memory grows by {growth / mib:.1f} ± {error / mib:.1f} MiB an hour.")
    beyond = process.beyond()
    if beyond != (0, 0):
        tally.faults.append(
            f"{process.name}: {files} files and {threads} threads are left when all have gone, and there were "
            f"{process.base[0]} and {process.base[1]}."
        )


def _fit(times: list[float], kept: list[int], values: list[float]) -> tuple[float, float]:
    return slope([times[index] for index in kept], [values[index] for index in kept])
