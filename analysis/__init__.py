"""The run record: its format, writing it as a run goes, reading it back, and what follows from it."""

from analysis.record import FORMAT, Record, RecordError, RecordWriter, load
from analysis.samples import Sample
from analysis.summary import Summary

__all__ = ["FORMAT", "Record", "RecordError", "RecordWriter", "Sample", "Summary", "load"]
