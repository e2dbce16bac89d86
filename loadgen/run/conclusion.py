"""What came of a run: from the accounts, the samples and the server's figures to a summary. No clock, no process."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from floodtest.analysis import FORMAT, Sample, Summary
from floodtest.analysis.figures.cost_in_words import answer_of, room_of
from floodtest.analysis.figures.memory import memory_of_samples
from floodtest.analysis.figures.summary_figures import idle_share, summarize_memory
from floodtest.analysis.record import summary as sums
from floodtest.analysis.record.causes import words_of
from floodtest.analysis.record.summary import CauseInWords, Connections, Messages, Outcome, Tick
from floodtest.analysis.record.thresholds import Condition
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.engine.ledger import TICKS
from floodtest.loadgen.run.latencies import (
    client_share_of,
    latency_of,
    remarks_on_clocks,
    remarks_on_times,
    times_of,
)
from floodtest.loadgen.run.lifespans import lifetimes_of, timing_of
from floodtest.loadgen.run.reading import Reading, ReceivedTick
from floodtest.loadgen.run.remarks import (
    remarks_on_dropped_packets,
    remarks_on_first_words,
    remarks_on_queue,
    remarks_on_resumption,
)
from floodtest.loadgen.run.server_reasons import reasons_of_server, server_in_words
from floodtest.wire.control import Generated, Stats
from floodtest.wire.names import DEFAULT_PROTOCOL, LONGPOLL
from floodtest.wire.sequence import MAX_STEP

KERNEL_SOURCE = "growth of Slab + KernelStack + PageTables + Percpu (/proc/meminfo) from before the ramp to the hold"


@dataclass(frozen=True)
class MessageFacts:
    """What was planned, what the generator said of it (None: nothing), and the repeated `#n` from before it began."""

    planned: int
    generated: Generated | None
    repeated_before: int


@dataclass(frozen=True)
class Facts:
    """What a conclusion is drawn from, at the end of the hold and of the messages after it."""

    folder: str
    reading: Reading
    """What all sites say together."""
    samples: list[Sample]
    server: Stats | None
    server_ended: bool
    server_silent: bool
    """Whether the bundled server did not answer when it was last asked, though it had not ended."""
    ramp_seconds: float
    interrupted: bool
    reasons: Sequence[str]
    """What has gone wrong elsewhere than at a site; the run falls short for it, as for what a site says."""
    network: sums.Network
    predicted_bytes: int | None
    server_is_bundled: bool = True
    """Whether the server, if it is a comet server, was started by the run, and not by somebody else."""
    cut_short: bool = False
    """Whether the run ended before its stages were over since a site ran short of memory, which is one of its reasons.
    """
    other_end: sums.Server | None = None
    """Where connections went, whose processes were measured, and what became of the server's queue."""
    in_flight: int = 1024
    """Connections that were begun and not yet open, at the most."""
    remarks: Sequence[str] = ()
    """What has gone wrong and leaves the outcome as it is; told behind all reasons."""
    messages: MessageFacts | None = None
    conditions: Sequence[Condition] = ()
    models: sums.Models = field(default_factory=sums.Models)
    clock_offset: float | None = None
    """Seconds by which the clock in messages is ahead, where their times were asked for."""
    protocol: str = DEFAULT_PROTOCOL
    """That was asked for."""
    opened_when: str = "head"
    is_verified: bool = True
    """Whether certificates are verified, where TLS is spoken."""

    @property
    def is_over_early(self) -> bool:
        return self.interrupted or self.cut_short

    @property
    def server_is_ours(self) -> bool:
        """Whether the run started the bundled server."""
        return self.models.server is not None


def conclude(facts: Facts) -> Summary:
    """Draw up the summary, and hold it against its thresholds."""
    summary = _summarize(facts)
    thresholds = [condition.judge(summary) for condition in facts.conditions]
    reasons = [*summary.reasons, *(_threshold_reason(threshold) for threshold in thresholds if threshold.failed)]
    outcome = _outcome(facts, reasons)
    reasons += [
        *remarks_on_first_words(facts.reading.answers),
        *remarks_on_queue(summary, facts.in_flight),
        *remarks_on_dropped_packets(facts.samples, facts.reading.attempts),
        *remarks_on_resumption(summary.tls),
        *remarks_on_times(summary.server_times),
        *remarks_on_clocks(summary.messages),
        *facts.remarks,
    ]
    return msgspec.structs.replace(summary, thresholds=thresholds, reasons=reasons, outcome=outcome)


def _threshold_reason(threshold: sums.Threshold) -> str:
    if threshold.value is None:
        return f"threshold: {threshold.condition}: that was not measured"
    return f"threshold: {threshold.condition}: it is {threshold.value:,}"


def _summarize(facts: Facts) -> Summary:
    connections = _connections(facts)
    ticks, messages = _ticks(facts), _messages(facts)
    reasons = [*_reasons(facts, connections, ticks), *_reasons_of(messages, facts)]
    fronts = None if facts.server is None else len(facts.server.fronts)
    seconds, counters = facts.ramp_seconds, facts.reading.counters
    found = memory_of_samples(facts.samples)
    return Summary(
        format=FORMAT,
        run=facts.folder,
        models=facts.models,
        protocol=", ".join(name for name, _ in _by_count(facts.reading.protocols)) or facts.protocol,
        opened_when=facts.opened_when,
        outcome=_outcome(facts, reasons),
        reasons=reasons,
        connections=connections,
        ramp=sums.Ramp(round(seconds, 3), round(connections.opened / seconds, 1) if seconds > 0 else 0.0),
        workers=sums.Workers(facts.reading.workers, fronts, facts.reading.files_limit),
        network=facts.network,
        server=facts.other_end,
        answer=answer_of(found, room_of(facts.samples, facts.other_end)),
        memory=summarize_memory(
            facts.samples, found, KERNEL_SOURCE, facts.predicted_bytes, server_is_ours=facts.server_is_ours
        ),
        cpu=sums.Cpu(idle_share(facts.samples, "server_cpu"), idle_share(facts.samples, "client_cpu")),
        ticks=ticks,
        messages=messages,
        server_times=times_of(facts.reading, facts.clock_offset),
        client_share=client_share_of(
            facts.reading, facts.messages is not None or facts.clock_offset is not None, facts.models.client
        ),
        received=counters.received,
        bytes=counters.bytes,
        missing=counters.missing,
        repeated=counters.repeated,
        jumps=counters.jumps,
        timing=timing_of(facts.reading),
        tls=_tls(facts),
        server_tls=_server_tls(facts.server),
        lifetimes=lifetimes_of(facts.reading),
        causes=_causes(facts.reading),
        pings=counters.pings,
        polls=counters.polls,
    )


def _tls(facts: Facts) -> sums.Tls | None:
    tls = facts.reading.tls
    if tls is None:
        return None
    return sums.Tls(
        handshakes=tls.handshakes,
        to_resume=tls.to_resume,
        resumed=tls.resumed,
        ciphers=tls.ciphers,
        kept=tls.kept,
        cpu_seconds=round(tls.cpu_ns / 1e9, 3),
        tickets=tls.tickets,
        key_updates=tls.key_updates,
        is_verified=facts.is_verified,
    )


def _server_tls(server: Stats | None) -> sums.ServerTls | None:
    tls = None if server is None else server.tls
    if tls is None:
        return None
    return sums.ServerTls(
        handshakes=tls.handshakes,
        resumed=tls.resumed,
        kept=tls.versions.get("1.2", 0),
        cpu_seconds=None if tls.cpu_seconds is None else round(tls.cpu_seconds, 3),
        tickets=tls.tickets,
        key_updates=tls.key_updates,
        late=tls.late,
        ends=tls.ends,
    )


def _causes(reading: Reading) -> list[CauseInWords]:
    """Put each name by which connections failed or closed early in words, with an answer that shows it."""
    shown = {answer.name: answer for answer in reversed(reading.answers)}
    return [
        CauseInWords(
            name,
            count,
            *words_of(name),
            *((shown[name].answer or None, shown[name].note) if name in shown else (None, None)),
        )
        for name, count in _by_count({**reading.failed, **reading.closed_by})
    ]


def _outcome(facts: Facts, reasons: list[str]) -> Outcome:
    if facts.interrupted:
        return "interrupted"
    return "shortfall" if reasons else "ok"


def _connections(facts: Facts) -> Connections:
    states = facts.reading.states
    return Connections(
        planned=states.planned,
        opened=states.open + states.closed_early,
        peak_open=max([states.open, *(sample.open for sample in facts.samples)]),
        closed_early=states.closed_early,
        not_reached=states.not_reached + states.in_flight,
        failed=facts.reading.failed,
        closed_by=facts.reading.closed_by,
        replaced_ports=facts.reading.replaced_ports,
        attempts=facts.reading.attempts,
        opens=facts.reading.opens,
    )


def _ticks(facts: Facts) -> list[Tick]:
    told = {} if facts.server is None else {tick.number: tick for tick in facts.server.ticks}
    received = facts.reading.ticks
    ticks = []
    numbers = sorted(told.keys() | received.keys())
    for number in numbers[bisect_right(numbers, max(numbers, default=0) - TICKS) :]:  # nobody knows all of those before
        ours, theirs = told.get(number), received.get(number, ReceivedTick(0, 0.0, 0.0))
        count, first, last = theirs.count, theirs.first, theirs.last
        # From the first write of the server to the last read of a client: one clock, CLOCK_MONOTONIC of this machine.
        seconds = max(0.0, last - (first if ours is None or ours.first is None else ours.first)) if count else 0.0
        rate = round(count / seconds, 1) if seconds else None
        sent = None if ours is None else ours.sent
        if sent is not None and _is_old(facts):
            sent = max(sent, count)
        ticks.append(Tick(number, sent, count, round(seconds, 4), rate))
    return ticks


def _is_old(facts: Facts) -> bool:
    """Whether the last figures of the server are from before its last deliveries."""
    return facts.server_ended or facts.server_silent


def _messages(facts: Facts) -> Messages | None:
    is_ours = facts.server_is_ours
    if facts.messages is None or (is_ours and facts.server is None):
        return None
    reading, said, server = facts.reading, facts.messages.generated, facts.server
    first = reading.first_message_ns
    seconds = (reading.last_message_ns - first) / 1e9 if first else 0.0
    received = reading.counters.messages
    duplicated = reading.counters.repeated - facts.messages.repeated_before
    told = (0, 0) if said is None else (said.published, said.deliveries)
    published, expected = told if server is None else (server.messages, server.routed)
    arrived = received - duplicated
    if _is_old(facts):
        published, expected = max(published, told[0]), max(expected, told[1], arrived)
    return Messages(
        planned=facts.messages.planned,
        published=published,
        expected=expected,
        received=received,
        lost=expected - arrived if is_ours else max(0, expected - arrived),
        duplicated=duplicated,
        misdelivered=reading.counters.misdelivered,
        undeliverable=0 if server is None else server.undeliverable,
        late=None if said is None else said.late,
        most_behind_seconds=None if said is None else said.most_behind,
        seconds=round(seconds, 3),
        per_second=round(received / seconds, 1) if seconds > 0 else None,
        latency_ms=latency_of(reading.latency),
        uncorrected_latency_ms=latency_of(reading.latency_published),
        negative=reading.negative.planned,
        most_negative_ms=round(reading.negative.most_us / 1000, 3) if reading.negative.planned else None,
    )


_NONE_CAME = (
    ": the publishing API took them, and nothing that connections got has the mark of one. Hold --publish against "
    "--target, and what the service reads against --publish-body and its Content-Type (--publish-header)"
)
"""Of messages to a server that is not ours, none of which arrived."""


def _reasons_of(messages: Messages | None, facts: Facts) -> list[str]:
    if messages is None or facts.messages is None:
        return []
    reasons = []
    said = facts.messages.generated
    if said is not None and said.error is not None:
        reasons.append(f"messages: {said.error}")
    elif said is None and not facts.is_over_early:
        who = "generator" if facts.server_is_ours else "publisher"
        reasons.append(f"messages: their {who} ended by itself; its last words are in messages.log of the record")
    if messages.published < messages.planned:
        is_told = said is not None and messages.published
        behind = f", and the last one {said.most_behind:,.1f} s behind its time" if said and is_told else ""
        reasons.append(f"messages: {messages.published:,} of {messages.planned:,} planned were published{behind}")
    may_be_more = not facts.server_is_ours and not facts.is_over_early  # of those published last nobody was told
    if may_be_more and (surplus := messages.received - messages.duplicated - messages.expected) > 0:
        reasons.append(
            f"messages: {surplus:,} more deliveries came than should have: some messages were taken whose answers the "
            "publisher did not get, or they go to others than --deliver-to says"
        )
    if messages.misdelivered:
        reasons.append(
            f"messages: {counted(messages.misdelivered, 'deliveries')} went to another user than the one they were for"
        )
    if messages.lost:
        gone = f", {messages.undeliverable:,} of them {_why_undeliverable(facts)}" if messages.undeliverable else ""
        why = "" if facts.server_is_ours or messages.received else _NONE_CAME
        reasons.append(f"messages: {messages.lost:,} of {messages.expected:,} deliveries were lost{gone}{why}")
    return reasons


def _why_undeliverable(facts: Facts) -> str:
    """Say why deliveries that were routed were never written."""
    if facts.server is None or facts.server.machines is None:
        return "since their user had gone"
    return "since their user had gone, or on the way to a front machine"


def _reasons(facts: Facts, connections: Connections, ticks: list[Tick]) -> list[str]:
    counters = facts.reading.counters
    reasons = [*facts.reading.reasons, *facts.reasons]
    if facts.server_ended:
        reasons.append("the bundled server ended by itself; its last words are in server.log of the record")
    elif facts.server is not None:
        reasons += reasons_of_server(facts.server, facts.server_is_bundled)
    if facts.server_silent and not facts.server_ended:
        whose = server_in_words(facts.server_is_bundled)
        reasons.append(f"{whose} did not answer any more when the run ended: its figures are from before")
    if connections.failed:
        reasons.append(
            f"{counted(sum(connections.failed.values()), 'connections')} failed: {_named(connections.failed)}"
        )
    if connections.closed_early:
        reasons.append(
            f"{counted(connections.closed_early, 'connections')} closed early: {_named(connections.closed_by)}"
        )
    if connections.not_reached:
        reasons.append(f"{counted(connections.not_reached, 'planned connections')} not reached")
    for tick in ticks:
        if tick.sent is not None and tick.sent != tick.received:
            reasons.append(f"tick {tick.number}: {tick.sent:,} messages were sent and {tick.received:,} received")
    reasons += _reasons_of_ticks(facts.reading.states.open, ticks)
    # Of messages that were published elsewhere a gap may be one that its server refused.
    is_published_elsewhere = facts.messages is not None and not facts.server_is_ours
    missing, repeated = 0 if is_published_elsewhere else counters.missing, counters.repeated
    if missing or repeated:
        reasons.append(f"message numbers show {missing:,} missing and {repeated:,} repeated messages")
        if repeated and facts.protocol == LONGPOLL:
            reasons.append(
                "polls that begin where those before them began are answered alike: floodtest probe shows where they "
                "begin, and what --cursor finds"
            )
    if jumps := counters.jumps:
        reasons.append(f"message numbers: {jumps:,} messages jump ahead by over {MAX_STEP:,}, more than can be missing")
    return reasons


def _reasons_of_ticks(held: int, ticks: list[Tick]) -> list[str]:
    """Say which ticks were not written to all the connections that were held to the end, and so were open all along."""
    sent = [(tick.sent, tick.number) for tick in ticks if tick.sent is not None]
    few = [each for each in sent if each[0] < held]
    if not few:
        return []
    least, number = min(few)
    all_of_them = f"all of the {counted(held, 'connections')} that were held"
    return [f"ticks: {len(few):,} of {len(sent):,} were not sent to {all_of_them}, tick {number} to {least:,} only"]


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in _by_count(counts))


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])
