"""The summary of a run on several hosts, made of those of its hosts. Pure.

In: the hosts, the samples of the whole, and counts of latencies that were added bucket by bucket. Out: a summary in
which counts are sums, percentiles of latency are those of all messages, and figures of memory and CPU are made of the
samples of the whole, as for one machine. What is known of each host by percentiles only, such as times to open, has no
sum: it is in the hosts' own records. A host without a summary was lost: its connections are counted by its last sample,
as closed early and failed under `HOST_LOST`, and the whole falls short.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from floodtest.analysis.figures.cost_in_words import answer_of, room_of
from floodtest.analysis.figures.memory import memory_of_samples
from floodtest.analysis.figures.series import percentiles
from floodtest.analysis.figures.summary_figures import idle_share, summarize_memory
from floodtest.analysis.record import FORMAT, LatencyCounts, Sample, Summary
from floodtest.analysis.record import summary as sums
from floodtest.analysis.record.causes import words_of
from floodtest.analysis.record.hosts import Host, samples_at_server
from floodtest.analysis.record.thresholds import parse

HOST_LOST = "HOST_LOST"
"""How connections are said to have ended that ended with their host."""

_SHARES = np.array([0.5, 0.9, 0.99, 0.999, 1.0])

Told = Sequence[Summary]
T = TypeVar("T")


def merged_summary(
    folder: str, hosts: Sequence[Host], samples: list[Sample], latency: LatencyCounts, conditions: Iterable[str] = ()
) -> Summary:
    """Return the summary of the whole, of whose hosts one at the least has a summary of its own."""
    told = [host.record.summary for host in hosts if host.record is not None and host.record.summary is not None]
    lost = [host for host in hosts if host.record is not None and host.record.summary is None]
    found, server = memory_of_samples(samples), _server(told)
    connections = _connections(told, [host.record.samples[-1] for host in lost if host.record and host.record.samples])
    seconds = max(one.ramp.seconds for one in told)
    summary = Summary(
        format=FORMAT,
        run=folder,
        models=sums.Models(_one_of(one.models.client for one in told), _first(one.models.server for one in told)),
        protocol=_one_of(one.protocol for one in told if one.protocol is not None) or None,
        opened_when=_one_of(one.opened_when for one in told if one.opened_when is not None) or None,
        outcome="ok",
        reasons=_reasons(hosts),
        connections=connections,
        ramp=sums.Ramp(seconds, round(connections.opened / seconds, 1) if seconds > 0 else 0.0),
        workers=sums.Workers(
            sum(one.workers.client for one in told),
            _first(one.workers.server for one in told),
            min(one.workers.files_limit for one in told),
        ),
        network=told[0].network,
        server=server,
        answer=answer_of(found, room_of(samples_at_server(hosts), server)),
        memory=summarize_memory(
            samples,
            found,
            told[0].memory.kernel_source,
            _sum(one.memory.predicted_bytes for one in told),
            server_is_ours=any(one.models.server is not None for one in told),
        ),
        cpu=sums.Cpu(idle_share(samples, "server_cpu"), idle_share(samples, "client_cpu")),
        ticks=_ticks(told),
        messages=_messages([one.messages for one in told if one.messages is not None], latency),
        server_times=_server_times([one.server_times for one in told if one.server_times is not None], latency),
        client_share=_client_share([one.client_share for one in told if one.client_share is not None], latency),
        received=sum(one.received for one in told),
        bytes=sum(one.bytes for one in told),
        missing=sum(one.missing for one in told),
        repeated=sum(one.repeated for one in told),
        jumps=sum(one.jumps for one in told),
        pings=sum(one.pings for one in told),
        polls=sum(one.polls for one in told),
        tls=_tls([one.tls for one in told if one.tls is not None]),
        server_tls=_first(one.server_tls for one in told),
        causes=_causes(told, connections),
    )
    return _judged(summary, _outcome(hosts), conditions)


def _judged(summary: Summary, outcome: sums.Outcome, conditions: Iterable[str]) -> Summary:
    """Hold the whole against the thresholds: those of a host say nothing about it."""
    thresholds = [parse(text).judge(summary) for text in conditions]
    if outcome == "ok" and any(threshold.failed for threshold in thresholds):
        outcome = "shortfall"
    return msgspec.structs.replace(summary, outcome=outcome, thresholds=thresholds)


def _outcome(hosts: Sequence[Host]) -> sums.Outcome:
    outcomes = {
        "shortfall" if host.record is None or host.record.summary is None else host.record.summary.outcome
        for host in hosts
    }
    for worst in ("interrupted", "shortfall", "refused"):
        if worst in outcomes:
            return "shortfall" if worst == "refused" else worst
    return "ok"


def _reasons(hosts: Sequence[Host]) -> list[str]:
    reasons = []
    for host in hosts:
        if host.record is None or host.record.summary is None:
            reasons.append(f"{host.name}: it was lost: its record has no summary")
        else:
            reasons += [f"{host.name}: {reason}" for reason in host.record.summary.reasons]
    return reasons


def _connections(told: Told, last: Sequence[Sample]) -> sums.Connections:
    """Add up connections; those of a lost host, of which the last sample is known, ended with it."""
    each = [one.connections for one in told]
    failed, closed_by = _counts(c.failed for c in each), _counts(c.closed_by for c in each)
    ended, in_flight = (sum(getattr(sample, name) for sample in last) for name in ("open", "in_flight"))
    unknown = sum(sample.failed for sample in last)  # before the host was lost, by causes that it did not get to tell
    early = sum(sample.closed_early for sample in last)
    if in_flight + unknown:
        failed[f"{HOST_LOST}@host"] = in_flight + unknown
    if ended + early:
        closed_by[HOST_LOST] = ended + early
    return sums.Connections(
        planned=sum(c.planned for c in each) + sum(map(_planned, last)),
        opened=sum(c.opened for c in each) + ended + early,
        peak_open=sum(c.peak_open for c in each) + ended,
        closed_early=sum(c.closed_early for c in each) + ended + early,
        not_reached=sum(c.not_reached for c in each) + sum(sample.not_reached for sample in last),
        failed=failed,
        closed_by=closed_by,
        replaced_ports=sum(c.replaced_ports for c in each),
        attempts=None if last else _sum_of_all(c.attempts for c in each),
        opens=None if last else _sum_of_all(c.opens for c in each),
    )


def _planned(sample: Sample) -> int:
    return sample.not_reached + sample.in_flight + sample.open + sample.failed + sample.closed_early


def _server(told: Told) -> sums.Server | None:
    """Return the other end as the host sees it that has most of it: its processes, if any host has them."""
    known = [one.server for one in told if one.server is not None]
    if not known:
        return None
    best = max(known, key=lambda server: (bool(server.processes), server.queue is not None))
    addresses = list(dict.fromkeys(address for server in known for address in server.addresses))
    return msgspec.structs.replace(best, addresses=addresses)


def _ticks(told: Told) -> list[sums.Tick]:
    """Add up each tick; it took as long as at the host at which it took longest."""
    by_number: dict[int, list[sums.Tick]] = {}
    for tick in (tick for one in told for tick in one.ticks):
        by_number.setdefault(tick.number, []).append(tick)
    found = []
    for number, each in sorted(by_number.items()):
        received, seconds = sum(tick.received for tick in each), max(tick.seconds for tick in each)
        sent = _first(tick.sent for tick in each)
        found.append(sums.Tick(number, sent, received, seconds, round(received / seconds, 1) if seconds else None))
    return found


def _messages(each: Sequence[sums.Messages], latency: LatencyCounts) -> sums.Messages | None:
    if not each:
        return None
    seconds, received = max(one.seconds for one in each), sum(one.received for one in each)
    return sums.Messages(
        planned=sum(one.planned for one in each),
        published=sum(one.published for one in each),
        expected=sum(one.expected for one in each),
        received=received,
        lost=sum(one.lost for one in each),
        duplicated=sum(one.duplicated for one in each),
        misdelivered=sum(one.misdelivered for one in each),
        undeliverable=sum(one.undeliverable for one in each),
        late=_sum(one.late for one in each),
        most_behind_seconds=max((s for one in each if (s := one.most_behind_seconds) is not None), default=None),
        seconds=seconds,
        per_second=round(received / seconds, 1) if seconds > 0 else None,
        latency_ms=_latency(latency, 1),
        uncorrected_latency_ms=_latency(latency, 2),
        negative=sum(one.negative for one in each),
        most_negative_ms=max((ms for one in each if (ms := one.most_negative_ms) is not None), default=None),
    )


def _server_times(each: Sequence[sums.ServerTimes], latency: LatencyCounts) -> sums.ServerTimes | None:
    if not each:
        return None
    return sums.ServerTimes(
        timed=sum(one.timed for one in each),
        ahead=sum(one.ahead for one in each),
        old=sum(one.old for one in each),
        unreadable=sum(one.unreadable for one in each),
        without=sum(one.without for one in each),
        clock_offset_seconds=each[0].clock_offset_seconds,
        latency_ms=_latency(latency, 1),
    )


def _client_share(each: Sequence[sums.ClientShare], latency: LatencyCounts) -> sums.ClientShare | None:
    if not each:
        return None
    messages = sum(one.sampled_messages for one in each)
    return sums.ClientShare(
        sampled_connections=sum(one.sampled_connections for one in each),
        sampled_messages=messages,
        shared=sum(one.shared for one in each),
        read_ms=_latency(latency, 3),
        arrival_ms=_latency(latency, 4),
        note=None if messages else _first(one.note for one in each),
    )


def _latency(latency: LatencyCounts, column: int) -> sums.Latency | None:
    found = percentiles(latency, _SHARES, column)
    return None if found is None else sums.Latency(*found.tolist())


def _tls(each: Sequence[sums.Tls]) -> sums.Tls | None:
    if not each:
        return None
    return sums.Tls(
        handshakes=sum(one.handshakes for one in each),
        to_resume=sum(one.to_resume for one in each),
        resumed=sum(one.resumed for one in each),
        ciphers=_counts(one.ciphers for one in each),
        kept=sum(one.kept for one in each),
        cpu_seconds=round(sum(one.cpu_seconds for one in each), 3),
        tickets=sum(one.tickets for one in each),
        key_updates=sum(one.key_updates for one in each),
        is_verified=all(one.is_verified for one in each),
    )


def _causes(told: Told, connections: sums.Connections) -> list[sums.CauseInWords]:
    """Put each name in words, with an answer of the first host that has one."""
    shown = {cause.name: cause for one in reversed(told) for cause in one.causes if cause.answer is not None}
    counts = {**connections.failed, **connections.closed_by}
    return [
        sums.CauseInWords(
            name, count, *words_of(name), *((shown[name].answer, shown[name].note) if name in shown else (None, None))
        )
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def _counts(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for table in tables:
        found.update(table)
    return dict(found)


def _one_of(names: Iterable[str]) -> str:
    """Return what all have, or all that there are, each once."""
    return ", ".join(dict.fromkeys(names))


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _sum(values: Iterable[int | None]) -> int | None:
    """Add up those that are known, if any is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _sum_of_all(values: Iterable[int | None]) -> int | None:
    """Add up; None if one is not known."""
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)
