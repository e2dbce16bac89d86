"""Sampling: one row of the run record from everything that can be read about a run, within a budget of time."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.analysis.record.samples import Sample
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.cpu import read_cpu_time
from floodtest.flyweight.machine.files import read_memory
from floodtest.flyweight.machine.processes import ProcessMeter, cpu_seconds
from floodtest.flyweight.machine.sockets import read_slabs, read_sockets
from floodtest.loadgen.client import latency
from floodtest.loadgen.client.accounts import State, count_states
from floodtest.wire.control import Stats


class Sampler:
    """Reads samples; `server_pids` is None where the server is not known to be on this machine."""

    def __init__(
        self,
        states: npt.NDArray[np.uint8],
        ledger: Ledger,
        client_pids: Callable[[], list[int]],
        server_pids: Callable[[], list[int]] | None,
    ) -> None:
        self._states = states
        self._ledger = ledger
        self._client_pids = client_pids
        self._server_pids = server_pids
        self._client = ProcessMeter()
        self._server = ProcessMeter()
        self._began = time.monotonic()
        self._before = read_cpu_time()
        self._latency = ledger.total("latency")

    def read(self, stage: Stage, server: Stats | None, everything: bool = False) -> Sample:
        """Read a sample; `everything` reads each process's memory and CPU, not only what fits into the budget."""
        self._client.read(self._client_pids(), everything)
        if self._server_pids is not None:
            self._server.read(self._server_pids(), everything)
        counts = count_states(self._states)
        memory, sockets, machine = read_memory(), read_sockets(), read_cpu_time()
        sample = Sample(
            time=round(time.monotonic() - self._began, 3),
            stage=stage,
            not_reached=counts[State.NOT_REACHED],
            in_flight=counts[State.IN_FLIGHT],
            open=counts[State.OPEN],
            failed=counts[State.FAILED],
            closed_early=counts[State.CLOSED_EARLY],
            chunks=int(self._ledger.total("chunks")),
            bytes=int(self._ledger.total("bytes")),
            missing=int(self._ledger.total("missing")),
            repeated=int(self._ledger.total("repeated")),
            jumps=int(self._ledger.total("jumps")),
            server_private=None if self._server_pids is None else self._server.private,
            client_private=self._client.private,
            server_cpu=None if self._server_pids is None else round(self._server.cpu, 2),
            client_cpu=round(self._client.cpu, 2),
            mem_available=memory.available,
            slab=memory.slab,
            kernel_stack=memory.kernel_stack,
            page_tables=memory.page_tables,
            percpu=memory.percpu,
            sockets=sockets.used,
            tcp_inuse=sockets.tcp_inuse,
            tcp_time_wait=sockets.tcp_time_wait,
            tcp_queued=sockets.queued,
            **(read_slabs() or {}),
            messages=int(self._ledger.total("messages")),
            **self._latency_since(),
            machine_cpu=round(machine.busy - self._before.busy, 2),
            kernel_cpu=round(machine.kernel - self._before.kernel, 2),
            swapped=memory.swapped,
        )
        return sample if server is None else _with_server(sample, server)

    def _latency_since(self) -> dict[str, Any]:
        """Milliseconds of what has been read since this was last asked; nothing if that is nothing."""
        before, self._latency = self._latency, self._ledger.total("latency")
        found = latency.microseconds_at([0.5, 0.99, 1.0], self._latency - before)
        names = ("latency_p50", "latency_p99", "latency_max")
        return {name: value / 1000 for name, value in zip(names, found or [], strict=False)}


def _with_server(sample: Sample, server: Stats) -> Sample:
    """Return a sample with what the bundled server says of itself."""
    return msgspec.structs.replace(
        sample,
        server_open=server.connections,
        server_logins=server.logins,
        server_rejected=sum(server.rejected.values()),
        server_slow=server.slow,
        server_messages=server.messages,
        server_routed=server.routed,
        router_cpu=cpu_seconds(server.pids.parent),
    )
