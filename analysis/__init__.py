"""From a run's record to what it shows. Three floors, each of which imports from those below it only.

`record` writes records and reads them back, `figures` makes numbers and sentences of them, `pages` HTML and pictures.
The names below are the library's: docs/analysis.md. Nothing of `pages` is among them, so that importing this package
takes neither matplotlib nor jinja2.
"""

from floodtest.analysis.figures.findings import Findings, read_findings
from floodtest.analysis.figures.fits import Estimate, MemoryFit, Step, fit_memory
from floodtest.analysis.figures.memory import MemoryFinding, memory_of
from floodtest.analysis.figures.merged_record import merge_records
from floodtest.analysis.figures.series import mean_of, percentiles, rate_of, stages_of
from floodtest.analysis.record import (
    FORMAT,
    UNITS,
    LatencyCounts,
    Record,
    RecordError,
    RecordWriter,
    Sample,
    Summary,
    load,
)
from floodtest.analysis.record.hosts import Host, hosts_of

__all__ = [
    "FORMAT",
    "UNITS",
    "Estimate",
    "Findings",
    "Host",
    "LatencyCounts",
    "MemoryFinding",
    "MemoryFit",
    "Record",
    "RecordError",
    "RecordWriter",
    "Sample",
    "Step",
    "Summary",
    "fit_memory",
    "hosts_of",
    "load",
    "mean_of",
    "memory_of",
    "merge_records",
    "percentiles",
    "rate_of",
    "read_findings",
    "stages_of",
]
