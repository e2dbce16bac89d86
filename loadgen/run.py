"""A run: starts the server and the workers, ramps, holds, records, and ends in order whatever happens.

In: `RunOptions`, checked. Out: a `Summary` and the run record. The stages are start, ramp, hold, close; a sampler
writes a row a second beside them, and a guard ends the ramp before memory does. Nothing here touches a connection: the
workers do that, and their accounts are read where they write them. A stage that is interrupted goes straight to close.
"""

import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import trio

from analysis import RecordWriter, Sample, Summary
from flyweight.errors import ExitCode
from flyweight.ledger import Ledger
from flyweight.limits import cores, raise_files_limit, read_memory, workers_for
from flyweight.sockets import read_slabs
from loadgen import client
from loadgen.accounts import LEDGER, State, count_states, create_columns, map_columns
from loadgen.bundled import BundledServer, bundled_server
from loadgen.conclusion import Facts, conclude
from loadgen.console import Console
from loadgen.crew import Crew, open_crew
from loadgen.host import Target, as_ranges, check_addresses, ports_to_avoid, request_around, resolve_target
from loadgen.opening import Ports
from loadgen.plan import Plan, Share
from loadgen.sampling import Sampler

CLOSE_SECONDS = 60.0
"""The longest wait for the workers to close their connections in order."""

DRAIN_SECONDS = 60.0
"""The longest wait, after the hold, for the deliveries of the last tick."""

GUARD_SECONDS = 0.25


@dataclass(frozen=True)
class RunOptions:
    """What `floodtest run` was asked for, in seconds and counts; `target` None is the bundled server."""

    plan: Plan
    target: str | None = None
    rate: float | None = None
    in_flight: int = 1024
    connect_timeout: float = 10.0
    hold: float = 10.0
    tick: float | None = None
    ports: Ports = "explicit"
    interval: float = 1.0
    out: Path = Path("runs")
    server_pid: int | None = None


class Run:
    """One run, from the plan to the summary."""

    def __init__(self, options: RunOptions, console: Console) -> None:
        self._options = options
        self._plan = options.plan
        self._console = console
        self._files_limit = raise_files_limit()
        self._count = min(self._plan.connections, workers_for(self._plan.connections, self._files_limit))
        self._ledger = Ledger(LEDGER, self._count)
        self._began = time.monotonic()
        self._ramp_began = self._ramp_ended = self._began
        self._stages: list[dict[str, Any]] = []
        self._samples: list[Sample] = []
        self._reasons: list[str] = []
        self._interrupted = False
        self._server: BundledServer | None = None
        self._figures: dict[str, Any] | None = None

    async def execute(self) -> Summary:
        """Run, and return what came of it; Refused before anything was opened, WorkerFault when it could not start."""
        async with trio.open_nursery() as outside:
            stages = trio.CancelScope()
            await outside.start(self._hear_signals, stages)
            summary = await self._execute(stages)
            outside.cancel_scope.cancel()
        return summary

    async def _execute(self, stages: trio.CancelScope) -> Summary:
        target = None if self._options.target is None else resolve_target(self._options.target, self._plan.base_ip)
        check_addresses(self._plan, target)
        self._record = RecordWriter(self._options.out, time.strftime("%Y%m%d-%H%M%S"))
        with closing(self._record):
            self._console.say(f"The record of this run is {self._record.folder}.")
            create_columns(self._record.folder, self._plan.connections)
            self._states, self._ports = map_columns(self._record.folder, 1, self._plan.connections)
            self._enter("start")
            async with self._target(target) as reached, self._open_crew() as crew, trio.open_nursery() as beside:
                with stages:
                    await self._start(crew, reached, beside)
                    await self._ramp(crew, beside)
                    await self._hold()
                with trio.CancelScope(shield=True):
                    summary = await self._close(crew)
                beside.cancel_scope.cancel()
        return summary

    # Stages.

    def _enter(self, stage: str) -> None:
        now = round(time.monotonic() - self._began, 3)
        if self._stages:
            self._stages[-1]["end"] = now
        self._stages.append({"name": stage, "start": now, "end": None})
        self._write_run(None)

    @asynccontextmanager
    async def _target(self, target: Target | None) -> AsyncIterator[Target]:
        """The target that was named, or the bundled server as long as the block lasts."""
        if target is not None:
            yield target
            return
        async with bundled_server(self._plan.connections, self._record.folder / "server.log") as self._server:
            self._figures = await self._server.stats()
            host, port = self._server.address
            yield Target(self._server.address, request_around("/test/{user}", f"{host}:{port}"))

    @asynccontextmanager
    async def _open_crew(self) -> AsyncIterator[Crew]:
        async with open_crew(self._ledger, self._states, self._reasons.append) as self._crew:
            yield self._crew

    async def _start(self, crew: Crew, target: Target, tasks: trio.Nursery) -> None:
        def specification(number: int, share: Share) -> client.Specification:
            return client.Specification(
                worker=number,
                workers=self._count,
                share=share,
                folder=str(self._record.folder.absolute()),
                target=target.address,
                request=target.request,
                ports=self._options.ports,
                reserved=as_ranges(ports_to_avoid(self._plan)),
                rate=self._options.rate,
                connect_timeout=self._options.connect_timeout,
                reset_at_end=self._server is not None,
            )

        await crew.start(specification, self._plan.shares(self._count))
        tasks.start_soon(crew.listen)
        self._sampler = Sampler(self._states, self._ledger, self._client_pids, self._server_pids())
        await self._sample(everything=True)
        tasks.start_soon(self._sample_on)

    async def _ramp(self, crew: Crew, tasks: trio.Nursery) -> None:
        self._enter("ramp")
        self._ramp_began = self._ramp_ended = time.monotonic()
        guard = trio.CancelScope()
        tasks.start_soon(self._guard, crew, guard)
        await crew.ramp(self._ramp_began, self._options.rate, self._options.in_flight)
        self._ramp_ended = time.monotonic()
        guard.cancel()
        await self._sample(everything=True)

    async def _hold(self) -> None:
        self._enter("hold")
        await self._sample(everything=True)
        server, tick = self._server, self._options.tick
        if server is not None and tick is not None:
            await server.set_tick(tick)
        with trio.move_on_after(self._options.hold):
            while not self._all_gone():  # the accounts are plain memory: there is nobody to set an event
                await trio.sleep(GUARD_SECONDS)
        if server is not None and tick is not None:
            await server.set_tick(None)
            await self._drain(server)
        await self._sample(everything=True)

    async def _drain(self, server: BundledServer) -> None:
        """Wait until every message of the last ticks has arrived, or nothing has come for two seconds."""
        last, since = -1, time.monotonic()
        with trio.move_on_after(DRAIN_SECONDS):
            while time.monotonic() - since < 2.0:
                figures = await server.stats()
                received = sum(count for count, _, _ in self._ledger.ticks().values())
                if figures is None:
                    return
                self._figures = figures
                if not figures["ticking"] and received >= sum(tick["sent"] for tick in figures["ticks"]):
                    return
                if received != last:
                    last, since = received, time.monotonic()
                await trio.sleep(0.05)

    async def _close(self, crew: Crew) -> Summary:
        counts = count_states(self._states)
        self._enter("close")
        self._console.say(f"Closing {counts[State.OPEN]:,} connections.")
        summary = conclude(self._facts(counts))
        self._write_run(summary)
        await crew.close(CLOSE_SECONDS)
        self._stages[-1]["end"] = round(time.monotonic() - self._began, 3)
        self._write_run(summary)
        return summary

    def _all_gone(self) -> bool:
        """Whether nothing is left to hold."""
        return not np.any(self._states == State.OPEN)

    # Beside the stages.

    async def _hear_signals(
        self, stages: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if self._interrupted:
                    os._exit(ExitCode.INTERRUPTED)  # all processes of ours notice that we are gone, and end
                self._interrupted = True
                self._console.say("Interrupted: closing in order. Once more to end at once.")
                stages.cancel()

    async def _guard(self, crew: Crew, scope: trio.CancelScope) -> None:
        """End the ramp before memory runs out."""
        least = read_memory().reserve
        with scope:
            while (available := read_memory().available) > least:
                await trio.sleep(GUARD_SECONDS)
            await crew.halt()
            self._reasons.append(
                f"memory: the ramp was ended with {available >> 20:,} MiB available, to leave {least >> 20:,} MiB free"
            )

    async def _sample_on(self) -> None:
        due = time.monotonic()
        while True:
            due += self._options.interval
            await trio.sleep(max(0.0, due - time.monotonic()))
            await self._sample()

    async def _sample(self, everything: bool = False) -> None:
        if self._server is not None:
            self._figures = await self._server.stats() or self._figures
        sample = self._sampler.read(self._stages[-1]["name"], self._figures if self._server else None, everything)
        self._samples.append(sample)
        self._record.write_sample(sample)
        self._console.sample(sample, self._plan.connections)

    def _client_pids(self) -> list[int]:
        return [os.getpid(), *self._crew.pids]

    def _server_pids(self) -> Callable[[], list[int]] | None:
        """How to find the server's processes: those of the bundled one, the tree of --server-pid, or nothing."""
        if self._server is not None:
            return lambda: _pids_of((self._figures or {}).get("pids", {}))
        root = self._options.server_pid
        return None if root is None else partial(_process_tree, root)

    # What came of it.

    def _write_run(self, summary: Summary | None) -> None:
        self._record.write_run(
            {
                "command": shlex.join(sys.argv),
                "options": msgspec.to_builtins(asdict(self._options), enc_hook=str),
                "host": host_facts(),
                "versions": {name: version(name) for name in ("floodtest", "trio", "numpy")},
                "stages": self._stages,
                "summary": None if summary is None else msgspec.to_builtins(summary),
            }
        )

    def _facts(self, counts: dict[State, int]) -> Facts:
        return Facts(
            plan=self._plan,
            explicit_ports=self._options.ports == "explicit",
            folder=str(self._record.folder),
            counts=counts,
            ledger=self._ledger,
            lost=self._crew.lost,
            samples=self._samples,
            server=self._figures,
            server_ended=self._server is not None and self._server.has_ended,
            ramp_seconds=self._ramp_ended - self._ramp_began,
            workers=self._count,
            files_limit=self._files_limit,
            interrupted=self._interrupted,
            reasons=self._reasons,
            ports=self._ports,
        )


def _pids_of(pids: dict[str, Any]) -> list[int]:
    return [pids["parent"], pids["nursery"], *pids["fronts"]] if pids else []


def _process_tree(root: int) -> list[int]:
    try:
        process = psutil.Process(root)
        return [root, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def host_facts() -> dict[str, Any]:
    """Return what of this machine a reader of the record needs to judge it."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": cores(),
        "memory": read_memory().total,
        "files_limit": raise_files_limit(),
        "somaxconn": int(Path("/proc/sys/net/core/somaxconn").read_text()),
        "slabinfo": read_slabs() is not None,
    }
