"""Reading a run record back, however much of it was written. In: its folder. Out: a `Record`.

A last line that was cut off is left out. Fails: RecordError says what is wrong with a folder.
"""

import csv
import importlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.analysis.record.format import (
    FORMAT,
    LATENCY_FILE,
    PORTS_FILE,
    RENAMED,
    RUN_FILE,
    SAMPLES_FILE,
    STATES_FILE,
    RecordError,
)
from floodtest.analysis.record.latency import LatencyCounts, read_latency
from floodtest.analysis.record.samples import FIELDS, Sample
from floodtest.analysis.record.summary import Summary
from floodtest.analysis.record.text import read_text
from floodtest.flyweight.errors import Refused, UsageError


@dataclass(frozen=True)
class Record:
    """A run record that was read: `run` is run.json, `samples` its rows in order of time.

    The files of which a record has a row a connection or a millisecond are read when a method `read_…` is called.
    """

    folder: Path
    run: dict[str, Any]
    samples: list[Sample]

    def part(self, name: str) -> dict[str, Any]:
        """Return a part of run.json that should be a mapping, empty if there is none or it is something else."""
        return mapping(self.run.get(name))

    def column(self, field: str) -> npt.NDArray[np.float64]:
        """Return a numeric field of all samples (its unit as in the file); NaN for what was not read."""
        values = [getattr(sample, field) for sample in self.samples]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return all fields as columns, in the file's order; `analysis.UNITS` says in what unit.

        Counts and bytes that every sample has are int64, the stage is text, everything else float64 with NaN for what
        was not read.
        """
        return {field: self._typed(field) for field in FIELDS}

    def _typed(self, field: str) -> npt.NDArray[Any]:
        kind = _TYPES.get(field)
        return self.column(field) if kind is None else np.array([getattr(s, field) for s in self.samples], kind)

    def frame(self, library: str = "pandas") -> Any:
        """Return the columns as a DataFrame of pandas or polars, whichever is named; Refused where it is missing."""
        if library not in ("pandas", "polars"):
            raise UsageError(f"A frame is of pandas or polars, not {library!r}.")
        try:
            return importlib.import_module(library).DataFrame(self.columns())
        except ImportError as error:
            raise Refused(f"A frame of {library} needs {library}: pip install {library}") from error

    @property
    def summary(self) -> Summary | None:
        """The summary the run ended with; None if it did not get so far, or if it can't be understood."""
        return self._understood[0]

    @property
    def summary_fault(self) -> str | None:
        """What can't be understood about the summary there is; None if all can, or there is none."""
        return self._understood[1]

    @cached_property
    def _understood(self) -> tuple[Summary | None, str | None]:
        try:
            summary = self.run.get("summary")
            now = _renamed(summary, self.run["format"]) if isinstance(summary, dict) else summary
            return msgspec.convert(now, Summary | None), None
        except msgspec.ValidationError as error:
            return None, str(error)

    def read_states(self) -> npt.NDArray[np.uint8]:
        """Read what became of each connection (user 1 first); the numbers are those of docs/run-record.md."""
        return np.fromfile(self.folder / STATES_FILE, np.uint8)

    def read_latency(self) -> LatencyCounts:
        """Read latency.csv: how many messages took how long, and what is wrong with the file."""
        return read_latency(self.folder / LATENCY_FILE)

    def read_ports(self) -> npt.NDArray[np.uint16]:
        """Read the source port each user really had (user 1 first); 0 for none."""
        return np.fromfile(self.folder / PORTS_FILE, np.dtype("<u2")).astype(np.uint16)


def mapping(value: Any) -> dict[str, Any]:
    """Return what should be a mapping, empty if it is none."""
    return value if isinstance(value, dict) else {}


_TYPES = {field.name: field.type for field in msgspec.structs.fields(Sample) if field.type in (int, str)}


def load(folder: str | Path) -> Record:
    """Read a run record; a last line that was cut off is left out. RecordError says what is wrong with a folder."""
    folder = Path(folder)
    try:
        run = json.loads(read_text(folder / RUN_FILE), parse_constant=_no_number)
        lines = read_text(folder / SAMPLES_FILE).split("\n")
        rows = list(csv.DictReader(lines[:-1]))  # what follows the last line end was cut off
    except FileNotFoundError as error:
        if not folder.exists():
            raise RecordError(f"There is no folder {folder}. Name that of a run record.") from error
        raise RecordError(f"{folder} is no run record: it has no {Path(error.filename).name}.") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # the last is JSON that is nested too deep
        raise RecordError(f"The run record {folder} can't be read: {error}.") from error
    if not isinstance(run, dict) or not isinstance(run.get("format"), int):
        raise RecordError(f"{folder} is no run record: its {RUN_FILE} names no format.")
    if run["format"] > FORMAT:
        raise RecordError(f"The run record {folder} is of a newer format than {FORMAT}: use a newer floodtest.")
    return Record(folder, run, [_sample(_renamed(row, run["format"]), folder) for row in rows])


def find_named(folder: Path, name: str) -> list[Record]:
    """Read the records in a folder that a run with `--name` wrote, by their number; RecordError if there are none.

    Folders that hold no record, or one that can't be read, are passed over: a run may have begun just now.
    """
    found = []
    for run in folder.glob(f"*/{RUN_FILE}"):
        try:
            record = load(run.parent)
        except RecordError:
            continue
        if record.part("options").get("name") == name:
            found.append(record)
    if not found:
        raise RecordError(f"No run record in {folder} has the name {name}. Name the folder that has it with --runs.")
    return sorted(found, key=lambda record: (len(record.folder.name), record.folder.name))


def _renamed(fields: dict[str, Any], version: int) -> dict[str, Any]:
    """Return fields of a record of that format under the names that they have now."""
    now = RENAMED.get(version)
    return fields if now is None else {now.get(name, name): value for name, value in fields.items()}


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _sample(row: dict[str, str], folder: Path) -> Sample:
    known = {name: row[name] or None for name in FIELDS if row.get(name) is not None}
    try:
        sample = msgspec.convert(known, Sample, strict=False)
    except msgspec.ValidationError as error:
        raise RecordError(f"A sample of the run record {folder} can't be read: {error}.") from error
    for name in known:
        value = getattr(sample, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise RecordError(f"A sample of the run record {folder} can't be read: its {name} is {value}.")
    return sample
