"""floodtest as a library: what it offers, what an import costs, and a run from a program."""

import subprocess
import sys
from pathlib import Path

import pytest

import floodtest
from floodtest import Plan, RunOptions, load, run
from tests.rigs.support import OUR_NETWORK


@pytest.mark.parametrize("name", floodtest.__all__)
def test_each_name_is_offered_and_described(name: str) -> None:
    assert getattr(floodtest, name).__doc__


def test_a_name_that_is_not_offered_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="'floodtest' has no attribute 'flood'"):
        _ = floodtest.flood


def test_an_import_takes_nothing_along() -> None:
    looked = "import sys, floodtest; print([name for name in ('numpy', 'trio', 'typer') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_from_a_program(tmp_path: Path) -> None:
    plan = Plan(ips=2, each=10, base_ip=f"{OUR_NETWORK}.1", first_port=20_000, connections=20)
    summary = run(RunOptions(plan=plan, hold=0.1, out=tmp_path))
    assert (summary.outcome, summary.connections.opened) == ("ok", 20)
    assert load(summary.run).summary == summary
