"""What the bundled server's protocols cost beside chunks: opening, ticks, messages, memory; both ends together.

CPU time is that of all processes of both ends, from the samples of a run: what they used while ticks were sent, and
while messages were, divided by what was received meanwhile. It is disturbed less by other work than rates are.
"""

from pathlib import Path

from benchmarks.rounds import Figures
from benchmarks.whole_runs import run_floodtest
from floodtest.analysis import Record
from floodtest.analysis.record.samples import Sample
from floodtest.analysis.record.stages import Stage

BASE = "chunked"
AGAINST_IT = ("sse", "websocket")


def run_protocol(protocol: str, connections: int, friends: Path, out: Path) -> Figures:
    """Run floodtest with a protocol, in the host's network."""
    summary, record = run_floodtest(connections, friends, out, "--network", "host", "--protocol", protocol)
    memory = summary["memory"]
    return {
        "opened/s": summary["ramp"]["per_second"],
        "CPU µs a tick": _cpu_of_each(record, Stage.HOLD) * 1e6,
        "CPU µs a message": _cpu_of_each(record, Stage.MESSAGES) * 1e6,
        "user bytes a connection": (
            memory["server_user_bytes_per_connection"] + memory["client_user_bytes_per_connection"]
        ),
    }


def _cpu_of_each(record: Record, stage: str) -> float:
    """Return seconds of CPU for each message received in a stage, from its first sample to its last."""
    within = [sample for sample in record.samples if sample.stage == stage]
    return (_cpu(within[-1]) - _cpu(within[0])) / (within[-1].received - within[0].received)


def _cpu(sample: Sample) -> float:
    assert sample.server_cpu is not None, "the bundled server's is always measured"
    return sample.server_cpu + sample.client_cpu
