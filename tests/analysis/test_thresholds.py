"""analysis.record.thresholds: conditions over a summary's numbers, and everything that is wrong with one."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.analysis import load
from floodtest.analysis.record.summary import Latency, Tick
from floodtest.analysis.record.thresholds import parse, paths
from floodtest.flyweight.errors import UsageError
from tests.rigs import figures
from tests.rigs.figures import messages, server_times, summary
from tests.rigs.support import flood, run_here


@pytest.mark.parametrize(
    ("text", "path", "operator", "value"),
    [
        ("opened < 1000000", "connections.opened", "<", 1_000_000),
        ("connections.opened<1,054,000", "connections.opened", "<", 1_054_000),
        ("  failed>0 ", "connections.failed", ">", 0),
        ("failed != 0", "connections.failed", "!=", 0),
        ("latency.p99 > 50ms", "messages.latency_ms.p99", ">", 50),
        ("latency_ms.p99 > 50", "messages.latency_ms.p99", ">", 50),
        ("messages.latency_ms.p99_9 >= 0.5s", "messages.latency_ms.p99_9", ">=", 500),
        ("uncorrected_latency.max > 2m", "messages.uncorrected_latency_ms.max", ">", 120_000),
        ("timing.open.p99 > 0.5s", "timing.open_ms.p99", ">", 500),
        ("first_byte.max > 50ms", "timing.first_byte_ms.max", ">", 50),
        ("life.p50 < 2m", "lifetimes.life_seconds.p50", "<", 120),
        ("ramp.seconds > 1m", "ramp.seconds", ">", 60),
        ("ramp.per_second < 5_000", "ramp.per_second", "<", 5000),
        ("kernel_bytes_per_connection > 9KiB", "memory.kernel_bytes_per_connection", ">", 9216),
        ("measured_bytes > 10GiB", "memory.measured_bytes", ">", 10 << 30),
        ("server_idle_share > 5%", "cpu.server_idle_share", ">", 0.05),
        ("server_idle > 0.05", "cpu.server_idle_share", ">", 0.05),
        ("ticks.received == 1000", "ticks.received", "==", 1000),
        ("messages.lost > 0", "messages.lost", ">", 0),
        ("missing > 0", "missing", ">", 0),
        ("bytes < 1", "bytes", "<", 1),
    ],
)
def test_a_condition(text: str, path: str, operator: str, value: float) -> None:
    found = parse(text)
    assert (".".join(found.paths[0]), found.operator) == (path, operator)
    assert found.value == pytest.approx(value)
    assert found.text == text.strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "takes a condition such as"),
        ("opened", "takes a condition such as"),
        ("opened = 5", "takes a condition such as"),
        ("5 > opened", "takes a condition such as"),
        ("opened < 5 or failed > 1", "takes a condition such as"),
        ("opened < -", "takes a condition such as"),
        ("opened < 1.2.3", "is no number"),
        ("latency.p99 > 1,5ms", "'1,5' is no number"),
        ("open < 5", "the summary has no open"),
        ("outcome == 0", "the summary has no outcome"),
        ("thresholds.value > 1", "the summary has no thresholds.value"),
        ("p99 > 50ms", "p99 may be any of messages.latency_ms.p99, messages.uncorrected_latency_ms.p99"),
        ("per_second > 5", "may be any of ramp.per_second, ticks.per_second, messages.per_second"),
        ("opened < 5ms", "connections.opened is a number; units of those: none; not 'ms'"),
        ("latency.p99 > 5MiB", "is a time; units of those: ms, s, m, h; not 'MiB'"),
        ("ramp.seconds > 5%", "is a time"),
    ],
)
def test_no_condition(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert problem.startswith("--fail-if ")
    assert words in problem


@pytest.mark.parametrize(
    ("text", "there", "value"),
    [
        ("latency.p99 > 50ms", {"messages": messages()}, 22.9),
        ("latency.p99 > 50ms", {"server_times": server_times()}, 31.0),
        ("latency.p99 > 50ms", {}, None),
        ("server_times.latency.p99 > 50ms", {"messages": messages()}, None),
        ("ahead > 0", {"server_times": server_times()}, 3),
    ],
)
def test_the_latency_is_that_of_what_the_run_had(text: str, there: dict[str, Any], value: float | None) -> None:
    found = parse(text).judge(summary(**there))
    assert (found.value, found.failed) == (value, value in (None, 3))


@given(st.text())
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse(text).text == text.strip()


def test_every_number_of_the_summary_can_be_named_in_full() -> None:
    assert len(paths()) > 50
    for path in paths():
        assert parse(f"{'.'.join(path)} > 0").paths == (path,)


SUMMARY = figures.summary(
    connections=figures.connections(opened=900, failed={"EMFILE@connect": 3, "EPIPE@request": 4}),
    ticks=[Tick(1, 10, 10, 0.5, 20.0), Tick(2, 10, 9, 0.5, 18.0)],
    messages=figures.messages(latency_ms=Latency(1.0, 2.0, 60.5, 70.0, 80.0)),
)


@pytest.mark.parametrize(
    ("text", "value", "failed"),
    [
        ("opened < 1000", 900, True),
        ("opened < 900", 900, False),
        ("opened <= 900", 900, True),
        ("opened == 900", 900, True),
        ("opened != 900", 900, False),
        ("failed > 6", 7, True),
        ("failed >= 8", 7, False),
        ("latency.p99 > 50ms", 60.5, True),
        ("latency.p99 > 0.07s", 60.5, False),
        ("ticks.received < 10", 9, True),
        ("ticks.received < 9", 10, False),
    ],
)
def test_the_verdict_has_the_number_it_was_held_against(text: str, value: float, failed: bool) -> None:
    verdict = parse(text).judge(SUMMARY)
    assert (verdict.condition, verdict.value, verdict.failed) == (text, value, failed)


@pytest.mark.parametrize("text", ["latency.p99 > 50ms", "ticks.received < 10", "messages.lost > 0"])
def test_what_was_not_measured_has_failed(text: str) -> None:
    verdict = parse(text).judge(figures.summary())
    assert (verdict.value, verdict.failed) == (None, True)


@pytest.mark.parametrize(("slower", "value"), [("10", None), ("30", 20.0)])
def test_one_of_several_that_was_not_measured_has_failed_as_well(slower: str, value: float | None) -> None:
    ticks = [Tick(1, 10, 10, 0.5, 20.0), Tick(2, 10, 0, 0.0, None)]
    verdict = parse(f"ticks.per_second < {slower}").judge(figures.summary(ticks=ticks))
    assert (verdict.value, verdict.failed) == (value, True)


# In a run.


def test_a_run_that_crosses_a_threshold_falls_short_and_says_by_how_much(tmp_path: Path) -> None:
    conditions = ("--fail-if", "opened < 1000", "--fail-if", "ramp.seconds > 10m")
    code, summary, errors = flood(tmp_path, "--connections", "100", "--hold", "0", *conditions)
    assert (code, summary["outcome"]) == (4, "shortfall")
    assert summary["reasons"] == ["threshold: opened < 1000: it is 100"]
    first, second = summary["thresholds"]
    assert first == {"condition": "opened < 1000", "value": 100, "failed": True}
    assert (second["condition"], second["failed"]) == ("ramp.seconds > 10m", False)
    assert "threshold     opened < 1000: 100, fell short" in errors
    assert load(summary["run"]).run["options"]["fail_if"] == ["opened < 1000", "ramp.seconds > 10m"]


def test_a_run_that_keeps_its_thresholds_is_well(tmp_path: Path) -> None:
    code, summary, errors = flood(tmp_path, "--connections", "100", "--hold", "0", "--fail-if", "failed > 0")
    assert (code, summary["thresholds"]) == (0, [{"condition": "failed > 0", "value": 0, "failed": False}]), errors


def test_all_mistakes_are_named_before_anything_starts(tmp_path: Path) -> None:
    wrong = ("--fail-if", "p99 > 1", "--fail-if", "nonsense", "--stages", "5/s:2s,max:1s", "--ips", "0")
    done = run_here("floodtest", "run", "--out", str(tmp_path / "runs"), *wrong)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4, done.stderr
    assert not (tmp_path / "runs").exists()
