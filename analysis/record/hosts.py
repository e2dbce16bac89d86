"""The hosts of a record: a run on several machines has an ordinary record of each in `hosts/NAME`.

In: a record. Out: its hosts, by user number, each with what the whole run knows of it: when its samples begin, and how
far its clock is off. A record of one machine has none. Fails: never; a host's record that can't be read says so itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from floodtest.analysis.record.format import HOSTS_FOLDER, RecordError
from floodtest.analysis.record.reader import Record, load, mapping
from floodtest.analysis.record.samples import Sample
from floodtest.flyweight.machine.clock_offset import Offsets, bound_of_run, drift_between

Alignment = Literal["monotonic", "realtime", "nothing"]


class HostClock(msgspec.Struct, frozen=True):
    """By how much CLOCK_MONOTONIC of a host is ahead of that of the host by whose clock the run goes."""

    ahead_seconds: float
    """As measured before the run: latencies were corrected by it before they were counted."""
    bound_us: float
    """What it was off by at any time of the run at the most."""
    drift_us: float | None = None
    """How far the clock had moved by the end; None: it was not measured then."""
    drift_bound_us: float | None = None
    """What the drift is off by at the most."""

    @property
    def has_drifted(self) -> bool:
        """Whether the clock moved by more than the measurements may be off by."""
        return self.drift_us is not None and abs(self.drift_us) > (self.drift_bound_us or 0.0)


def clock_of(start: Offsets, end: Offsets | None) -> HostClock:
    """Return what is kept of two measurements; `end` is None where the host could not be asked any more."""
    ahead, bound = start.monotonic.ahead_ns / 1e9, start.monotonic.bound_ns / 1000
    if end is None:
        return HostClock(ahead, bound)
    drift = drift_between(start, end)
    bound = bound_of_run(start.monotonic, end.monotonic) / 1000
    return HostClock(ahead, bound, drift.moved_ns / 1000, drift.bound_ns / 1000)


class HostFacts(msgspec.Struct, frozen=True):
    """What run.json of the whole run says of a host."""

    began: float = 0.0
    """The second of the whole run in which the samples of the host begin."""
    aligned_by: Alignment = "nothing"
    """How that is known: by measured clocks, by clocks that somebody else synchronizes, or not at all."""
    clock: HostClock | None = None
    """None: it was not measured; or it is the clock by which the run goes."""


@dataclass(frozen=True)
class Host:
    """A host of a run."""

    name: str
    facts: HostFacts
    record: Record | None
    """None: it can't be read."""
    fault: str | None = None
    """Why not: a sentence."""

    @property
    def is_lost(self) -> bool:
        """Whether the host did not get to the end of its part: it was lost, or cut off, or killed."""
        return self.record is None or self.record.run.get("summary") is None


def hosts_of(record: Record) -> list[Host]:
    """Return the hosts of a run on several machines, in the order of their users; none of a run on one machine."""
    told = record.part("hosts")
    folder = record.folder / HOSTS_FOLDER
    names = sorted({*told, *(path.name for path in folder.glob("*") if path.is_dir())})
    found = []
    for name in names:
        try:
            facts = msgspec.convert(told.get(name, {}), HostFacts)
        except msgspec.ValidationError:
            facts = HostFacts()
        try:
            found.append(Host(name, facts, load(folder / name)))
        except RecordError as error:
            found.append(Host(name, facts, None, str(error)))
    return sorted(found, key=lambda host: (first_user(host.record), host.name))


def samples_at_server(hosts: Sequence[Host]) -> list[Sample]:
    """Return the samples of the host that measured the server, whose machine it is on; none where no host did."""
    for host in hosts:
        samples = [] if host.record is None else host.record.samples
        if any(sample.server_private is not None for sample in samples):
            return samples
    return []


def first_user(record: Record | None) -> float:
    """Return the number of a record's first user, by which hosts are in order."""
    plan = {} if record is None else mapping(record.part("options").get("plan"))
    first = plan.get("first_user")
    return float(first) if isinstance(first, int) else float("inf")
