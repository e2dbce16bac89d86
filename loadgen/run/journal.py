"""The journal: the watcher that writes a run down as it goes, in its run record (see `analysis.record`).

In: the name of each stage as it begins, each sample, the summary. Out: files, written at once, so that a run that is
killed leaves behind all that it knew. A record that can't be written any more (a full disk) ends nothing: later writes
are tried all the same, and `fault` says why the first one failed.
"""

import platform
import shlex
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from floodtest.analysis import RecordWriter, Sample, Summary
from floodtest.analysis.record import DiskFault
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import cores, raise_files_limit, read_memory
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.machine.sockets import read_slabs
from floodtest.loadgen.client import histogram
from floodtest.loadgen.plan.request import shown_word
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher


class Journal(Watcher):
    """Writes the record of one run; Refused if there can't be one."""

    takes_all_samples = True

    def __init__(
        self,
        out: Path,
        options: dict[str, Any],
        prediction: dict[str, Any],
        hidden: Mapping[str, str] = MappingProxyType({}),
        name: str | None = None,
        host: dict[str, Any] | None = None,
    ) -> None:
        """Begin a record. `hidden` are texts of the command line that must not be in it, with what is there instead.

        It is called by the time where it has no name of its own. `host` are the facts of another machine (`host_facts`)
        that it is about, whose name it has as it is.
        """
        # Once: a file of /proc that can't be opened for a moment must not cost a later write.
        self._host = _host_facts() if host is None else host
        self._versions = _versions()
        is_numbered = name is not None and host is None
        self._record = RecordWriter(out, name or time.strftime("%Y%m%d-%H%M%S"), is_numbered)
        self._options = options
        program, *words = sys.argv
        program = "floodtest" if program.endswith("/__main__.py") else program  # as after python -m floodtest
        self._command = shlex.join([program, *(shown_word(word, hidden) for word in words)])
        self._prediction = prediction
        self._began = time.monotonic()
        self._stages: list[dict[str, Any]] = []
        self._answers = 0
        self._zero: dict[str, float] | None = None  # what clocks showed at time 0 of the samples
        self.fault: str | None = None
        """Why the record could not be written any more, None while it can."""

    @property
    def folder(self) -> Path:
        return self._record.folder

    def stage(self, stage: Stage) -> None:
        """Write down that a stage begins, and so the one before ends."""
        self._end_stage()
        self._stages.append({"name": stage, "start": self._now(), "end": None})
        self._write(None)

    def sample(self, sample: Sample, reading: Reading) -> None:
        """Write a sample down, and all latencies if there are new ones."""
        if self._zero is None:
            now = {"monotonic": time.monotonic(), "realtime": time.time()}
            self._zero = {clock: round(seconds - sample.time, 3) for clock, seconds in now.items()}
        with self._noting_faults():
            self._record.write_sample(sample)
            if sample.latency_p50 is not None:
                counted = reading.latency, reading.latency_published, reading.watched_read, reading.watched_arrival
                self._record.write_latency(histogram.rows(*map(histogram.dense, counted)))
            if len(reading.answers) > self._answers:
                self._answers = len(reading.answers)
                self._record.write_answers(msgspec.to_builtins(reading.answers))

    def summary(self, summary: Summary, is_final: bool) -> None:
        """Write down what has come of the run; the last stage ends with the final one."""
        if is_final:
            self._end_stage()
        self._write(summary)

    def _write(self, summary: Summary | None) -> None:
        """Write down what is known of the run as a whole."""
        run = {
            "command": self._command,
            "options": self._options,
            "prediction": self._prediction,
            "host": self._host,
            "versions": self._versions,
            "began": self._zero,
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


def _versions() -> dict[str, str]:
    return {**{name: version(name) for name in ("floodtest", "trio", "numpy")}, "openssl": ssl.OPENSSL_VERSION}


def _host_facts() -> dict[str, Any]:
    try:
        return host_facts(Machine())
    except OSError as error:
        raise Refused(f"Can't read {error.filename} for the record of the run: {reason(error)}. Try again.") from error


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
        "kernel_tls": machine.kernel_tls,
    }
