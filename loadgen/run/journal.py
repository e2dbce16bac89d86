"""The journal: what a run writes down as it goes. Its stages and samples, on disk at once and shown to a person.

In: the name of each stage as it begins, each sample, the summary. Out: the run record (see `analysis.record`). Nothing
here decides anything, so that a run that is killed leaves behind all that it knew. A record that can't be written any
more (a full disk) ends nothing: the run goes on without, and `fault` says so.
"""

import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from floodtest.analysis import RecordWriter, Sample, Summary
from floodtest.analysis.record import DiskFault
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import cores, raise_files_limit, read_memory
from floodtest.flyweight.machine.sockets import read_slabs
from floodtest.loadgen.client import latency
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.run.watch import Console


class Journal:
    """Writes the record of one run; Refused if there can't be one."""

    def __init__(
        self,
        out: Path,
        options: dict[str, Any],
        prediction: dict[str, Any],
        planned: int,
        ledger: Ledger,
        console: Console,
    ) -> None:
        self._record = RecordWriter(out, time.strftime("%Y%m%d-%H%M%S"))
        self._options = options
        self._prediction = prediction
        self._planned = planned
        self._ledger = ledger
        self._console = console
        self._began = time.monotonic()
        self._stages: list[dict[str, Any]] = []
        self.fault: str | None = None
        """Why the record could not be written any more, None while it can."""
        self.samples: list[Sample] = []

    @property
    def folder(self) -> Path:
        return self._record.folder

    @property
    def stage(self) -> Stage:
        """The stage that the run is in."""
        return Stage(self._stages[-1]["name"])

    def enter(self, stage: Stage) -> None:
        """Begin a stage, which ends the one before."""
        self._end_stage()
        self._stages.append({"name": stage, "start": self._now(), "end": None})
        self.write(None)

    def add(self, sample: Sample, shown: bool = True) -> None:
        """Take a sample, and show it to a person if it is one of those that were asked for."""
        self.samples.append(sample)
        with self._noting_faults():
            self._record.write_sample(sample)
            if sample.latency_p50 is not None:
                planned, published = (self._ledger.total(name) for name in ("latency", "latency_published"))
                self._record.write_latency(latency.rows(planned, published))
        if shown:
            self._console.sample(sample, self._planned)

    def conclude(self, summary: Summary) -> None:
        """End the last stage, and write the summary down."""
        self._end_stage()
        self.write(summary)

    def write(self, summary: Summary | None) -> None:
        """Write down what is known of the run as a whole."""
        run = {
            "command": shlex.join(sys.argv),
            "options": self._options,
            "prediction": self._prediction,
            "host": host_facts(Machine()),
            "versions": {name: version(name) for name in ("floodtest", "trio", "numpy")},
            "stages": self._stages,
            "summary": None if summary is None else msgspec.to_builtins(summary),
        }
        with self._noting_faults():
            self._record.write_run(run)

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        """Note the first write that fails. Later ones are tried all the same: somebody may make room."""
        try:
            yield
        except DiskFault as error:
            self.fault = self.fault or str(error)

    def close(self) -> None:
        self._record.close()

    def _end_stage(self) -> None:
        if self._stages:
            self._stages[-1]["end"] = self._now()

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 3)


def host_facts(machine: Machine) -> dict[str, Any]:
    """Return what of this machine a reader of the record needs to judge it; None for what it does not tell."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": cores(),
        "memory": read_memory().total,
        "files_limit": raise_files_limit(),
        "somaxconn": machine.setting("net/core/somaxconn"),
        "slabinfo": read_slabs() is not None,
    }
