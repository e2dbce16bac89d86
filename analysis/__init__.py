"""The run record: its format, writing it as a run goes, reading it back, and what follows from it.

A report is in `analysis.report`, a comparison in `analysis.compare`; nothing else here needs matplotlib.
"""

from analysis.findings import MemoryFinding, mean_of, memory_of, percentiles, rate_of, stages_of
from analysis.fits import Estimate, MemoryFit, Step, fit_memory
from analysis.record import FORMAT, Record, RecordError, RecordWriter, load
from analysis.samples import UNITS, Sample
from analysis.summary import Summary

__all__ = [
    "FORMAT",
    "UNITS",
    "Estimate",
    "MemoryFinding",
    "MemoryFit",
    "Record",
    "RecordError",
    "RecordWriter",
    "Sample",
    "Step",
    "Summary",
    "fit_memory",
    "load",
    "mean_of",
    "memory_of",
    "percentiles",
    "rate_of",
    "stages_of",
]
