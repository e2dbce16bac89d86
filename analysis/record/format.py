"""The format of a run record: its version, the names of its files, and how a record can be wrong. No I/O.

Fields and units: docs/run-record.md.
"""

from floodtest.flyweight.errors import ExitCode, FloodtestError

FORMAT = 2
"""Version of the record; a reader refuses a newer one, and reads older ones."""

RENAMED = {1: {"chunks": "received"}}
"""What fields of samples and of the summary in records of older formats are called now, by format."""

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.csv"
LATENCY_FILE = "latency.csv"
ANSWERS_FILE = "answers.json"
STATES_FILE = "states.u8"
PORTS_FILE = "ports.u16"
HOSTS_FOLDER = "hosts"


class RecordError(FloodtestError):
    """A folder that is no run record, or one that can't be read."""

    exit_code = ExitCode.REFUSED


class DiskFault(FloodtestError):
    """A record that can't be written on with; what was written of it reads back."""
