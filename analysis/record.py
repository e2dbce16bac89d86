"""The run record: a folder with `run.json`, `samples.csv` and the two columns of connections.

Written as the run goes: `run.json` is replaced as a whole at each stage, a sample is one line written at once. After
SIGKILL, or a full disk, it reads back to the last whole sample. Fields and units: docs/run-record.md.
"""

import codecs
import csv
import errno
import importlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from analysis.samples import FIELDS, Sample
from analysis.summary import Summary
from flyweight.errors import ExitCode, FloodtestError, Refused, UsageError
from flyweight.reasons import reason

FORMAT = 1
"""Version of the record; a reader refuses a newer one."""

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.csv"
LATENCY_FILE = "latency.csv"


class RecordError(FloodtestError):
    """A folder that is no run record, or one that can't be read."""

    exit_code = ExitCode.REFUSED


class DiskFault(FloodtestError):
    """A record that can't be written on with; what was written of it reads back."""


class RecordWriter:
    """Writes one run record into a folder of its own; DiskFault when that is not possible any more."""

    def __init__(self, parent: Path, name: str) -> None:
        self.folder = _create(parent, name)
        self._whole = 0  # bytes of whole lines
        try:
            self._samples = open(self.folder / SAMPLES_FILE, "xb", buffering=0)  # noqa: SIM115 (closed by `close`)
            self._append((",".join(FIELDS) + "\n").encode())
        except OSError as error:
            raise _refusal(parent, error) from error

    def write_run(self, run: dict[str, Any]) -> None:
        """Replace run.json as a whole."""
        self._replace(RUN_FILE, json.dumps({"format": FORMAT, **run}, indent=2) + "\n")

    def write_latency(self, rows: Iterable[tuple[float, int, int]]) -> None:
        """Replace latency.csv as a whole: milliseconds, and how many messages took so long from plan and publishing."""
        lines = [f"{milliseconds},{planned},{published}\n" for milliseconds, planned, published in rows]
        self._replace(LATENCY_FILE, "".join(["milliseconds,planned,published\n", *lines]))

    def _replace(self, name: str, text: str) -> None:
        temporary = self.folder / f".{name}"
        with self._explained():
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.folder / name)

    def write_sample(self, sample: Sample) -> None:
        """Append one line, in one write."""
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(
            "" if value is None else value for value in msgspec.structs.astuple(sample)
        )
        with self._explained():
            self._append(line.getvalue().encode())

    def _append(self, line: bytes) -> None:
        """Append a line, or nothing of it: a part would spoil the line that is written after it."""
        try:
            if self._samples.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the disk has room for a part
        except OSError:
            self._samples.truncate(self._whole)
            self._samples.seek(self._whole)
            raise
        self._whole += len(line)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskFault(
                f"Can't write the run record {self.folder}: {reason(error)}. What was written of it reads back."
            ) from error

    def close(self) -> None:
        self._samples.close()


def _create(parent: Path, name: str) -> Path:
    """Make the folder `name`, or `name-2` and so on where it exists already."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise _refusal(parent, error) from error
    raise Refused(f"There are too many runs called {name} in {parent}. Choose another --out.")


def _refusal(parent: Path, error: OSError) -> Refused:
    return Refused(f"Can't write the run record to {parent}: {reason(error)}. Choose another --out.")


@dataclass(frozen=True)
class Record:
    """A run record that was read: `run` is run.json, `samples` its rows in order of time."""

    folder: Path
    run: dict[str, Any]
    samples: list[Sample]

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
        return self._read_summary()[0]

    @property
    def summary_fault(self) -> str | None:
        """What can't be understood about the summary there is; None if all can, or there is none."""
        return self._read_summary()[1]

    def _read_summary(self) -> tuple[Summary | None, str | None]:
        try:
            return msgspec.convert(self.run.get("summary"), Summary | None), None
        except msgspec.ValidationError as error:
            return None, str(error)

    def states(self) -> npt.NDArray[np.uint8]:
        """Return what became of each connection (user 1 first); the numbers are those of docs/run-record.md."""
        return np.fromfile(self.folder / "states.u8", np.uint8)

    def latency(self) -> npt.NDArray[np.float64]:
        """Return the rows of latency.csv, shape (n, 3): milliseconds, messages from plan and from publishing.

        A last line that was cut off is left out; no rows where there is no such file, or it can't be read.
        """
        return self._read_latency()[0]

    @property
    def latency_fault(self) -> str | None:
        """What is wrong with latency.csv; None if nothing is, or there is none."""
        return self._read_latency()[1]

    def _read_latency(self) -> tuple[npt.NDArray[np.float64], str | None]:
        file, none = self.folder / LATENCY_FILE, np.zeros((0, 3))
        try:
            *lines, rest = _read_text(file).split("\n")
            rows = np.array([line.split(",") for line in lines[1:]], np.float64) if lines[1:] else none
            if rows.shape[1:] != (3,) or not np.isfinite(rows).all() or (rows < 0).any():
                return none, "is left out, for it can't be read: its rows are not of three figures"
        except FileNotFoundError:
            return none, None
        except (OSError, ValueError) as error:
            return none, f"is left out, for it can't be read: {error}"
        return rows, "was cut off: its slowest messages are missing" if rest or not lines else None

    def ports(self) -> npt.NDArray[np.uint16]:
        """Return the source port each user really had (user 1 first); 0 for none."""
        return np.fromfile(self.folder / "ports.u16", np.dtype("<u2")).astype(np.uint16)


_TYPES = {field.name: field.type for field in msgspec.structs.fields(Sample) if field.type in (int, str)}


def load(folder: str | Path) -> Record:
    """Read a run record; a last line that was cut off is left out. RecordError says what is wrong with a folder."""
    folder = Path(folder)
    try:
        run = json.loads(_read_text(folder / RUN_FILE), parse_constant=_no_number)
        lines = _read_text(folder / SAMPLES_FILE).split("\n")
        rows = list(csv.DictReader(lines[:-1]))  # what follows the last line end was cut off
    except FileNotFoundError as error:
        raise RecordError(f"{folder} is no run record: it has no {Path(error.filename).name}.") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # the last is JSON that is nested too deep
        raise RecordError(f"The run record {folder} can't be read: {error}.") from error
    if not isinstance(run, dict) or not isinstance(run.get("format"), int):
        raise RecordError(f"{folder} is no run record: its {RUN_FILE} names no format.")
    if run["format"] > FORMAT:
        raise RecordError(f"The run record {folder} is of a newer format than {FORMAT}: use a newer floodtest.")
    return Record(folder, run, [_sample(row, folder) for row in rows])


def _read_text(path: Path) -> str:
    """Read UTF-8 as other programs save it as well: with a byte order mark, and with line ends of any kind."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        is_utf16 = error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        raise ValueError(f"{path.name} {'is UTF-16' if is_utf16 else 'is no UTF-8'}. Save it as UTF-8") from error


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
