"""What the bundled server's protocols cost beside chunks, and WebSockets over TLS beside plain ones: opening, ticks,
messages, memory; both ends together.

CPU time is that of all processes of both ends, from the samples of a run: what they used in the ramp, divided by the
connections, and while ticks and messages were sent, divided by what was received meanwhile. It is disturbed less by
other work than rates are. What it takes to open a connection is in the figures of WebSockets only, which stand beside
bare handshakes (`benchmarks.handshakes`).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.handshakes import TO_OPEN, run_bare_loop
from benchmarks.rounds import Figures, Runner
from benchmarks.whole_runs import run_floodtest
from floodtest.analysis import Record
from floodtest.analysis.record.samples import Sample
from floodtest.analysis.record.stages import Stage

BASE = "chunked"
AGAINST_IT = ("sse", "websocket")

HANDSHAKES = 5000
"""Pairs of the bare loop at the most, some seconds."""

PLAIN, SECURED, BARE = "websocket", "websocket --tls", "bare handshakes"
"""What runs of WebSockets are called that are held against each other, and what those over TLS are held against."""


def run_protocol(protocol: str, connections: int, friends: Path, out: Path) -> Figures:
    """Run floodtest with a protocol, in the host's network."""
    return _figures(*run_floodtest(connections, friends, out, "--network", "host", "--protocol", protocol))


def run_websocket(tls: Sequence[str], connections: int, friends: Path, out: Path) -> Figures:
    """Run floodtest with WebSockets, in the host's network; `tls`: the option for TLS, or nothing."""
    options = ("--network", "host", "--protocol", "websocket", *tls)
    summary, record = run_floodtest(connections, friends, out, *options)
    return {**_figures(summary, record), TO_OPEN: _cpu_of_ramp(record) / connections * 1e6}


def runners_of_tls(connections: int, friends: Path, out: Path) -> tuple[dict[str, Runner], list[tuple[str, str]]]:
    """Return runners of WebSockets with TLS and without and of bare handshakes, and what is held against what."""
    runners: dict[str, Runner] = {
        PLAIN: partial(run_websocket, (), connections, friends, out),
        SECURED: partial(run_websocket, ("--tls",), connections, friends, out),
        BARE: partial(run_bare_loop, min(connections, HANDSHAKES)),
    }
    return runners, [(SECURED, PLAIN), (BARE, SECURED)]


def _figures(summary: dict[str, Any], record: Record) -> Figures:
    memory = summary["memory"]
    return {
        "opened/s": summary["ramp"]["per_second"],
        "CPU µs a tick": _cpu_of_each(record, Stage.HOLD) * 1e6,
        "CPU µs a message": _cpu_of_each(record, Stage.MESSAGES) * 1e6,
        "user bytes a connection": (
            memory["server_user_bytes_per_connection"] + memory["client_user_bytes_per_connection"]
        ),
    }


def _cpu_of_ramp(record: Record) -> float:
    """Return seconds of CPU from the last sample before the ramp to the first one behind it."""
    before = [sample for sample in record.samples if sample.stage == Stage.START][-1]
    behind = next(sample for sample in record.samples if sample.stage == Stage.HOLD)
    return _cpu(behind) - _cpu(before)


def _cpu_of_each(record: Record, stage: str) -> float:
    """Return seconds of CPU for each message received in a stage, from its first sample to its last."""
    within = [sample for sample in record.samples if sample.stage == stage]
    return (_cpu(within[-1]) - _cpu(within[0])) / (within[-1].received - within[0].received)


def _cpu(sample: Sample) -> float:
    assert sample.server_cpu is not None, "the bundled server's is always measured"
    return sample.server_cpu + sample.client_cpu
