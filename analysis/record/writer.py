"""Writing a run record as the run goes: the files of `analysis.record.format` in a folder of its own.

Samples are lines, each written at once; the other files are replaced as a whole. After SIGKILL, or a full disk, the
record reads back to the last whole sample. Fails: Refused where no record can be begun, DiskFault where one can't be
written on with.
"""

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from floodtest.analysis.record.format import (
    ANSWERS_FILE,
    FORMAT,
    LATENCY_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    DiskFault,
)
from floodtest.analysis.record.latency import COLUMNS
from floodtest.analysis.record.samples import FIELDS, Sample
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.machine.whole_file import replace_file


class RecordWriter:
    """Writes one run record into a folder of its own; DiskFault when that is not possible any more.

    The folder is called `name`, and `name-2` and so on where that exists already; the first `name-1` if they are
    numbered.
    """

    def __init__(self, parent: Path, name: str, is_numbered: bool = False) -> None:
        self.folder = _create(parent, name, is_numbered)
        self._whole = 0  # bytes of whole lines
        try:
            self._samples = open(self.folder / SAMPLES_FILE, "xb", buffering=0)  # noqa: SIM115 (closed by `close`)
            self._append((",".join(FIELDS) + "\n").encode())
        except OSError as error:
            raise _refusal(parent, error) from error

    def write_run(self, run: dict[str, Any]) -> None:
        """Replace run.json as a whole."""
        self._replace(RUN_FILE, json.dumps({"format": FORMAT, **run}, indent=2) + "\n")

    def write_latency(self, rows: Iterable[tuple[float, ...]]) -> None:
        """Replace latency.csv as a whole: milliseconds, and how many messages took so long, by `COLUMNS`."""
        lines = [f"{','.join(map(str, row))}\n" for row in rows]
        self._replace(LATENCY_FILE, "".join([",".join(COLUMNS) + "\n", *lines]))

    def write_answers(self, answers: list[dict[str, Any]]) -> None:
        """Replace answers.json as a whole: the beginnings of answers that did not open their connection."""
        self._replace(ANSWERS_FILE, json.dumps(answers, indent=2) + "\n")

    def _replace(self, name: str, text: str) -> None:
        with self._explained():
            replace_file(self.folder / name, text.encode(), temporary=f".{name}")

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


def _create(parent: Path, name: str, is_numbered: bool) -> Path:
    """Make the folder of a record."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 and not is_numbered else f"{name}-{attempt}")
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
