"""`floodtest run`, as a person types it: against the bundled server, with real processes and sockets."""

import json
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from floodtest.analysis import load
from floodtest.loadgen.client.accounts import State
from tests.rigs.confinement import forbid_unshare
from tests.rigs.support import (
    OUR_NETWORK,
    OURS,
    comet,
    descendants,
    flood,
    open_now,
    processes_of,
    run_forked,
    run_here,
    started,
    wait_until,
)

ENDS = pytest.mark.parametrize(
    ("client", "model"), [("columns", "columns"), ("columns", "tasks"), ("httpx", "columns")]
)
"""Models of the client and of the server."""


def only_record(folder: Path) -> Path:
    (record,) = folder.iterdir()
    return record


@ENDS
def test_a_small_run_opens_holds_ticks_and_accounts_for_everything(client: str, model: str, tmp_path: Path) -> None:
    planned = 3000 if client == model else 100
    models = ["--client", client, "--server-model", model]
    code, summary, errors = flood(tmp_path, "--connections", str(planned), "--hold", "1.2", "--tick", "0.5", *models)
    assert (code, summary["outcome"], summary["reasons"]) == (0, "ok", []), errors
    connections = summary["connections"]
    assert connections["planned"] == connections["opened"] == connections["peak_open"] == planned
    assert connections["attempts"] == connections["opens"] == planned
    assert connections["failed"] == {}
    assert connections["closed_early"] == connections["not_reached"] == 0
    ticks = summary["ticks"]
    assert len(ticks) >= 2  # mostly 3: the first of them may come late, and the hold may last longer than it should
    assert [(tick["sent"], tick["received"]) for tick in ticks] == [(planned, planned)] * len(ticks)
    assert summary["received"] == planned * (1 + len(ticks))
    assert summary["missing"] == summary["repeated"] == 0
    assert summary["models"] == {"client": client, "server": model}
    record = load(summary["run"])
    assert record.run["summary"] == summary
    assert np.all(record.read_ports() > 0)
    assert [stage["name"] for stage in record.run["stages"]] == ["start", "ramp", "hold", "close"]
    assert np.all(record.read_states() == State.OPEN)
    for sample in record.samples:
        states = sample.not_reached + sample.in_flight + sample.open + sample.failed + sample.closed_early
        assert states == planned


def test_the_pairs_in_the_record_are_the_pairs_the_kernel_saw(tmp_path: Path) -> None:
    arguments = ["--connections", "200", "--each", "150", "--first-port", "5000", "--hold", "60"]
    with comet("--max-users", "200") as server, started(tmp_path, "--target", server.url, *arguments) as process:
        wait_until(lambda: server.stats()["connections"] == 200, "200 connections at the server")
        seen = set()
        for connection in psutil.net_connections("tcp4"):
            ours, theirs = connection.laddr, connection.raddr
            if ours and theirs and theirs.port == server.port and ours.ip != "127.0.0.1":
                seen.add((ours.ip, ours.port))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    ports = load(only_record(tmp_path)).read_ports().tolist()
    recorded = {(f"{OUR_NETWORK}.{1 + k // 150}", port) for k, port in enumerate(ports)}
    assert len(recorded) == 200
    assert recorded == seen
    assert ports[:3] == [5000, 5001, 5002] or 5000 not in ports  # IP-major, as planned, but for ports in use


@contextmanager
def taken(port: int) -> Iterator[None]:
    """A port of the first source address is taken: one that the kernel gives to nobody else as a free one."""
    with socket.create_server((f"{OUR_NETWORK}.1", port)):
        yield


def test_a_taken_port_is_replaced_by_a_spare(tmp_path: Path) -> None:
    with taken(64_002):
        options = ("--connections", "8", "--each", "8", "--first-port", "64000", "--hold", "0")
        code, summary, errors = flood(tmp_path, *options)
    assert code == 0, errors
    assert summary["connections"]["replaced_ports"] == 1
    ports = load(summary["run"]).read_ports().tolist()
    assert 64_002 not in ports
    assert len(set(ports)) == 8


def test_an_address_without_spares_fails_the_connection_by_name(tmp_path: Path) -> None:
    first = 65_000
    each = 65_536 - first
    with taken(first):
        options = ("--ips", "1", "--each", str(each), "--first-port", str(first), "--hold", "0")
        code, summary, _ = flood(tmp_path, *options)
    assert code == 4
    assert summary["connections"]["failed"] == {"EADDRINUSE@bind": 1}
    assert summary["connections"]["opened"] == each - 1


def test_kernel_ports_bind_the_address_only(client: str, tmp_path: Path) -> None:
    arguments = ["--connections", "200", "--each", "100", "--hold", "0.1", "--client", client]
    code, summary, errors = flood(tmp_path, *arguments, *(["--ports", "kernel"] if client == "columns" else []))
    assert code == 0, errors
    ports = load(summary["run"]).read_ports()
    assert np.all(ports > 0)
    assert all(len(np.unique(half)) == 100 for half in np.split(ports, 2))


def test_a_rate_is_kept_by_the_clock(client: str, tmp_path: Path) -> None:
    connections, rate = ("1000", "500") if client == "columns" else ("200", "100")
    arguments = ["--connections", connections, "--rate", rate, "--hold", "0", "--client", client]
    code, summary, _ = flood(tmp_path, *arguments)
    assert code == 0
    assert 1.9 < summary["ramp"]["seconds"] < 20


def test_stages_are_kept_by_the_clock(tmp_path: Path) -> None:
    code, summary, errors = flood(tmp_path, "--connections", "2000", "--stages", "100/s:1s,0:2s,max", "--hold", "0")
    assert code == 0, errors
    assert 3 <= summary["ramp"]["seconds"] < 20
    during = [sample.open for sample in load(summary["run"]).samples if sample.stage == "ramp"]
    assert 100 in during  # the pause
    assert load(summary["run"]).run["options"]["stages"][1] == {"rate": 0.0, "seconds": 2.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stages", "100/s:1s"), "--stages bring 100 of 1,000 connections"),
        (("--stages", "max", "--rate", "5"), "--rate and --stages say the same thing in two ways"),
        (("--stages", "fast"), "--stages takes stages such as"),
    ],
)
def test_stages_that_make_no_sense(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    code, summary, errors = flood(tmp_path, "--connections", "1000", *arguments)
    assert (code, summary) == (2, {})
    assert words in errors


@ENDS
def test_few_files_make_many_workers(client: str, model: str, tmp_path: Path) -> None:
    arguments = ["--connections", "300", "--hold", "0.3", "--client", client, "--server-model", model]
    line = ["run", "--json", "--no-report", "--out", str(tmp_path), *OURS, *arguments]
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (256, 256))
    process = run_forked("floodtest", *line, preexec_fn=limit)
    summary = json.loads(process.stdout)
    assert (process.returncode, summary["connections"]["opened"]) == (0, 300), process.stderr
    assert summary["workers"]["files_limit"] == 256
    assert summary["workers"]["client"] == 3


def test_where_threads_cannot_have_files_each_worker_is_a_process(tmp_path: Path) -> None:
    def limit() -> None:
        forbid_unshare()
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    arguments = ["--connections", "3000", "--hold", "3", "--tick", "0.5"]
    with started(tmp_path, *arguments, preexec_fn=limit) as process:
        wait_until(lambda: open_now(tmp_path) == 3000, "3000 connections")
        models = "floodtest.loadgen.client.columns", "floodtest.server_under_test.fronts.columns"
        counts = [len(descendants(process, model)) for model in models]
        output, errors = process.communicate(timeout=60)
    summary = json.loads(output)
    assert process.returncode == 0, errors
    assert (summary["workers"]["client"], summary["workers"]["server"]) == (4, 4)
    assert counts == [5, 5]  # and the process they are forked from
    assert [(tick["sent"], tick["received"]) for tick in summary["ticks"]] == [(3000, 3000)] * len(summary["ticks"])


def test_fifty_thousand(tmp_path: Path) -> None:
    code, summary, errors = flood(
        tmp_path, "--connections", "50000", "--hold", "1.5", "--tick", "60", "--network", "auto"
    )
    assert code == 0, errors
    assert summary["connections"]["peak_open"] == 50_000
    assert [(tick["sent"], tick["received"]) for tick in summary["ticks"]] == [(50_000, 50_000)]
    held = [sample for sample in load(summary["run"]).samples if sample.stage == "hold"]
    # The instrument against a second source: both ends of each connection are sockets of this machine.
    assert max(sample.tcp_inuse for sample in held) >= 100_000
    assert max(sample.server_open or 0 for sample in held) == 50_000


@ENDS
def test_ctrl_c_in_the_ramp_keeps_the_record_and_exits_130(client: str, model: str, tmp_path: Path) -> None:
    models = ["--client", client, "--server-model", model]
    with started(tmp_path, "--connections", "5000", "--rate", "500", *models) as process:
        wait_until(lambda: open_now(tmp_path), "a connection")
        tree = [child.pid for child in descendants(process)]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    summary = json.loads(output)
    assert (process.returncode, summary["outcome"]) == (130, "interrupted")
    connections = summary["connections"]
    assert connections["opened"] + connections["not_reached"] == 5000
    assert summary["ramp"]["seconds"] > 0
    assert load(summary["run"]).run["summary"] == summary
    wait_until(lambda: not processes_of(tree), "no process of the run is left")


def test_ctrl_c_while_the_server_is_starting(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "100") as process:
        wait_until(lambda: list(tmp_path.glob("*/run.json")), "the record")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["connections"]["not_reached"] == 100


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "100", "--hold", "60") as process:
        wait_until(lambda: open_now(tmp_path) == 100, "100 connections")
        tree = [child.pid for child in descendants(process)]
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    wait_until(lambda: not processes_of(tree), "no process of the run is left")


def test_fit_says_how_many_and_why(tmp_path: Path) -> None:
    code, _, errors = flood(tmp_path, "--connections", "100", "--fit", "--hold", "0")
    assert code == 0
    assert errors.splitlines()[0] == "This machine can hold 100 of the 100 planned connections: all that was asked for."


def test_the_summary_for_a_person_goes_to_stdout(tmp_path: Path) -> None:
    line = ["run", "--no-report", *OURS, "--connections", "100", "--hold", "0", "--out", str(tmp_path)]
    done = run_forked("floodtest", *line)
    assert done.returncode == 0
    assert done.stdout.startswith("ok: 100 of 100 connections were open at once")
    assert "2008" not in done.stdout  # a hundred connections are nothing to set beside a million


@pytest.mark.parametrize("name", ["floodtest", "comet"])
def test_help_is_complete(name: str) -> None:
    shown = run_here(name, "run" if name == "floodtest" else "serve", "--help")
    assert shown.returncode == 0
    assert "--help" in shown.stdout
