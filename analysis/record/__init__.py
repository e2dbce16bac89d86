"""The run record: its format, writing it as a run goes, and reading it back. The lowest floor of `analysis`.

It knows nothing of fits, figures or pages.
"""

from analysis.record.format import FORMAT, LATENCY_FILE, DiskFault, RecordError
from analysis.record.latency import LatencyCounts
from analysis.record.reader import Record, load
from analysis.record.samples import UNITS, Sample
from analysis.record.summary import Summary
from analysis.record.writer import RecordWriter

__all__ = [
    "FORMAT",
    "LATENCY_FILE",
    "UNITS",
    "DiskFault",
    "LatencyCounts",
    "Record",
    "RecordError",
    "RecordWriter",
    "Sample",
    "Summary",
    "load",
]
