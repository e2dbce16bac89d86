"""The client's own share of a latency: from when a message arrived in its kernel to when it was read.

In: the sample in a summary, messages whose arrival is known. Out: for each percentile what the sample's messages took
to the read, and how much of that is the client's; which of these shares are large, in a sentence. Pure. The share is
the difference between two percentiles of the same messages: by so much the percentile would be less with a client that
never kept a message waiting.
"""

from dataclasses import dataclass

from floodtest.analysis.figures.formatting import listed, number
from floodtest.analysis.record.summary import ClientShare
from floodtest.flyweight.command.counted import counted

LARGE = 0.1
"""The share of a percentile from which on it says more of the client than it may."""

BEYOND = 10
"""Messages of the sample above a percentile, under which it rests on chance."""

_PERCENTILES = (("p50", "p50", 0.5), ("p90", "p90", 0.9), ("p99", "p99", 0.99), ("p99.9", "p99_9", 0.999))


@dataclass(frozen=True)
class Percentile:
    """A percentile of the sample, in milliseconds."""

    name: str
    read: float
    """To the read."""
    own: float
    """How much of it is the client's own."""

    @property
    def arrived(self) -> float:
        """To the arrival."""
        return self.read - self.own

    @property
    def is_doubtful(self) -> bool:
        return self.own > LARGE * self.read


def percentiles_of(share: ClientShare) -> list[Percentile]:
    """Return those percentiles for which there are enough messages in the sample."""
    if share.read_ms is None or share.arrival_ms is None:
        return []
    return [
        Percentile(name, read, round(read - getattr(share.arrival_ms, field), 3))
        for name, field, part in _PERCENTILES
        if share.sampled_messages * round(1000 * (1 - part)) >= 1000 * BEYOND
        for read in [getattr(share.read_ms, field)]
    ]


def sample_in_words(share: ClientShare) -> str:
    """Say what the sample is."""
    return f"{counted(share.sampled_messages, 'messages')} on {counted(share.sampled_connections, 'connections')}"


def doubt_of(share: ClientShare) -> str | None:
    """Say of which percentiles too much is the client's own; None where none is known to be doubtful."""
    found = [one for one in percentiles_of(share) if one.is_doubtful]
    if not found:
        return None
    parts = listed([f"{number(one.own)} of the {number(one.read)} ms of its {one.name}" for one in found])
    least = ""
    if share.shared > LARGE * (share.sampled_messages + share.shared):
        least = (
            f" It is more than that: {share.shared:,} further messages had to be left out, since they waited until a "
            "later one was there as well."
        )
    return (
        f"Of the latency of the sample ({sample_in_words(share)}) {parts} {'is' if len(found) == 1 else 'are'} this "
        "client's own: messages had arrived by then, and waited to be read. Take the latency to the arrival for the "
        f"server's, or give the client more cores, or a machine of its own.{least}"
    )
