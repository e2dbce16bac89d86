"""The records of single hosts: what each of them said in the run, as an ordinary run record in `hosts/NAME`.

In: what every watcher of a run is told, and what each host's site says at that time. Out: a record for each host that
reads like that of a run on its machine alone against a server elsewhere: the server's figures and what was published
are in the record of the whole run. Its columns are written when the run is over. A host that is lost has a record too.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from floodtest.analysis import Sample, Summary
from floodtest.analysis.record import summary as sums
from floodtest.analysis.record.format import PORTS_FILE, STATES_FILE
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.cluster.remote_site import RemoteSite
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.demand import Forecast
from floodtest.loadgen.run.conclusion import Facts, conclude
from floodtest.loadgen.run.journal import Journal
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.sampling import latencies_between, sample_of
from floodtest.loadgen.run.watch import Watcher

FOLDER = "hosts"


class HostRecord:
    """The record of one host."""

    def __init__(
        self,
        folder: Path,
        site: RemoteSite,
        options: RunOptions,
        forecast: Forecast,
        facts: dict[str, Any],
        hidden: Mapping[str, str],
    ) -> None:
        """`options` are of the host's part; `hidden` is what must not be shown of the command line of the whole run."""
        self._site = site
        self._options = options
        self._predicted = forecast.held
        prediction = msgspec.to_builtins(forecast)
        self._journal = Journal(folder / FOLDER, options.recorded(), prediction, hidden, name=site.name, host=facts)
        self._samples: list[Sample] = []
        self._latency: dict[int, int] = {}

    @property
    def fault(self) -> str | None:
        """Why it could not be written any more."""
        return self._journal.fault

    def stage(self, stage: Stage) -> None:
        self._journal.stage(stage)

    def sample(self, taken: Sample) -> None:
        """Write down what the host says at the time of a sample of the whole run."""
        reading = self._site.told_now()
        if reading.figures is None:
            return
        latencies, self._latency = latencies_between(self._latency, reading.latency), reading.latency
        sample = sample_of(taken.time, Stage(taken.stage), reading, None, latencies)
        self._samples.append(sample)
        self._journal.sample(sample, reading)

    def summary(self, of_run: Summary, is_final: bool, ramp_seconds: float) -> None:
        """Write down what came of the host's part."""
        facts = Facts(
            folder=str(self._journal.folder),
            models=sums.Models(self._options.client, None),
            protocol=self._options.spoken,
            opened_when=self._options.opens_when,
            is_verified=not self._options.tls.insecure,
            reading=self._site.told_now(),
            samples=self._samples,
            server=None,
            in_flight=self._options.in_flight,
            server_ended=False,
            server_silent=False,
            ramp_seconds=ramp_seconds,
            interrupted=of_run.outcome == "interrupted",
            reasons=[],
            network=of_run.network,
            predicted_bytes=self._predicted,
        )
        if is_final:
            states, ports = self._site.columns()
            (self._journal.folder / STATES_FILE).write_bytes(states)
            (self._journal.folder / PORTS_FILE).write_bytes(ports)
        self._journal.summary(conclude(facts), is_final)

    def close(self) -> None:
        self._journal.close()


class HostRecords(Watcher):
    """Writes the records of all hosts."""

    takes_all_samples = True

    def __init__(self, records: list[HostRecord]) -> None:
        self._records = records
        self._ramp_began = self._ramp_ended = 0.0

    def stage(self, stage: Stage) -> None:
        """Write down that a stage begins; how long the ramp took is the time to the stage behind it."""
        now = time.monotonic()
        if stage == Stage.RAMP:
            self._ramp_began = now
        elif self._ramp_began and not self._ramp_ended:
            self._ramp_ended = now
        for record in self._records:
            record.stage(stage)

    def sample(self, sample: Sample, reading: Reading) -> None:
        for record in self._records:
            record.sample(sample)

    def summary(self, summary: Summary, is_final: bool) -> None:
        for record in self._records:
            record.summary(summary, is_final, max(0.0, self._ramp_ended - self._ramp_began))

    def close(self) -> None:
        for record in self._records:
            record.close()
