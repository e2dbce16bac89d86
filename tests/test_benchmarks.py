"""benchmarks: rows of tables are made of what summaries have now, and the truth beside them of what was read."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import cost, latency, protocols, rounds, tls_alternatives
from benchmarks.handshakes import AT_A_TIME, TO_OPEN, run_bare_loop
from benchmarks.tls_alternatives import Cost, Reading, Sizes
from floodtest.analysis import Record
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Latency
from floodtest.loadgen.client import histogram
from tests.rigs.figures import MIB, client_share, record_of, sample, summary


def test_a_row_of_latencies_is_made_of_a_summary() -> None:
    share = client_share(read_ms=Latency(6.0, 7.0, 12.0, 50.0, 60.0), arrival_ms=Latency(5.0, 5.0, 5.1, 5.2, 5.3))
    told = msgspec.to_builtins(summary(client_share=share))
    cells = latency.row(19_000, 5.0, told, {histogram.bucket(5000): 10}).split(" | ")
    assert cells[0] == "| 19,000"
    assert cells[3:] == ["5.000, 5.100", "+0.0%", "6.000, 12.000", "1.000, 6.900", "1,500, 149, 20 |"]


def test_a_row_of_costs_has_what_was_said_and_what_was_read() -> None:
    told = msgspec.to_builtins(summary())
    cells = cost.row("express", 6000, None, told, 20.0).split(" | ")
    assert cells == ["| express", "6,000", "as it goes", "0.0 KiB", "0.0 to 0.0", "0.0 KiB", "+5.0%", "no |"]


def test_the_cost_that_was_read_is_from_before_the_first_connection_to_the_end_of_the_hold() -> None:
    sizes = [(10, 50), (10, 60), (11, 90), (60, 100), (110, 120), (110, 160), (110, 160), (110, 160), (40, 30)]
    readings = [(2.0 * at, files, size * MIB) for at, (files, size) in enumerate(sizes)]
    assert cost.cost_by(readings, 100) == pytest.approx(MIB)


def test_what_it_takes_to_open_is_from_before_the_ramp_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [(1.0, 2.0, 0), (1.5, 2.5, 0), (9.0, 11.0, 1000), (10.0, 12.0, 4000), (10.0, 13.0, 4000), (12.0, 14.0, 6000)]
    stages = [Stage.START, Stage.RAMP, Stage.HOLD, Stage.HOLD, Stage.MESSAGES, Stage.MESSAGES]
    samples = [
        sample(stage=stage, server_cpu=server, client_cpu=client, received=received)
        for stage, (server, client, received) in zip(stages, ends, strict=True)
    ]
    asked: list[str] = []

    def run(connections: int, friends: Path, out: Path, *more: str) -> tuple[dict[str, Any], Record]:
        asked.extend(more)
        return msgspec.to_builtins(summary()), record_of(samples)

    monkeypatch.setattr(protocols, "run_floodtest", run)
    runners, pairs = protocols.runners_of_tls(1000, Path("friends"), Path("runs"))
    found = runners["websocket --tls"]()
    assert asked == ["--network", "host", "--protocol", "websocket", "--tls"]
    assert found[TO_OPEN] == pytest.approx(17_000)
    assert (found["CPU µs a tick"], found["CPU µs a message"]) == pytest.approx((2e6 / 3000, 3e6 / 2000))
    assert all({one, other} <= runners.keys() for one, other in pairs)


def test_bare_handshakes_take_time() -> None:
    (name, value), *others = run_bare_loop(AT_A_TIME + 1).items()
    assert (name, others) == (TO_OPEN, [])
    assert 50 < value < 1_000_000


def test_a_proxy_of_one_process_has_fewer_connections() -> None:
    asked = Sizes(first=1_000, all=10_000)
    assert {name: tls_alternatives.sizes_for(name, asked).all for name in tls_alternatives.SERVERS} == {
        "comet, columns": 10_000,
        "comet, tasks": 10_000,
        "haproxy, two of it": 10_000,
        "nginx, two of it": 10_000,
        "hitch, two of it": 10_000,
        "caddy, one of it": 9_000,
        "stunnel, one of it": 9_000,
    }
    assert tls_alternatives.sizes_for("caddy, one of it", Sizes(2, 30)) == Sizes(2, 30)


@pytest.mark.parametrize("line", [["--first", "9000"], ["--first", "0"], ["--connections", "1000"]])
def test_sizes_that_make_no_sense_are_refused(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tls_alternatives", *line])
    with pytest.raises(SystemExit, match="2"):
        tls_alternatives.main()


def test_the_cost_of_tls_is_what_is_added_by_connections() -> None:
    found = tls_alternatives.cost(Reading(MIB, 1.0), Reading(9 * MIB, 1.5), Reading(2 * MIB, 3.0), 1024)
    assert found == Cost(1024, 0.5 / 1024)
    assert found.cells() == ["1.0 KiB", "488 µs"]
    assert Cost(202.4, 0.0).cells() == ["202 B", "0 µs"]


@pytest.mark.parametrize("client", ["Python's ssl", "websockets", "node, ws"])
def test_clients_of_others_open_what_they_are_told(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (missing := tls_alternatives.missing("comet, columns", client)) is not None:
        pytest.skip(missing)
    for name in ("PAUSE", "SETTLE", "PERIOD"):
        monkeypatch.setattr(tls_alternatives, name, 0.01)
    costs = tls_alternatives.measure("comet, columns", client, tmp_path, Sizes(first=2, all=30))
    assert all(each.seconds >= 0 for each in costs)
    assert (tmp_path / "said").read_text() == "2\n30\n"


def test_a_ratio_stands_beside_its_limit_and_is_of_what_both_have(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rounds, "settle", lambda: None)
    runners: dict[str, rounds.Runner] = {
        "alone": lambda: {"µs": 2.0, "ms": 4.0},
        "over": lambda: {"µs": 3.0, "ms": 4.0, "of these router": 1.0},
    }
    rounds.compare(1000, 2, runners, [("over", "alone")], {"µs": 1.1})
    *runs, ratios = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in runs] == ["alone", "over", "over", "alone"]
    assert runs[1].endswith("µs 3, ms 4, of these router 1")
    assert ratios == "    1,000  over / alone, medians of 2: µs 1.50 (limit 1.1), ms 1.00"
