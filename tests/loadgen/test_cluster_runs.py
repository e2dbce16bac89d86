"""A run whose connections other processes open: by pipes here, by Dask once, and what becomes of it without some."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from floodtest.analysis import Summary, load
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.client.accounts import State, count_states
from floodtest.loadgen.cluster import fleet
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster import standing as at_hosts
from floodtest.loadgen.plan.cluster import ClusterOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.watch import Watcher
from tests.rigs import fleet as rig
from tests.rigs.fleet import Piped, piping
from tests.rigs.support import OUR_NETWORK, comet, run, run_here

EACH = 150
FIRST_PORT = 5000


def options_of(folder: Path, hosts: int = 2, **changes: Any) -> RunOptions:
    plan = Plan(4, 200, f"{OUR_NETWORK}.9", FIRST_PORT, EACH * hosts)
    values: dict[str, Any] = {"hold": 0.5, "interval": 0.1, "out": folder, **changes}
    return RunOptions(plan, cluster=ClusterOptions(f"local:{hosts}"), **values)


@pytest.fixture
def fleets(monkeypatch: pytest.MonkeyPatch) -> list[Piped]:
    seen: list[Piped] = []
    monkeypatch.setattr(fleet, "carriage", piping(seen))
    return seen


def execute(options: RunOptions, *watchers: Watcher, fits: bool = False) -> Summary:
    return trio.run(Run(options, watchers, elsewhere=partial(fleet.assembled, cuts_to_fit=fits)).execute)


class AtHold(Watcher):
    """Does something when the hold has begun."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def stage(self, stage: str) -> None:
        if stage == "hold":
            self._act()


def check_accounts(summary: Summary) -> None:
    """Hold the summary against the columns, and those of single hosts against the whole."""
    record = load(summary.run)
    counts = count_states(record.read_states())
    found = summary.connections
    assert sum(counts.values()) == found.planned
    assert counts[State.OPEN] + counts[State.CLOSED_EARLY] == found.opened
    assert counts[State.CLOSED_EARLY] == found.closed_early == sum(found.closed_by.values())
    assert counts[State.FAILED] == sum(found.failed.values())
    assert found.planned == found.opened + counts[State.FAILED] + found.not_reached
    parts = [load(folder) for folder in sorted((Path(summary.run) / "hosts").iterdir())]
    assert sum(part.summary.connections.planned for part in parts if part.summary) == found.planned
    assert sum(part.summary.connections.opened for part in parts if part.summary) == found.opened
    assert np.concatenate([part.read_states() for part in parts]).tolist() == record.read_states().tolist()


@pytest.mark.usefixtures("forks")
def test_a_run_of_two_hosts_is_one_run(fleets: list[Piped], tmp_path: Path) -> None:
    summary = execute(options_of(tmp_path, tick=0.2))
    assert (summary.outcome, summary.reasons) == ("ok", [])
    assert summary.connections.opened == 2 * EACH
    assert len(summary.ticks) >= 2
    assert all(tick.sent == tick.received == 2 * EACH for tick in summary.ticks)
    check_accounts(summary)
    record = load(summary.run)
    ports = record.read_ports().reshape(2, EACH)
    assert (
        ports[0].tolist() == ports[1].tolist() == list(range(FIRST_PORT, FIRST_PORT + EACH))
    )  # each has an address of its own
    assert [folder.name for folder in sorted((Path(summary.run) / "hosts").iterdir())] == ["h0", "h1"]
    for name in ("h0", "h1"):
        part = load(Path(summary.run) / "hosts" / name)
        assert part.summary is not None
        assert (part.summary.outcome, part.summary.connections.opened) == ("ok", EACH)
        assert [sample.time for sample in part.samples] == [sample.time for sample in record.samples]
        assert [stage["name"] for stage in part.run["stages"]] == ["start", "ramp", "hold", "close"]
        assert part.run["options"]["plan"]["connections"] == EACH
    assert all(process.wait() == 0 for process in fleets[0].hosts)


@pytest.mark.usefixtures("forks")
def test_a_host_that_dies_is_named_and_the_others_go_on(fleets: list[Piped], tmp_path: Path) -> None:
    killing = AtHold(lambda: os.kill(fleets[0].hosts[1].pid, signal.SIGKILL))
    summary = execute(options_of(tmp_path, hold=1.5), killing)
    assert summary.outcome == "shortfall"
    assert summary.connections.closed_by == {"HOST_LOST": EACH}
    assert (summary.connections.opened, summary.connections.closed_early) == (2 * EACH, EACH)
    reason = next(reason for reason in summary.reasons if "host lost" in reason)
    assert reason.startswith("h1: host lost: its process ended with status -9; 150 connections went with it")
    check_accounts(summary)
    assert load(Path(summary.run) / "hosts/h0").run["summary"]["outcome"] == "ok"
    lost = load(Path(summary.run) / "hosts/h1").summary
    assert lost is not None
    assert lost.outcome == "shortfall"


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("how", ["cut off", "stopped"])
def test_a_host_that_is_silent_is_lost_and_ends_by_itself(
    how: str, fleets: list[Piped], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "SILENCE", 2.5)

    def act() -> None:
        if how == "cut off":
            fleets[0].cut.add(0)
        else:
            os.kill(fleets[0].hosts[0].pid, signal.SIGSTOP)

    is_there: list[bool] = []
    at_the_end = AtClose(lambda: is_there.append(Path(f"/proc/{fleets[0].hosts[0].pid}").exists()))
    summary = execute(options_of(tmp_path, hold=5.0), AtHold(act), at_the_end)
    assert summary.outcome == "shortfall"
    assert summary.connections.closed_by == {"HOST_LOST": EACH}
    assert any("nothing was heard of it for" in reason for reason in summary.reasons)
    check_accounts(summary)
    assert is_there == [how == "stopped"]  # one that is cut off has ended by itself


class AtClose(Watcher):
    """Does something when connections are about to be closed."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def stage(self, stage: str) -> None:
        if stage == "close":
            self._act()


@pytest.mark.usefixtures("forks")
def test_an_interruption_ends_all_hosts_in_order(fleets: list[Piped], tmp_path: Path) -> None:
    summary = execute(options_of(tmp_path, hold=60.0), AtHold(lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert summary.outcome == "interrupted"
    assert summary.connections.opened == 2 * EACH
    assert summary.connections.closed_early == 0
    check_accounts(summary)
    assert [process.wait() for process in fleets[0].hosts] == [0, 0]


@pytest.mark.usefixtures("forks")
def test_what_stands_in_the_way_at_a_host_is_refused(fleets: list[Piped], tmp_path: Path) -> None:
    options = options_of(tmp_path)
    unreachable = RunOptions(Plan(4, 200, "10.255.255.9", 2000, 300), cluster=options.cluster, out=tmp_path)
    with pytest.raises(Refused, match=r"h0: .*10\.255\.255\.9"):
        execute(unreachable)
    assert [process.wait() for process in fleets[0].hosts] == [0, 0]
    assert not any(tmp_path.iterdir())


LINE = ("--cluster", "local:2", "--base-ip", f"{OUR_NETWORK}.9", "--ips", "4", "--each", "200")


@pytest.mark.usefixtures("fleets")
def test_plan_shows_the_part_of_each_host(tmp_path: Path) -> None:
    shown = run_here("floodtest", "plan", *LINE, "--connections", "301", cwd=tmp_path)
    assert shown.returncode == 0
    heads = [line for line in shown.stdout.splitlines() if line.startswith("# ")]
    assert heads == [
        "# h0 (pipe:0), which could hold 301 connections by itself",
        "# h1 (pipe:1), which could hold 301 connections by itself",
    ]
    assert "150 connections to a server of our own" in shown.stdout
    assert shown.stdout.endswith("301 connections from 2 hosts: a run would start.\n")
    told = json.loads(run_here("floodtest", "plan", *LINE, "--connections", "301", "--json", cwd=tmp_path).stdout)
    sources = [source for host in told["hosts"] for source in host["plan"]["sources"]]
    assert [(source["first_user"], source["last_user"]) for source in sources] == [(1, 150), (151, 301)]
    assert told["obstacles"] == []


@pytest.mark.usefixtures("fleets")
def test_doctor_checks_each_host_for_its_part(tmp_path: Path) -> None:
    shown = run_here("floodtest", "doctor", *LINE, "--connections", "300", cwd=tmp_path)
    assert shown.returncode == 0
    assert shown.stdout.count("For 150 connections") == 2
    refused = run_here("floodtest", "doctor", *LINE, "--connections", "300", "--base-ip", "10.255.255.9", cwd=tmp_path)
    assert refused.returncode == 3
    assert "  h1: No interface of this machine has 10.255.255.10." in refused.stdout
    assert run_here("floodtest", "doctor", *LINE, "--sysctl", cwd=tmp_path).returncode == 2


@pytest.mark.usefixtures("fleets")
def test_who_interrupts_before_the_hosts_are_there_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Piped, order: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await trio.sleep_forever()

    monkeypatch.setattr(Piped, "start", never)
    done = run_here("floodtest", "run", *LINE, cwd=tmp_path, timeout=20)
    assert (done.returncode, "Interrupted" in done.stderr) == (130, True), done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("fleets")
def test_a_host_that_ends_before_the_run_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "HOST", "floodtest.analysis.record.text")  # a module that does nothing
    done = run_here("floodtest", "run", *LINE, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.count("can't take part: its process ended with status 0") == 2, done.stderr


@pytest.mark.usefixtures("fleets")
def test_a_server_elsewhere_takes_the_messages_of_a_run_of_hosts_and_no_record_has_its_token(tmp_path: Path) -> None:
    token = "t0k3n-of-this-test"
    with comet("--max-users", "300", "--token", token) as server:
        done = run_here(
            "floodtest",
            *("run", *LINE, "--connections", "300", "--target", server.url, "--hold", "0.5", "--tick", "0.2"),
            *("--control", f"http://127.0.0.1:{server.control}", "--token", token, "--no-report", "--json"),
            *("--messages", "100/s", "--message-seconds", "0.5"),
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["messages"]["expected"], told["messages"]["received"], told["messages"]["lost"]) == (50, 50, 0)
    assert all(tick["sent"] == tick["received"] == 300 for tick in told["ticks"])
    records = list((tmp_path / "runs").rglob("run.json"))
    assert len(records) == 3
    assert not [path for path in records if token in path.read_text()]


@pytest.mark.usefixtures("fleets")
def test_fit_cuts_the_plan_to_what_the_hosts_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hosts, "sources_of", lambda options, device: ("10.255.255.9", 1))  # as hosts are forked
    refused = run_here("floodtest", "plan", *LINE, "--connections", "300", cwd=tmp_path)
    assert refused.returncode == 3
    assert "300 connections don't fit on the hosts. 200 would fit: --connections 200, or --fit." in refused.stderr
    cut = run_here("floodtest", "plan", *LINE, "--connections", "300", "--fit", cwd=tmp_path)
    assert "The hosts can hold 200 of the 300 planned connections." in cut.stderr
    assert "200 connections from 2 hosts" in cut.stdout


@pytest.mark.usefixtures("fleets")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--each", "1", "--ips", "1"], 2, "--connections 10 is more"),
        (["--users", "rows.csv", "--target", "http://127.0.0.1:9/{name}"], 2, "--users is for one machine"),
        (["--network", "isolated"], 2, "are for one machine"),
        (["--hosts", "a"], 2, "both say which machines"),
        (["--device", "lo", "--host-base-ip", "h0=127.0.0.9"], 2, "both say where connections come from"),
        (["--device", "nosuch"], 3, "h0: There is no device 'nosuch'"),
        (["--host-base-ip", "other=127.0.0.9"], 3, "there is no host other; there are h0, h1"),
    ],
)
def test_what_makes_no_sense_for_a_cluster_is_said(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = run_here("floodtest", "run", *LINE, "--connections", "10", *words, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["local:0", "local:65", "tcp:host", "tcp://host", "here", "local:"])
def test_a_cluster_is_a_scheduler_or_so_many_workers(text: str) -> None:
    done = run_here("floodtest", "plan", "--cluster", text)
    assert (done.returncode, "--cluster takes the scheduler" in done.stderr) == (2, True)


def test_without_dask_a_person_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run_here("floodtest", "run", *LINE, cwd=tmp_path)
    assert (done.returncode, "pip install 'floodtest[cluster]'" in done.stderr) == (3, True)


def test_dask_carries_a_run(tmp_path: Path) -> None:
    """The one test with Dask: its processes cost seconds."""
    done = run(
        "floodtest",
        *("run", "--cluster", "local:2", "--connections", "2000", "--hold", "0.5", "--no-report"),
        *("--base-ip", f"{OUR_NETWORK}.9", "--out", str(tmp_path)),
    )
    assert (done.returncode, done.stdout[:30]) == (0, "ok: 2,000 of 2,000 connections"), done.stderr
    (folder,) = tmp_path.iterdir()
    summary = load(folder).summary
    assert summary is not None
    check_accounts(summary)


@pytest.mark.parametrize("error", [OSError("Unable to contact Actor's worker"), RuntimeError("Worker holding Actor")])
def test_a_worker_that_is_gone_is_said_in_words_of_ours(error: Exception) -> None:
    """Those of Dask are of its actors; `tests.attacks.cluster` kills a worker."""
    from floodtest.loadgen.cluster.dask_client import _in_words  # which takes Dask along

    assert _in_words(error) == "its worker of Dask has ended, or can't be reached any more"
