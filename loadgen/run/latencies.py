"""Latencies of a run: what tells them, and from the counts of a reading to the summary. Pure."""

from collections.abc import Mapping

from floodtest.analysis.record.summary import ClientShare, Latency, Messages, ServerTimes
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client import histogram
from floodtest.loadgen.plan.models import DEFAULT_CLIENT_MODEL
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.run.reading import Reading
from floodtest.wire.grammar import OURS, Grammar, Marks, Times

WATCH_EVERY = 127
"""Of one connection in so many the kernel says when messages arrive: of 149 among a worker's 19,000. At 20,000 messages
a second these get 1,570 in ten seconds, of which 15 are above the 99% percentile. It costs 0.3 to 0.5 µs for each
message of all, up to a hundredth of a core at that rate (docs/benchmarks.md)."""

WATCHED_AT_LEAST = 100
"""Connections of each worker in the sample, if it has as many."""


def grammar_of(options: RunOptions, marks: str | None = None) -> Grammar:
    """Return what messages say of themselves; published ones have the marks of that run."""
    if marks is not None:
        return Marks(marks)
    return OURS if options.latency is None else Times(options.latency, round((options.clock_offset or 0.0) * 1e9))


def latency_of(counts: Mapping[int, int]) -> Latency | None:
    """Return percentiles of counts by bucket; None where nothing was counted."""
    found = histogram.microseconds_at([0.5, 0.9, 0.99, 0.999, 1.0], histogram.dense(counts))
    return None if found is None else Latency(*(round(microseconds / 1000, 3) for microseconds in found))


def watch_every(options: RunOptions, count: int) -> int:
    """Return of one in how many of a worker's `count` users the kernel is to say when messages arrive; 0: of none."""
    if options.messages is None and options.latency is None:
        return 0
    return max(1, min(WATCH_EVERY, count // WATCHED_AT_LEAST))


def client_share_of(reading: Reading, has_latency: bool, model: str) -> ClientShare | None:
    """Return how much of the latency is the client's own, a client of this model; None where there is no latency."""
    if not has_latency:
        return None
    messages = sum(reading.watched_read.values())
    note = None
    if model != DEFAULT_CLIENT_MODEL:
        note = f"the client model {model} does not see its sockets"
    elif not reading.opens:
        note = "no connection was open"
    elif not reading.watched:
        note = "the kernel tells no arrivals here, as on Unix sockets"
    elif not messages:
        note = f"no message with a latency came on {counted(reading.watched, 'connections')} that were watched for it"
    return ClientShare(
        sampled_connections=reading.watched,
        sampled_messages=messages,
        shared=reading.watched_shared,
        read_ms=latency_of(reading.watched_read),
        arrival_ms=latency_of(reading.watched_arrival),
        note=note,
    )


def times_of(reading: Reading, clock_offset: float | None) -> ServerTimes | None:
    """Return what messages say of when they were sent, by a clock that is so many seconds ahead; None: nobody asked."""
    if clock_offset is None:
        return None
    sent = reading.sent
    timed = sum(reading.latency.values())
    return ServerTimes(
        timed=timed,
        ahead=sent.ahead,
        old=sent.old,
        unreadable=sent.unreadable,
        without=max(0, reading.counters.received - timed - sent.ahead - sent.old - sent.unreadable),
        clock_offset_seconds=clock_offset,
        latency_ms=latency_of(reading.latency),
    )


def remarks_on_clocks(messages: Messages | None) -> list[str]:
    """Say that messages took less than no time, and what may be wrong; that alone is no shortfall."""
    if messages is None or not messages.negative:
        return []
    number = counted(messages.negative, "deliveries")
    least = f"less than no time, down to -{messages.most_negative_ms:,} ms"
    return [f"latency: {number} took {least}, and are not in it: the clock of their stamps is ahead of this host's"]


def remarks_on_times(times: ServerTimes | None) -> list[str]:
    """Say which of the times that were asked for give no latency, and what may be wrong; that alone is no shortfall."""
    if times is None:
        return []
    remarks = []
    if times.ahead:
        remarks.append(
            f"latency: {counted(times.ahead, 'messages')} say that they were sent after they were read: the server's "
            "clock is ahead (--clock-offset), or the group of --latency names another unit"
        )
    if times.old:
        remarks.append(
            f"latency: {counted(times.old, 'messages')} say that they were sent over 71 minutes ago: they are played "
            "back, or the group of --latency names another unit"
        )
    if times.unreadable:
        remarks.append(
            f"latency: in {counted(times.unreadable, 'messages')} --latency finds what is no time: its group names "
            "another unit, or one of ISO 8601 is without its zone, Z or +02:00"
        )
    if times.without and not (times.timed or times.ahead or times.old or times.unreadable):
        remarks.append(f"latency: --latency finds no time in any of {counted(times.without, 'messages')}")
    return remarks
