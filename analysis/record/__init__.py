"""The run record: its format, writing it as a run goes, and reading it back. The lowest floor of `analysis`.

It knows nothing of fits, figures or pages.
"""

from floodtest.analysis.record.format import FORMAT, LATENCY_FILE, DiskFault, RecordError
from floodtest.analysis.record.latency import LatencyCounts
from floodtest.analysis.record.reader import Record, load
from floodtest.analysis.record.samples import UNITS, Sample
from floodtest.analysis.record.summary import Summary
from floodtest.analysis.record.writer import RecordWriter

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
