"""How long messages took: a worker's counts of them, in its row of the ledger.

A message with a stamp (`wire.stamp`) was planned at a time of CLOCK_MONOTONIC, of this host or, with a cluster, of
another one, whose clock is so many nanoseconds ahead; one that says when it was sent (`wire.times`) does so by
CLOCK_REALTIME. In: times of reads, of CLOCK_MONOTONIC of this host. What a message took is corrected for the clocks
before it is counted. What took less than no time all the same is counted by itself and is in no bucket: it says that
the clocks are off, or that the stamp is nobody's.

A read has a time that is interpolated within its sweep (`Reads.times`), so what was sent while the sweep went on may
seem to have been read before: that took no time.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.intake import Reads
from floodtest.flyweight.engine.ledger import Counter
from floodtest.loadgen.client import histogram
from floodtest.wire.incoming import Received

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LATENCY_FIELDS = (
    ("sent_ahead", "i8"),
    ("sent_old", "i8"),
    ("sent_unreadable", "i8"),
    ("latency", "i8", (histogram.BUCKETS,)),
    ("latency_published", "i8", (histogram.BUCKETS,)),
    ("negative", "i8", (2,)),
    ("most_negative_us", "i8"),
    ("watched", "i8"),
    ("watched_shared", "i8"),
    ("watched_latency", "i8", (2, histogram.BUCKETS)),
)
"""sent_ahead, sent_old, sent_unreadable: messages that say when they were sent: after they were read, longer ago than a
latency can be, and with what is no time · latency: of those that say when otherwise, and of stamped ones, from the
planned time, by bucket · latency_published: from the time they were published, which forgives what came before ·
negative: stamped messages that were read before they were planned, and before they were published, and so are not in
these two · most_negative_us: by how much the first of them at the most · watched: connections whose arrivals the kernel
tells · watched_shared: messages on these that were read together with a later one, so that their arrival is not known ·
watched_latency: of messages in `latency` whose arrival is known, how long they took to be read, and how long to
arrive."""


class LatencyAccount:
    """What messages of one worker took; the clock of their stamps is so many ns ahead of this host's."""

    def __init__(self, row: npt.NDArray[Any], stamps_ahead_ns: int) -> None:
        self._stamps_ahead_ns = stamps_ahead_ns
        self._ahead, self._old, self._unreadable = (
            Counter(row, name) for name in ("sent_ahead", "sent_old", "sent_unreadable")
        )
        self._latency, self._latency_published = row["latency"][0], row["latency_published"][0]
        self._negative, self._most_negative = row["negative"][0], Counter(row, "most_negative_us")
        self._watched, self._watched_shared = Counter(row, "watched"), Counter(row, "watched_shared")
        self._watched_latency = row["watched_latency"][0]

    def post(self, received: Received, reads: Reads) -> None:
        """Count what a batch of reads says of when its messages were planned or sent."""
        if received.messages:
            rows, planned, late = received.stamped()
            self._count(received, reads, rows, lambda read, ended: self.stamped(read, ended, planned, late))
        rows, sent = received.sent()
        self._count(received, reads, rows, lambda read, ended: self.sent(read, ended, sent))
        if received.unreadable:
            self.unreadable(received.unreadable)

    def _count(
        self, received: Received, reads: Reads, rows: Ints, count: Callable[[Ints, Ints], tuple[Ints, Flags]]
    ) -> None:
        """Have messages that were in reads of these rows counted, and those of them whose arrival is known."""
        if not len(rows):
            return
        read_ns = reads.times()[rows]
        took, counted = count(read_ns, reads.ends()[rows])
        if reads.arrived:
            self._arrivals(reads, received.ends_untimed(), rows[counted], read_ns[counted], took[counted])

    def stamped(self, read_ns: Ints, ended_ns: Ints, planned_ns: Ints, late_us: Ints) -> tuple[Ints, Flags]:
        """Count stamped messages: when each was read, about and at the latest, when it was planned, and how late it was
        published. Return how long they took in µs, and for which of them that is a latency.
        """
        if ahead := self._stamps_ahead_ns:
            # Times of reads are small, and a planned time may be almost as large as an int64 can be.
            read_ns, ended_ns = np.maximum(read_ns + ahead, 0), np.maximum(ended_ns + ahead, 0)
        took = _took_us(read_ns, ended_ns, planned_ns)
        since_published = _took_us(read_ns, ended_ns, planned_ns + 1000 * late_us)
        counted, is_after = took >= 0, since_published >= 0
        self._latency += histogram.count(took[counted])
        self._latency_published += histogram.count(since_published[is_after])
        self._negative += (np.count_nonzero(~counted), np.count_nonzero(~is_after))
        if not counted.all():
            self._most_negative.set(max(self._most_negative.value, min(-int(took.min()), histogram.MAX)))
        return took, counted

    def sent(self, read_ns: Ints, ended_ns: Ints, sent_ns: Ints) -> tuple[Ints, Flags]:
        """Count messages that say when they were sent (CLOCK_REALTIME); they were read at about these times, and by
        others at the latest. Return how long they took in µs, and for which of them that is a latency.
        """
        took = _took_us(read_ns, ended_ns, sent_ns - _realtime_ahead())
        ahead, old = took < 0, took > histogram.MAX
        self._ahead.add(int(np.count_nonzero(ahead)))
        self._old.add(int(np.count_nonzero(old)))
        counted = ~(ahead | old)
        self._latency += histogram.count(took[counted])
        return took, counted

    def unreadable(self, count: int) -> None:
        """Count messages that say when they were sent with what is no time."""
        self._unreadable.add(count)

    def watched(self, count: int) -> None:
        """Count connections whose arrivals the kernel tells from now on."""
        self._watched.add(count)

    def _arrivals(self, reads: Reads, ends_untimed: Ints, rows: Ints, read_ns: Ints, took_us: Ints) -> None:
        """Count those of some messages whose arrival is known: they were in reads of these rows, in order, were read at
        these times of CLOCK_MONOTONIC, and took so long until then.

        The kernel's time is that of the last bytes of a read; of messages before these nobody knows when they arrived,
        and none are counted of reads that are `ends_untimed`. Nothing arrives after it was read: what looks so is the
        difference between two clocks.
        """
        last = np.empty(len(reads), np.int64)
        last[rows] = np.arange(len(rows))  # of several with one row the last one stays
        watched, arrived_ns = (np.array(list(column)) for column in (reads.arrived, reads.arrived.values()))
        of_read = np.bincount(rows, minlength=len(reads))[watched]
        is_known = (of_read > 0) & ~np.isin(watched, ends_untimed)
        last, arrived_ns = last[watched[is_known]], arrived_ns[is_known]
        waited_us = np.maximum(read_ns[last] + (_realtime_ahead() - arrived_ns), 0) // 1000
        histogram.add(np.array([took_us[last], took_us[last] - waited_us]), self._watched_latency)
        self._watched_shared.add(int(of_read.sum()) - len(last))


def _took_us(read_ns: Ints, ended_ns: Ints, begun_ns: Ints) -> Ints:
    """Return how long each took from when it began until it was read, none of them later than its sweep ended."""
    took: Ints = np.minimum(np.maximum(read_ns - begun_ns, 0), ended_ns - begun_ns) // 1000
    return took


def _realtime_ahead() -> int:
    """Return by how many ns CLOCK_REALTIME is ahead of CLOCK_MONOTONIC.

    Times of the one are held against the other when they are counted, a quarter of a second after the reads at the
    most: somebody may set CLOCK_REALTIME at any time. What is lost between the two looks makes the difference too
    small.
    """
    return max(time.time_ns() - time.monotonic_ns() for _ in range(3))
