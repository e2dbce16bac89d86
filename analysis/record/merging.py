"""Samples and latencies of several hosts as those of one run. Pure.

In: of each host its samples, in order of time, and the second of the whole run in which they begin. Out: samples of the
whole, in which counts, bytes and CPU seconds are sums; and counts of latencies by bucket, added.

Hosts take samples at times of their own. A sample of the whole has the last one of each host, and there is one whenever
each host has brought another, and where a host goes over to another stage. So each of them is a sum of moments that lie
an interval apart at the most, in each of which a host's own figures belong together.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.analysis.record.latency import NONE, LatencyCounts
from floodtest.analysis.record.samples import FIELDS, Sample
from floodtest.analysis.record.stages import Stage

_HIGHEST = ("latency_p50", "latency_p99", "latency_max")
"""Of these the highest of any host is taken, which the percentile of all messages does not exceed."""

_OF_SERVER = tuple(name for name in FIELDS if name.startswith("server_") or name == "router_cpu")
"""Figures of a server, which is one: those of the first host that has them. Of others that a host has not got there is
no sum."""

_ORDER = {stage.value: place for place, stage in enumerate(Stage)}


@dataclass(frozen=True)
class Track:
    """The samples of a host."""

    samples: Sequence[Sample]
    began: float = 0.0
    """The second of the whole run in which they begin."""
    is_lost: bool = False
    """Whether its connections ended with its last sample."""


@dataclass
class _Host:
    """How far the samples of a host have been taken."""

    track: Track
    left: int
    last: Sample | None = None
    is_fresh: bool = False
    """Whether `last` is in no sample of the whole yet."""
    highest: dict[str, float] = field(default_factory=dict)
    """Of the samples that are in no sample of the whole yet."""

    @property
    def is_over(self) -> bool:
        return not self.left

    def take(self, sample: Sample) -> None:
        self.last, self.left, self.is_fresh = sample, self.left - 1, True
        for name in _HIGHEST:
            value = getattr(sample, name)
            if value is not None:
                self.highest[name] = max(value, self.highest.get(name, value))

    def give(self) -> Sample:
        """Return the last sample; its connections have ended if the host is lost and this is not news any more."""
        assert self.last is not None
        last, self.is_fresh, was_fresh = self.last, False, self.is_fresh
        if was_fresh or not (self.is_over and self.track.is_lost):
            return last
        return msgspec.structs.replace(
            last,
            open=0,
            in_flight=0,
            closed_early=last.closed_early + last.open,
            failed=last.failed + last.in_flight,
        )


def merged_samples(tracks: Sequence[Track]) -> list[Sample]:
    """Return the samples of the whole, from when each host has its first; hosts without samples are left out."""
    hosts = [_Host(track, len(track.samples)) for track in tracks if track.samples]
    return list(_rounds(hosts)) if hosts else []


def _rounds(hosts: list[_Host]) -> Iterator[Sample]:
    rows, unbegun = _in_order(hosts), set(range(len(hosts)))
    awaited = set(unbegun)  # hosts that are to bring another sample before there is one of the whole
    for at, (time, place, sample) in enumerate(rows):
        host = hosts[place]
        if not unbegun and host.is_fresh and host.last is not None and host.last.stage != sample.stage:
            yield _sum(rows[at - 1][0], hosts)  # otherwise the stage's end would be in no sample
            awaited = {place for place, host in enumerate(hosts) if not host.is_over}
        host.take(sample)
        unbegun.discard(place)
        awaited.discard(place)
        is_last_of_its_time = at + 1 == len(rows) or rows[at + 1][0] > time
        if is_last_of_its_time and not awaited:
            yield _sum(time, hosts)
            awaited = {place for place, host in enumerate(hosts) if not host.is_over}


def _in_order(hosts: list[_Host]) -> list[tuple[float, int, Sample]]:
    """Return all samples by their time in the whole run, each with the place of its host."""
    rows = (
        [(round(host.track.began + sample.time, 3), place, sample) for sample in host.track.samples]
        for place, host in enumerate(hosts)
    )
    return list(heapq.merge(*rows, key=lambda row: row[:2]))


def _sum(time: float, hosts: list[_Host]) -> Sample:
    """Add up the last samples of hosts."""
    going = [host for host in hosts if not (host.is_over and host.track.is_lost and not host.is_fresh)] or hosts
    stages = [host.last.stage for host in going if host.last is not None]
    highest = [host.highest for host in hosts]
    last = [host.give() for host in hosts]
    values: dict[str, Any] = {
        name: _added([getattr(sample, name) for sample in last], name in _OF_SERVER) for name in FIELDS[2:]
    }
    values |= {name: max((one[name] for one in highest if name in one), default=None) for name in _HIGHEST}
    for host in hosts:
        host.highest = {}
    return Sample(time=time, stage=min(stages, key=lambda stage: _ORDER.get(stage, 0)), **values)


def _added(values: list[float | None], is_of_server: bool) -> float | None:
    known = [value for value in values if value is not None]
    if not known or (len(known) < len(values) and not is_of_server):
        return None
    total = known[0] if is_of_server else sum(known)
    return round(total, 2) if isinstance(total, float) else total


def merged_latency(tables: Sequence[LatencyCounts]) -> LatencyCounts:
    """Add up counts of latencies bucket by bucket; what is wrong with one of them is wrong with the sum."""
    rows = np.concatenate([NONE.rows, *(table.rows for table in tables)])
    tops, place = np.unique(rows[:, 0], return_inverse=True)
    counts: npt.NDArray[np.float64] = np.zeros((len(tops), rows.shape[1]))
    np.add.at(counts, place.reshape(-1), rows)
    counts[:, 0] = tops
    return LatencyCounts(counts, next((table.fault for table in tables if table.fault is not None), None))
