"""loadgen.run.controlled: a run against a comet serve that was there before, which takes its ticks and messages."""

from pathlib import Path

import msgspec
import pytest

from floodtest.analysis import load
from floodtest.loadgen.run.controlled import since
from floodtest.wire.control import SentTick
from tests.rigs.figures import machine, stats
from tests.rigs.support import HEAD, comet, flood, run_here

TOKEN = "t0k3n-of-this-test"


def test_what_a_server_counted_before_the_run_is_left_out() -> None:
    before = stats(messages=10, routed=40, rejected={404: 3}, ticks=[SentTick(1, 1.0, 5, 1.0, 2.0)], fronts_left_out=1)
    now = msgspec.structs.replace(
        before,
        messages=25,
        routed=100,
        rejected={404: 4, 503: 1},
        ticks=[*before.ticks, SentTick(2, 3.0, 7, 3.0, 3.5)],
        connections=9,
    )
    found = since(before, now)
    assert (found.messages, found.routed, found.fronts_left_out, found.connections) == (15, 60, 0, 9)
    assert found.rejected == {404: 1, 503: 1}
    assert found.ticks == [SentTick(2, None, 7, None, None)]


def test_what_front_machines_counted_before_the_run_is_left_out() -> None:
    before = stats(machines=[machine("web1", times_lost=1, connections_lost=70, gaps=3, rows_lost=4, connections=9)])
    now = stats(machines=[machine("web1", times_lost=1, connections_lost=70, gaps=5, rows_lost=4), machine("web2")])
    assert since(before, now).machines == [machine("web1", gaps=2), machine("web2")]


@pytest.mark.usefixtures("forks")
def test_a_server_that_was_there_takes_ticks_and_messages_of_two_runs(tmp_path: Path) -> None:
    with comet("--max-users", "300", "--token", TOKEN) as server:
        control = f"http://127.0.0.1:{server.control}"
        line = ("--target", server.url, "--control", control, "--token", TOKEN, "--connections", "200")
        for _ in range(2):  # what the first one has done is none of the second one's
            code, summary, errors = flood(
                tmp_path, *line, "--hold", "0.7", "--tick", "0.2", "--messages", "100/s", "--message-seconds", "0.5"
            )
            assert (code, summary["reasons"]) == (0, []), errors
            assert summary["connections"]["opened"] == 200
            assert len(summary["ticks"]) >= 2
            assert all(tick["sent"] == tick["received"] == 200 for tick in summary["ticks"])
            messages = summary["messages"]
            assert (messages["planned"], messages["published"]) == (50, 50)
            assert (messages["expected"], messages["received"], messages["lost"]) == (50, 50, 0)
            assert summary["models"]["server"] == "columns"
            assert TOKEN not in (Path(summary["run"]) / "run.json").read_text()
            assert load(summary["run"]).part("options")["token"] == "***"


@pytest.mark.usefixtures("forks")
def test_a_wrong_token_or_another_server_is_refused(tmp_path: Path) -> None:
    with comet("--max-users", "300", "--token", TOKEN) as server:
        line = ("--target", server.url, "--connections", "20", "--control")
        code, _, errors = flood(tmp_path, *line, f"http://127.0.0.1:{server.control}", "--token", "another")
        assert (code, "401" in errors) == (3, True), errors
        code, _, errors = flood(tmp_path, *line, f"http://127.0.0.1:{server.port}", "--token", TOKEN)
        assert (code, "no comet serve" in errors or "answered" in errors) == (3, True), errors
        assert HEAD.decode() not in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--control", "http://127.0.0.1:9"], "--control is for a server that was named with --target."),
        (["--tick", "1", "--target", "http://127.0.0.1:9/"], "name its --control"),
        (
            ["--control", "http://127.0.0.1:9", "--target", "http://127.0.0.1:9/", "--messages", "1", "--db", "x"],
            "--friends and --db are for a server that the run starts",
        ),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], said: str) -> None:
    done = run_here("floodtest", "plan", *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
