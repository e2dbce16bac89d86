"""Latencies of a run: what tells them, and from the counts of a reading to the summary. Pure."""

from collections.abc import Mapping

from floodtest.analysis.record.summary import Latency, ServerTimes
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client import histogram
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.run.reading import Reading
from floodtest.wire.grammar import OURS, Grammar, Marks, Times


def grammar_of(options: RunOptions, marks: str | None = None) -> Grammar:
    """Return what messages say of themselves; published ones have the marks of that run."""
    if marks is not None:
        return Marks(marks)
    return OURS if options.latency is None else Times(options.latency, round((options.clock_offset or 0.0) * 1e9))


def latency_of(counts: Mapping[int, int]) -> Latency | None:
    """Return percentiles of counts by bucket; None where nothing was counted."""
    found = histogram.microseconds_at([0.5, 0.9, 0.99, 0.999, 1.0], histogram.dense(counts))
    return None if found is None else Latency(*(round(microseconds / 1000, 3) for microseconds in found))


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
