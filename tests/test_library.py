"""floodtest as a library: what it offers, what an import costs, and a run from a program."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import floodtest
from floodtest import Plan, RunOptions, load, run
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.pacer import Stage
from tests.rigs.support import OUR_NETWORK

PLAN = Plan(ips=2, each=10, base_ip=f"{OUR_NETWORK}.1", first_port=20_000, connections=20)


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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rate": 0.0}, "--rate must be more than 0, not 0.0."),
        ({"rate": math.nan}, "--rate must be more than 0, not nan."),
        ({"in_flight": 0}, "--in-flight must be at least 1, not 0."),
        ({"interval": 0.0}, "--interval must be more than 0, not 0.0."),
        ({"hold": -1.0}, "--hold must be at least 0, not -1.0."),
        ({"stages": (Stage(5.0, 1.0),)}, "--stages bring 5 of 20 connections."),
        ({"stages": ()}, "--stages takes rates, "),
        ({"stages": (Stage(0.0), Stage(None))}, "--stages takes rates, "),
        ({"stages": (Stage(None, 5.0),)}, "--stages takes rates, "),
        ({"stages": (Stage(0.0, 5.0),)}, "--stages takes rates, "),
        ({"stages": (Stage(-1.0, 5.0), Stage(None))}, "--stages takes rates, "),
        ({"client": "httpx"}, "--ports explicit is not for --client httpx, "),
        ({"address": "first"}, "--address is for a server that was named with --target."),
        ({"server_pid": 1}, "--server-pid is for a server that was named with --target."),
        ({"target": "http://127.0.0.1:9/{user}", "tick": 1.0}, "--tick is for our own server"),
        (
            {"protocol": "websocket", "client": "httpx", "ports": "kernel"},
            "--client httpx can't open --protocol websocket",
        ),
        ({"target": "http://h/{user}", "send": "x"}, "--send is for WebSockets"),
        ({"target": "ws://h/{user}", "body": "x"}, "--method and --body are not for a WebSocket"),
        ({"target": "ws://h/{user}", "protocol": "sse"}, "--protocol sse is not for a target of ws://"),
        (
            {"target": "ws://h/{user}", "client": "httpx", "ports": "kernel"},
            "--client httpx can't open --protocol websocket: take another client.",
        ),
        ({"friends": Path("pairs.txt")}, "--friends and --db are for --messages"),
        ({"fail_if": ("nonsense",)}, "--fail-if"),
        (
            {"plan": replace(PLAN, first_user=1000), "messages": MessageOptions(5.0)},
            "--messages is about users",
        ),
    ],
)
def test_options_of_a_program_that_make_no_sense_are_named(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(RunOptions(**{"plan": PLAN, "out": tmp_path / "runs", **given}))
    (problem,) = caught.value.problems
    assert problem.startswith(words)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("forks")
def test_users_of_a_program_may_have_any_numbers(tmp_path: Path) -> None:
    summary = run(RunOptions(replace(PLAN, first_user=1_000_001), hold=0.1, out=tmp_path))
    assert (summary.outcome, summary.connections.opened, summary.workers.server) == ("ok", 20, 1)


def test_a_run_from_a_program(tmp_path: Path) -> None:
    summary = run(RunOptions(plan=PLAN, hold=0.1, out=tmp_path))
    assert (summary.outcome, summary.connections.opened) == ("ok", 20)
    assert load(summary.run).summary == summary
