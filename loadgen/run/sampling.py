"""Sampling: rows of the run record, made of what sites and server say at one moment, and told to the watchers.

A sample is taken at each end of a stage, and between them each `interval` seconds; more often at the beginning of a
ramp. Where the figures of a site can't be read there is none, and the site gives the reason.
"""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from floodtest.analysis.record.samples import Sample
from floodtest.analysis.record.stages import OPENING, Stage
from floodtest.flyweight.machine.processes import cpu_seconds
from floodtest.loadgen.client import histogram
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.server_side import ServerSide
from floodtest.loadgen.run.site import Detail, Sites
from floodtest.loadgen.run.stages import Progress
from floodtest.loadgen.run.watch import Watchers
from floodtest.wire.control import Stats

RAMP_SHARE = 0.05
LEAST_INTERVAL = 0.1
"""In a ramp samples are so many seconds apart at the least, and such a share of its time so far at the most: a slope
takes samples at different numbers of connections, and 50,000 are open within two seconds."""


class Sampler:
    """Takes the samples of a run, and keeps them."""

    def __init__(
        self, sites: Sites, server: ServerSide, progress: Progress, watchers: Watchers, interval: float
    ) -> None:
        self._sites = sites
        self._server = server
        self._progress = progress
        self._watchers = watchers
        self._asked_for = interval
        self._one_at_a_time = trio.Lock()
        self._began: float | None = None
        self._latency: Mapping[int, int] = {}
        self.samples: list[Sample] = []

    async def take(self, detail: Detail = Detail.EVERYTHING, was_asked_for: bool = True) -> None:
        """Take a sample; the first one begins the time of all.

        Those of a stage's ends and those by the clock wait for each other, or they could be told in the wrong order.
        """
        async with self._one_at_a_time:
            await self._take(detail, was_asked_for)

    async def _take(self, detail: Detail, was_asked_for: bool) -> None:
        if self._began is None:
            self._began = time.monotonic()
        stats = await self._server.ask()
        if self._progress.stage in OPENING:
            self._server.queue.look()
        cost = self._server.measure(detail is Detail.EVERYTHING)  # just before connections, against which it is held
        reading = await self._sites.read(detail)
        if reading.figures is None:
            return
        seconds = round(time.monotonic() - self._began, 3)
        latencies, self._latency = latencies_between(self._latency, reading.latency), reading.latency
        sample = sample_of(seconds, self._progress.stage, reading, cost, latencies)
        sample = sample if stats is None else _with_server(sample, stats, self._server.is_bundled)
        self.samples.append(sample)
        self._watchers.sample(sample, reading, was_asked_for)

    async def take_on(self) -> None:
        """Take samples until cancelled, by the clock; those in between that were not asked for are told apart."""
        last_asked_for = due = time.monotonic()
        while True:
            due += self._interval()
            await trio.sleep(max(0.0, due - time.monotonic()))
            was_asked_for = due - last_asked_for >= self._asked_for * 0.999
            await self.take(Detail.FIGURES, was_asked_for)
            last_asked_for = due if was_asked_for else last_asked_for

    def _interval(self) -> float:
        """Return the seconds to the next sample: as asked for, but fewer early in the ramp."""
        stage = self._progress.stage
        if stage not in OPENING:
            return self._asked_for
        lasted = time.monotonic() - self._progress.ramp_began if stage == Stage.RAMP else 0.0
        return min(self._asked_for, max(LEAST_INTERVAL, RAMP_SHARE * lasted))


Latencies = tuple[float, float, float] | tuple[None, None, None]
"""Milliseconds that half of the messages, 99% of them and all of them did not exceed; None where there were none."""


def sample_of(
    seconds: float, stage: Stage, reading: Reading, server: tuple[int, float] | None, latencies: Latencies
) -> Sample:
    """Return the sample of a moment at which sites could read their figures; `server` is its memory and CPU."""
    assert reading.figures is not None
    parts: dict[str, Any] = {}
    for part in (reading.states, reading.counters, reading.figures):
        parts |= msgspec.structs.asdict(part)
    private, cpu = (None, None) if server is None else server
    p50, p99, most = latencies
    return Sample(
        time=seconds,
        stage=stage,
        server_private=private,
        server_cpu=cpu,
        client_begun=reading.begun,
        latency_p50=p50,
        latency_p99=p99,
        latency_max=most,
        **parts,
    )


def latencies_between(before: Mapping[int, int], now: Mapping[int, int]) -> Latencies:
    """Return the latencies of the messages that were counted since `before`; both are counts by bucket."""
    found = histogram.microseconds_at([0.5, 0.99, 1.0], histogram.dense(now) - histogram.dense(before))
    if found is None:
        return None, None, None
    p50, p99, most = (microseconds / 1000 for microseconds in found)
    return p50, p99, most


def _with_server(sample: Sample, server: Stats, is_here: bool) -> Sample:
    """Return a sample with what our server says of itself; `is_here`: its processes are on this machine."""
    return msgspec.structs.replace(
        sample,
        server_open=server.connections,
        server_begun=server.fronts_begun,
        server_logins=server.logins,
        server_rejected=sum(server.rejected.values()),
        server_slow=server.slow,
        server_messages=server.messages,
        server_routed=server.routed,
        router_cpu=cpu_seconds(server.pids.parent) if is_here else None,
    )
