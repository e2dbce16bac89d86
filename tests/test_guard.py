"""The guard: before memory runs out the ramp stops, what is open is held, and the outcome says why."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from flyweight.limits import Memory, read_memory
from loadgen import run as run_module
from loadgen.console import PlainConsole
from loadgen.plan import Plan
from loadgen.run import Run, RunOptions


def test_the_ramp_stops_before_memory_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0

    def shrinking() -> Memory:
        """Plenty at first, then less than the reserve."""
        nonlocal readings
        readings += 1
        memory = read_memory()
        return memory if readings <= 4 else replace(memory, available=1 << 20)

    monkeypatch.setattr(run_module, "read_memory", shrinking)
    options = RunOptions(Plan(1, 3000, "127.0.1.1", 2000, 3000), rate=1000, hold=0.2, out=tmp_path)
    summary = trio.run(Run(options, PlainConsole()).execute)
    assert summary.outcome == "shortfall"
    assert summary.reasons[0].startswith("memory: the ramp was ended")
    connections = summary.connections
    assert 0 < connections.opened < 3000
    assert connections.opened + connections.not_reached == 3000
    assert connections.closed_early == 0
