"""Findings: all that reports, comparisons and pictures have in common about a record, computed once.

In: a `Record`. Out: its memory with the fits, its stages, its latency, and fewer samples for pictures. Cost: three fits
and one file, latency.csv, which is read here and nowhere else.
"""

from dataclasses import dataclass

from floodtest.analysis.figures.memory import MemoryFinding, memory_of, predicted_of
from floodtest.analysis.figures.series import stages_of, thinned
from floodtest.analysis.record import LatencyCounts, Record


@dataclass(frozen=True)
class Findings:
    """What a record shows."""

    record: Record
    shown: Record
    """The record with as few samples as a picture has use for."""
    memory: dict[str, MemoryFinding]
    """Of the server, the client and the kernel."""
    predicted: dict[str, float]
    """What they were predicted to take for all planned connections, bytes, where the record says."""
    stages: list[tuple[str, float, float]]
    """Each stage with its begin and end, seconds of the samples' clock."""
    latency: LatencyCounts


def read_findings(record: Record) -> Findings:
    """Compute what a record shows, and read the file of its latencies."""
    return Findings(
        record,
        thinned(record),
        memory_of(record),
        predicted_of(record),
        stages_of(record),
        record.read_latency(),
    )
