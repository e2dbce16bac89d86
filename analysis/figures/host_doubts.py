"""Doubts about a run on several hosts: a host that was lost, clocks that moved or are not known. Pure.

In: the hosts. Out: sentences, gravest first; none for a run on one machine.
"""

from collections.abc import Iterator, Sequence

from floodtest.analysis.figures.formatting import listed
from floodtest.analysis.record.hosts import Host
from floodtest.analysis.record.stages import Stage

APART = 1.0
"""Seconds between the ramps of hosts that were to begin together, from which on they are worth a word."""


def doubts_of_hosts(hosts: Sequence[Host]) -> list[str]:
    """Return what is to be held against the figures of the whole."""
    return [*_of_records(hosts), *_of_clocks(hosts), *_of_beginnings(hosts)]


def _of_records(hosts: Sequence[Host]) -> Iterator[str]:
    for host in hosts:
        if host.record is None:
            yield f"The host {host.name} is in no figure: {host.fault}"
        elif host.is_lost:
            yield (
                f"The host {host.name} was lost: its record ends without a summary. Its connections count as ended "
                "with its last sample."
            )


def _of_clocks(hosts: Sequence[Host]) -> Iterator[str]:
    for host in hosts:
        clock = host.facts.clock
        if clock is not None and clock.has_drifted and clock.drift_us is not None:
            yield (
                f"The clock of {host.name} moved by {clock.drift_us:+,.1f} µs in the run, and the measurements are off "
                f"by {clock.drift_bound_us or 0.0:,.1f} µs at the most: latencies of messages from other hosts are off "
                f"by up to {clock.bound_us:,.1f} µs there. Synchronize the hosts (chrony)."
            )
    names = [host.name for host in hosts if host.facts.aligned_by != "monotonic"]
    if names:
        whose = "All hosts'" if len(names) == len(hosts) else f"{listed(names)}: the"
        how = "CLOCK_REALTIME" if all(host.facts.aligned_by == "realtime" for host in hosts) else "their beginnings"
        yield f"{whose} samples are set beside the others' by {how}: nobody measured how far clocks are apart."


def _of_beginnings(hosts: Sequence[Host]) -> Iterator[str]:
    """Say that hosts did not begin together: what memory was before the ramp is then not known of all at one time."""
    ramps = {}
    for host in hosts:
        samples = [] if host.record is None else host.record.samples
        first = next((sample.time for sample in samples if sample.stage == Stage.RAMP), None)
        if first is not None:
            ramps[host.name] = host.facts.began + first
    if len(ramps) > 1 and (apart := max(ramps.values()) - min(ramps.values())) > APART:
        last = max(ramps, key=lambda name: ramps[name])
        yield (
            f"The ramps of the hosts began up to {apart:,.1f} s apart, that of {last} last: what connections took is "
            "held against a moment at which some were open."
        )
