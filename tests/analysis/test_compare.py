"""analysis.figures.compare: figures beside each other with ratios, what is not significant, and what is not alike."""

import importlib.resources
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from floodtest.analysis import Record, RecordWriter, Sample, load, read_findings
from floodtest.analysis.figures.compare import Cell, Row, Table, compare, differences, labels, tabulate
from floodtest.analysis.figures.comparison_text import BY_SCATTER, ONE_RUN, render, render_series
from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.lines_of_code import count, lines_of_code, sources
from floodtest.analysis.figures.run_figures import figures
from floodtest.analysis.pages.compare import PLOTS, overlaid, write_page
from floodtest.analysis.record.summary import Latency, Models, Percentiles, Ramp, ServerTls, Tick, Timing, Tls
from floodtest.flyweight.errors import Refused, UsageError
from floodtest.loadgen.plan.models import SERVER_MODELS
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from tests.analysis.test_report import BEGUN, HOSTILE, read
from tests.rigs.figures import (
    MIB,
    client_share,
    compared,
    connections,
    findings_of,
    messages,
    record_of,
    sample,
    start,
    summary,
    troubled,
)
from tests.rigs.support import run_here

HOST = {"system": "Linux", "cores": 2, "memory": 24 << 30, "slabinfo": True}


def samples(slope: float, noise: float = 20_000, rate: int = 1000, seed: int = 1) -> list[Sample]:
    """Samples of a ramp of twenty seconds, and of messages for ten."""
    rng = np.random.default_rng(seed)
    rows = [start(time=0.0, server_begun=0, client_begun=0)]
    for at in range(1, 21):
        private = int(30 * MIB + slope * at * rate + rng.normal(0, noise))
        opened = int(at * rate + rng.normal(0, rate / 100))
        rows.append(sample(time=at, stage="ramp", open=opened, received=opened, server_private=private, **BEGUN))
    last = rows[-1]
    for at in range(1, 11):
        new: dict[str, Any] = {"time": 20 + at, "stage": "messages", "received": last.received + at * 5000}
        cpu = {"server_cpu": 1.25 + at * 0.05, "client_cpu": 0.75 + at * 0.1, "latency_p50": 10.0 + at % 2}
        rows.append(msgspec.structs.replace(last, **new, **cpu, latency_p99=20.0, messages=at * 5000))
    return rows


def record(name: str, slope: float = 1000, host: dict[str, Any] = HOST, **options: Any) -> Record:
    found = msgspec.to_builtins(
        summary(messages=messages(per_second=5000.0), ramp=Ramp(20.0, float(options.get("rate", 1000))))
    )
    seed = int(options.pop("seed", 1))
    rows = samples(slope, seed=seed, **{key: options.pop(key) for key in ("noise", "rate") if key in options})
    return record_of(rows, Path(name), host=host, summary=found, options={"target": None, **options}, command="cmd")


def row(records: list[Record], name: str) -> Row:
    (found,) = [row for row in compared(records).table.rows if row.name == name]
    return found


PLAN = Plan(1, 1000, "127.0.1.1", 1024, 1000)
SERVER = "server, user memory, one more connection"


def test_a_slope_that_differs_has_its_ratio() -> None:
    first, second = row([record("a"), record("b", 2000)], SERVER).cells
    assert first is not None
    assert second is not None
    assert (first.ratio, first.significant) == (None, None)
    assert second.ratio == pytest.approx(2, abs=0.02)
    assert second.significant is None
    assert second.low is not None
    assert second.low <= 2000 <= (second.high or 0)


def test_a_difference_within_the_noise_is_not_significant() -> None:
    pair = [record("a", noise=2e6), record("b", 1010, noise=2e6, seed=2)]
    cell = row(pair, SERVER).cells[1]
    assert cell is not None
    assert cell.significant is False
    assert "not significant" in render(compared(pair))


def test_one_run_a_side_is_said_to_tell_nothing_of_the_scatter() -> None:
    lines = render(compared([record("a"), record("b", 2000)])).splitlines()
    (code,) = [line for line in lines if line.startswith("code of the server")]
    assert code.endswith("x1.00")
    assert " ".join(lines[-3:]) == ONE_RUN


@pytest.mark.parametrize("slopes", [(1000, -500), (-500, 1000)])
def test_a_figure_that_is_not_above_zero_has_no_ratio(slopes: tuple[float, float]) -> None:
    first, second = (record(name, slope) for name, slope in zip("ab", slopes, strict=True))
    cell = row([first, second], SERVER).cells[1]
    assert cell is not None
    assert cell.ratio is None
    assert cell.significant is None


def test_a_run_differs_from_itself_in_nothing() -> None:
    table = compared([record("a"), record("a")]).table
    for found in table.rows:
        cell = found.cells[1]
        assert cell is not None
        assert cell.ratio == (1 if cell.value > 0 else None)
        assert cell.significant in (False, None)


def test_what_is_compared() -> None:
    table = compared([record("a"), record("b", rate=2000)]).table
    names = {row.name: row for row in table.rows}
    opened, deliveries, cpu = names["opened"], names["deliveries"], names["server CPU for 1,000 deliveries"]
    for found, value, ratio in ((opened, 1000, 2), (deliveries, 5000, 1), (cpu, 0.01, 1)):
        first, second = found.cells
        assert first is not None
        assert second is not None
        assert first.value == pytest.approx(value, rel=0.02)
        assert second.ratio == pytest.approx(ratio, rel=0.02)


def test_times_to_open_and_lifetimes_are_single_figures_and_missing_from_older_records() -> None:
    told = msgspec.to_builtins(summary(**troubled()))
    new = record_of(samples(1000), Path("new"), host=HOST, summary=told)
    found = {row.name: row for row in compared([new, new, record("old")]).table.rows}
    assert found["connect, 50%"].cells == [Cell(0.012, [0.012]), Cell(0.012, [0.012], ratio=1.0), None]
    assert found["open, 99%"].cells[0] == Cell(30.7, [30.7])
    assert found["closed early, since open, 50%"].cells[0] == Cell(60.1, [60.1])
    assert found["closed early, since the last byte, 99%"].cells[0] == Cell(60.3, [60.3])
    assert "first byte, 50%" not in found
    assert "closed early, since open, 50%, s" in render(compared([new, new]))


def delivering(*rates: float, per_second: float | None = 300.0) -> Record:
    """A run with messages, so many of them in each second of their stage."""
    last = samples(1000)[20]
    counts = np.cumsum([0, *rates]).astype(int).tolist()
    rows = [
        msgspec.structs.replace(last, time=20.0 + at, stage="messages", messages=count)
        for at, count in enumerate(counts)
    ]
    found = summary(messages=messages(per_second=per_second))
    return record_of([*samples(1000)[:21], *rows], Path("a"), host=HOST, summary=msgspec.to_builtins(found))


def deliveries(record: Record) -> Cell:
    cell = row([record, record], "deliveries").cells[0]
    assert cell is not None
    return cell


def test_the_opening_rate_is_the_run_s_own_with_the_interval_of_equal_parts() -> None:
    early, late = np.arange(0, 1, 0.1), np.arange(1, 11, 1.0)
    opened = np.concatenate([40_000 * early, 40_000 + 20_000 * (late - 1)])
    rows = [
        sample(time=at, stage="ramp", open=int(count))
        for at, count in zip(np.concatenate([early, late]).tolist(), opened, strict=True)
    ]
    found = figures(findings_of([start(time=0.0), *rows]))["opened"][1]
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(220_000 / 10)
    assert 0 <= found.low < found.value < found.high < 2 * found.value
    run = summary(ramp=Ramp(10.0, 21_990.0))
    told = figures(findings_of(rows, summary=msgspec.to_builtins(run)))["opened"][1]
    assert isinstance(told, Estimate)
    assert told.value == 21_990.0


def test_a_rate_that_falls_throughout_is_uncertain_by_no_more_than_it_fell() -> None:
    def falling(rate: float) -> Record:
        at = np.arange(0.0, 21.0)
        opened = rate * (at - at**2 / 80)
        return record_of([sample(time=t, stage="ramp", open=int(o)) for t, o in zip(at.tolist(), opened, strict=True)])

    slow, fast = (figures(read_findings(falling(rate)))["opened"][1] for rate in (1000, 5000))
    assert isinstance(slow, Estimate)
    assert isinstance(fast, Estimate)
    assert 500 < slow.low < slow.value < slow.high < 1000
    assert fast.differs_from(slow)


@pytest.mark.parametrize("count", [0, 1])
def test_a_ramp_without_samples_to_compare_has_the_rate_of_its_summary(count: int) -> None:
    rows = [sample(time=1.0, stage="ramp")] * count
    run = msgspec.to_builtins(summary(ramp=Ramp(0.5, 2000.0)))
    assert figures(findings_of([start(), *rows], summary=run))["opened"][1] == 2000.0
    assert figures(findings_of([start(), *rows]))["opened"][1] is None


def test_deliveries_are_the_run_s_own_figure_with_the_spread_of_whole_intervals() -> None:
    cell = deliveries(delivering(0, 0, 70, 300, 310, 290, 300, 300, 40, 0, 0))
    assert cell.value == 300
    assert cell.low is not None
    assert 285 < cell.low < 300 < (cell.high or 0) < 315


def test_an_interval_without_deliveries_among_others_counts() -> None:
    steady, halting = (deliveries(delivering(50, 300, 310, *pause, 290, 300, 310, 50)) for pause in ((300,), (0,)))
    assert steady.low is not None
    assert halting.low is not None
    assert 300 - halting.low > 5 * (300 - steady.low)


@pytest.mark.parametrize("rates", [(), (0, 0), (300,), (0, 300, 0), (300, 300, 300), (10, 300, 300, 300, 300, 20)])
def test_deliveries_without_a_spread_are_a_single_figure(rates: tuple[float, ...]) -> None:
    assert deliveries(delivering(*rates)) == Cell(300.0, [300.0])


def test_messages_that_did_not_arrive_have_no_rate() -> None:
    found = delivering(0, 0, per_second=None)
    assert "deliveries" not in {row.name for row in compared([found, found]).table.rows}


def test_deliveries_of_ticks_are_the_median_tick_s() -> None:
    ticks = [Tick(at, 1000, 1000, 1.0, rate) for at, rate in enumerate((1000.0, 1010.0, 10.0, 1020.0), 1)]
    found = record_of(samples(1000)[:21], Path("a"), host=HOST, summary=msgspec.to_builtins(summary(ticks=ticks)))
    assert deliveries(found).value == 1005


@pytest.mark.parametrize(("has_messages", "seconds"), [(True, 0.01), (False, 0.02)])
def test_the_cpu_of_deliveries_is_that_of_messages_and_else_of_ticks(has_messages: bool, seconds: float) -> None:
    *ramp, last = samples(1000)[:21]
    held = [sample(time=20.0 + at, received=last.received + at * 1000, server_cpu=1.25 + at * 0.02) for at in range(6)]
    after = [
        msgspec.structs.replace(one, received=held[-1].received + 9 * one.messages) for one in samples(1000)[21:]
    ]  # chunks that are no deliveries of messages
    rows = [*ramp, last, *held, *(after if has_messages else [])]
    found, _ = row([record_of(rows, host=HOST)] * 2, "server CPU for 1,000 deliveries").cells
    assert found is not None
    assert found.value == pytest.approx(seconds)


def test_figures_that_a_run_has_not_got_are_left_out() -> None:
    bare = record_of([start(), sample(**BEGUN)], Path("c"), host=HOST)
    table = compared([record("a"), bare]).table
    assert {row.name: row.cells[1] for row in table.rows}["deliveries"] is None
    assert "-" in render(compared([record("a"), bare])).split()
    only = compared([bare, bare]).table
    assert "deliveries" not in {row.name for row in only.rows}


def test_runs_of_other_hosts_are_refused_and_what_differs_is_named() -> None:
    pair = [record("a"), record("b", host={**HOST, "cores": 64})]
    with pytest.raises(Refused, match=r"cores is 2 in a and 64 in b.*--force"):
        compared(pair)
    assert compared(pair, force=True).table.differences == ["cores is 2 in a and 64 in b"]
    assert "not alike: cores is 2 in a and 64 in b" in render(compared(pair, force=True))


def test_latencies_of_two_kinds_are_not_alike() -> None:
    def told(name: str, **options: Any) -> Record:
        return record_of(samples(1000), Path(name), host=HOST, options=options)

    by_plan, by_server, none = told("a", messages={"rate": 5}), told("b", latency="(?P<s>.)"), told("c")
    (said,) = differences([by_plan, by_server])
    assert said == "latency is from the planned time in a and by the time in the server's messages in b"
    assert differences([by_plan, none, by_plan]) == differences([by_server, none]) == []


def test_who_could_read_slabinfo_makes_no_other_host() -> None:
    assert differences([record("a"), record("b", host={**HOST, "slabinfo": False})]) == []


def test_runs_of_other_formats_are_refused() -> None:
    older = record_of(samples(1000), Path("old"), format=0, host=HOST)
    with pytest.raises(Refused, match="format is 1 in a and 0 in old"):
        compared([record("a"), older])


@pytest.mark.parametrize("count", [0, 1])
def test_one_run_is_no_comparison(count: int) -> None:
    with pytest.raises(UsageError, match="two runs or more"):
        compared([record("a")] * count)


def test_many_runs_have_labels() -> None:
    assert labels(28)[24:] == ["Y", "Z", "27", "28"]


def test_the_table_is_aligned() -> None:
    lines = render(compared([record("a"), record("b", 2000), record("c", 3000)])).splitlines()
    table = lines[lines.index("") + 1 :]
    table = table[: table.index("")]
    assert len({len(line) for line in table}) == 1
    assert "x3.00" in "\n".join(table)


def test_a_command_can_not_steer_the_terminal() -> None:
    steering = "\x1b[2J evil\nline"
    hostile = record_of(samples(1000), Path(steering), host={**HOST, steering: steering}, command=steering)
    assert "\x1b" not in render(compared([record("a"), hostile], force=True))
    with pytest.raises(Refused, match="not alike") as caught:
        compared([record("a"), hostile])
    assert "\x1b" not in str(caught.value)


def test_the_page_has_every_run_in_each_picture_and_escapes_all(tmp_path: Path) -> None:
    hostile = record_of(samples(1000), Path("<b>"), host={**HOST, "system": HOSTILE}, command=HOSTILE)
    path = write_page(compared([record("a"), record("b", 2000), hostile], force=True), tmp_path)
    page = read(path)
    assert ONE_RUN in "".join(page.text)
    assert not {"script", "b"} & set(page.elements)
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.elements.count("img") == 4  # no latency file in these
    assert (tmp_path / "plots/compare-server-memory.svg").exists()
    assert (tmp_path / "plots/compare-server-memory.png").exists()


def test_memory_that_came_out_negative_is_in_the_picture() -> None:
    whole = record("a")
    lower = [msgspec.structs.replace(one, server_private=(one.server_private or 0) - 35 * MIB) for one in whole.samples]
    _, _, draw, finish = PLOTS[0]
    bottoms = []
    for runs in ([whole, whole], [whole, replace(whole, samples=lower)]):
        chart = overlaid(compared(runs), draw, finish)
        assert chart is not None
        bottoms.append(chart.panels[0].get_ylim()[0])
    assert bottoms[0] == 0
    assert bottoms[1] < -5


# -- groups ----------------------------------------------------------------------------------------------------------


def group(name: str, *slopes: float, noise: float = 2000.0, **changes: Any) -> list[Record]:
    return [record(f"{name}-{at}", slope, noise=noise, seed=at, **changes) for at, slope in enumerate(slopes, 1)]


def cells(groups: list[list[Record]], name: str = SERVER) -> list[Cell | None]:
    (found,) = [row for row in compare(groups).table.rows if row.name == name]
    return found.cells


def test_the_scatter_between_runs_decides_what_is_significant() -> None:
    base = group("a", 1000, 1100, 1050)
    for slopes, significant in (((1090, 1010, 1150), False), ((1490, 1400, 1450), True)):
        first, second = cells([base, group("b", *slopes)])
        assert first is not None
        assert second is not None
        assert first.values == pytest.approx([1000, 1100, 1050], rel=0.01)
        assert first.value == pytest.approx(1050, rel=0.01)
        assert second.ratio == pytest.approx(sum(slopes) / 3150, rel=0.01)
        assert second.ratio_low is not None
        assert second.ratio_high is not None
        assert (second.ratio_low <= 1 <= second.ratio_high) is not significant
        assert second.significant is significant


@pytest.mark.parametrize("counts", [(1, 1), (1, 3), (3, 1)])
def test_nothing_is_called_significant_with_one_run_a_side(counts: tuple[int, int]) -> None:
    groups = [group(name, *([slope] * count)) for name, slope, count in zip("ab", (1000, 5000), counts, strict=True)]
    table = compare(groups).table
    assert table.without_scatter == [label for label, count in zip("AB", counts, strict=True) if count == 1]
    assert all(cell is None or cell.significant is not True for row in table.rows for cell in row.cells)
    assert " ".join(render(compare(groups)).splitlines()[-3:]) == ONE_RUN


NO_DIFFERENCE = "no difference of it is called significant."


def test_among_groups_of_several_runs_one_of_a_single_run_is_named() -> None:
    groups = [group(name, *([slope] * count)) for name, slope, count in (("a", 900, 3), ("b", 5000, 3), ("c", 9000, 1))]
    told = compare(groups)
    (found,) = [row for row in told.table.rows if row.name == SERVER]
    assert [cell.significant for cell in found.cells[1:] if cell is not None] == [True, None]
    said = " ".join(render(told).splitlines())
    assert said.endswith("C has one run only, which can't tell the scatter between runs: " + NO_DIFFERENCE)
    assert ONE_RUN not in said


SHARE = client_share(
    shared=0, read_ms=Latency(10.0, 11.0, 20.0, 50.0, 60.0), arrival_ms=Latency(9.5, 10.5, 5.0, 4.0, 5.0)
)


def test_latency_at_arrival_is_compared_and_the_client_s_own_is_shown_beside_it() -> None:
    found = record("a")
    told = {**found.run, "summary": {**found.run["summary"], "client_share": msgspec.to_builtins(SHARE)}}
    runs = [replace(found, folder=Path(name), run=told) for name in ("a", "b")]
    rows = {row.name: row.cells for row in compared([record("c"), *runs]).table.rows}
    assert [None if cell is None else cell.value for cell in rows["latency at arrival, 99%"]] == [None, 5.0, 5.0]
    assert [None if cell is None else cell.value for cell in rows["latency, client's own, 99%"]] == [None, 15.0, 15.0]
    rows = {row.name: row.cells for row in compared(runs).table.rows}
    assert [None if cell is None else cell.ratio for cell in rows["latency at arrival, 50%"]] == [None, 1.0]
    assert [None if cell is None else cell.ratio for cell in rows["latency, client's own, 50%"]] == [None, None]
    own = "Over a tenth of a percentile of the latency is the client's own in a and b"
    said = f"{own}: compare the latency at arrival instead."
    assert said in compared(runs).table.remarks
    assert not [remark for remark in compared([record("c"), record("d")]).table.remarks if "own" in remark]


def of_size(name: str, size: int, server: float) -> Record:
    """A run that had so many connections open at once."""
    told = msgspec.to_builtins(summary(connections=connections(planned=size, opened=size, peak_open=size)))
    rows = samples(server, noise=100, rate=size // 20)
    return record_of(rows, Path(name), host=HOST, summary=told, options={"target": None})


RECORDED = Path(__file__).parent / "records"
"""Runs against our own server: record_3000 and record_3000_again are of one command, record_1500 of half as many."""


def test_one_command_that_was_run_twice_differs_in_nothing() -> None:
    table = compared([load(RECORDED / name) for name in ("record_3000", "record_3000_again")]).table
    assert table.remarks == []
    verdicts = {row.name: row.cells[1].significant for row in table.rows if row.cells[1] is not None}
    assert len(verdicts) > 6
    assert True not in verdicts.values()


def test_recorded_runs_of_two_sizes_have_no_ratio_of_what_each_took() -> None:
    table = compared([load(RECORDED / name) for name in ("record_1500", "record_3000")]).table
    assert table.remarks[0].startswith("Connections open at once: A 1,500, B 3,000.")
    each = [row.cells[1] for row in table.rows if row.name.endswith("all of it, each")]
    assert len(each) == 3
    assert all(cell is not None and cell.ratio is None for cell in each)


def test_other_sizes_are_named_and_what_depends_on_them_is_not_divided() -> None:
    comparison = compared([of_size("a", 2000, 1000), of_size("b", 4000, 1000), of_size("c", 2020, 1000)])
    (said,) = comparison.table.remarks
    assert said.startswith("Connections open at once: A 2,000, B 4,000, C 2,020. ")
    for row in comparison.table.rows:
        _, larger, alike = row.cells
        assert larger is not None
        assert alike is not None
        is_of_any_size = row.name.endswith("one more connection") or row.unit == "lines"
        assert (larger.ratio is not None) == (is_of_any_size and larger.value > 0), row.name
        assert (alike.ratio is not None) == (alike.value > 0)
    assert "Connections open at once" in render(comparison)


def test_a_group_whose_runs_are_of_other_sizes_is_divided_by_none() -> None:
    mixed = [of_size("a", 2000, 1000), of_size("b", 4000, 1000)]
    table = compare([mixed, [of_size("c", 2000, 1000)]]).table
    assert table.remarks[0].startswith("Connections open at once: A 2,000 to 4,000, B 2,000.")
    (each,) = [row for row in table.rows if row.name == "server, user memory, all of it, each"]
    assert each.cells[1] is not None
    assert each.cells[1].ratio is None


def test_runs_that_fell_short_or_have_no_end_are_named() -> None:
    short = record_of(samples(1000), Path("s"), host=HOST, summary=msgspec.to_builtins(summary(outcome="shortfall")))
    killed = record_of(samples(1000), Path("k"), host=HOST)
    remarks = compared([record("a"), short, killed], force=True).table.remarks
    assert [one for one in remarks if "ended" in one or "summary" in one] == [
        "s ended as shortfall.",
        "k has no summary.",
    ]


def test_a_run_is_no_repetition_of_itself() -> None:
    with pytest.raises(UsageError, match=r"a-1 is named twice in one group"):
        compare([group("a", 1000) * 2, group("b", 1000, 1001)])


def test_a_figure_that_some_runs_lack_says_of_how_many_it_is() -> None:
    bare = record_of([start(), sample(**BEGUN)], Path("c"), host=HOST)
    comparison = compare([[*group("a", 1000, 1010), bare], group("b", 1000, 1010, 1020)], force=True)
    (line,) = [line for line in render(comparison).splitlines() if line.startswith(SERVER)]
    assert ", 2 of 3 runs" in line


def test_a_table_of_groups_has_medians_with_the_least_and_the_most() -> None:
    shown = render(compare([group("a", 1000, 1100, 1050), group("b", 2000, 2100, 2200)]))
    head = next(line for line in shown.splitlines() if "A, 3 runs" in line)
    assert head.split("   ")[-1].strip() == "B to A"
    (line,) = [line for line in shown.splitlines() if line.startswith(SERVER)]
    assert re.search(
        r"1\.02 KiB \(1,000 B to 1\.07 KiB\) +2\.05 KiB \(1\.95 to 2\.15\) +x2\.00, significant \(\S+ to \S+\)$", line
    )
    assert " ".join(shown.splitlines()[-3:]) == BY_SCATTER


def test_handshakes_of_tls_are_compared() -> None:
    tls = Tls(
        handshakes=200, resumed=50, ciphers={}, kept=0, cpu_seconds=0.1, tickets=0, key_updates=0, is_verified=True
    )
    server = ServerTls(handshakes=100, resumed=0, kept=0, cpu_seconds=0.1, tickets=0, key_updates=0, late=0, ends={})
    times = Percentiles(1.0, 2.0, 3.0, 4.0)
    told = summary(tls=tls, server_tls=server, timing=Timing(None, times, times, tls_ms=times))
    found = figures(findings_of([start(), sample()], summary=msgspec.to_builtins(told)))
    assert found["client CPU for a handshake of TLS"] == ("ms", 0.5)
    assert found["server CPU for a handshake of TLS"] == ("ms", 1.0)
    assert found["handshakes of TLS resumed"] == ("%", 25.0)
    assert [found[f"handshake of TLS over, {share}"] for share in ("50%", "99%")] == [("ms", 1.0), ("ms", 3.0)]
    without = figures(findings_of([start(), sample()], summary=msgspec.to_builtins(summary())))
    assert {unit for name, (_, unit) in without.items() if "handshake" in name} == {None}


def test_a_series_shows_its_main_figures() -> None:
    shown = render_series(tabulate([group("a", 1000, 1100, 1050)], []))
    assert shown.startswith("3 runs: a-1, a-2, a-3\n")
    assert re.search(rf"^{SERVER} +1\.02 KiB \(1,000 B to 1\.07 KiB\)$", shown, re.MULTILINE)
    assert "code of the server" not in shown


def test_the_page_of_groups_has_a_picture_of_their_scatter(tmp_path: Path) -> None:
    groups = [group("a", 1000, 1100, 1050), group("b", 2000, 2100, 2200)]
    page = read(write_page(compare(groups), tmp_path))
    assert page.elements.count("img") == 5
    assert (tmp_path / "plots/compare-scatter.svg").exists()
    assert BY_SCATTER in "".join(page.text)


# -- lines of code ---------------------------------------------------------------------------------------------------


def test_code_is_counted_without_blank_lines_comments_and_docstrings(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "front.py").write_text(
        '"""Words.\n\nMore."""\n\nimport os\nfrom package import a\nfrom package.b import c\n\n# why\nx = 1\n'
    )
    (package / "a.py").write_text("from package import front\ny = 2\n")
    (package / "b.py").write_text("c = 3\n")
    (package / "other.py").write_text("z = 4\n")
    found = sources(package, "front", "package")
    assert [path.name for path in found] == ["a.py", "b.py", "front.py"]
    assert count(found) == 4 + 2 + 1


def test_our_server_has_lines_and_one_that_is_not_ours_has_none() -> None:
    ours = lines_of_code(record("a"))
    assert ours is not None
    assert ours > 300
    assert lines_of_code(record("a", target="http://127.0.0.1:1/{user}")) is None
    for strange in ("of another time", "x" * 5000, "../fronts/columns", "\0"):
        assert lines_of_code(record("a", server_model=strange)) is None


def test_the_code_counted_is_that_of_the_model_the_run_was_against(tmp_path: Path) -> None:
    counted = []
    for model in SERVER_MODELS:
        writer = RecordWriter(tmp_path, model)
        writer.write_run({"options": RunOptions(PLAN, server_model=model).recorded(), "summary": None})
        writer.close()
        counted.append(lines_of_code(load(writer.folder)))
    server = Path(str(importlib.resources.files("floodtest.server_under_test")))
    assert counted == [count(sources(server, f"fronts.{model}")) for model in SERVER_MODELS]
    assert counted[0] != counted[1]


def test_a_record_that_has_no_such_option_is_of_the_model_its_summary_names() -> None:
    of_tasks, of_columns = (
        record_of([], options={"target": None}, summary=msgspec.to_builtins(summary(**models)))
        for models in ({"models": Models(server="tasks")}, {})
    )
    assert lines_of_code(of_tasks) != lines_of_code(of_columns) == lines_of_code(record("a"))


# -- the command -----------------------------------------------------------------------------------------------------


def written(folder: Path, name: str, slope: float, is_numbered: bool = False, **host: Any) -> str:
    writer = RecordWriter(folder, name, is_numbered)
    found, options = msgspec.to_builtins(summary()), {"target": None, "name": name}
    writer.write_run({"command": "c", "summary": found, "host": {**HOST, **host}, "options": options})
    for line in samples(slope):
        writer.write_sample(line)
    writer.close()
    return str(writer.folder)


def test_json_has_every_figure(tmp_path: Path) -> None:
    done = run_here("floodtest", "compare", written(tmp_path, "a", 1000), written(tmp_path, "b", 2000), "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    rows = {row["name"]: row for row in table["rows"]}
    assert [Path(folder).name for group in table["groups"] for folder in group["runs"]] == ["a", "b"]
    assert msgspec.convert(rows[SERVER]["cells"][1], Cell).ratio == pytest.approx(2, abs=0.02)


def test_a_page_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    runs = [written(tmp_path, name, 1000) for name in ("a", "b")]
    done = run_here("floodtest", "compare", *runs, "--html", str(tmp_path / "page"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == str(tmp_path / "page/compare.html")
    assert (tmp_path / "page/compare.html").exists()
    assert "one more connection" in done.stdout


@pytest.mark.parametrize(
    ("host", "arguments", "code", "words"),
    [
        ({}, [], 0, ""),
        ({"cores": 9}, [], 3, "cores is 2 in"),
        ({"cores": 9}, ["--force"], 0, ""),
        ({}, ["missing"], 3, "There is no folder missing."),
    ],
)
def test_what_may_be_compared(
    host: dict[str, Any], arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    runs = [written(tmp_path, "a", 1000), written(tmp_path, "b", 1000, **host)]
    done = run_here("floodtest", "compare", *runs, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == (code > 0)


def test_groups_are_named_by_their_runs_or_by_their_name(tmp_path: Path) -> None:
    for name, slopes in (("a", (1000, 1100, 1050)), ("b", (2000, 2100, 2200))):
        for slope in slopes:
            written(tmp_path, name, slope, is_numbered=True)
    (tmp_path / "other").mkdir()
    by_hand = run_here(
        "floodtest", "compare", *["a-1", "a-2", "a-3", "vs", "b-1", "b-2", "b-3", "--json"], cwd=tmp_path
    )
    by_name = run_here("floodtest", "compare", "--name", "a", "--name", "b", "--runs", ".", "--json", cwd=tmp_path)
    assert by_hand.returncode == 0, by_hand.stderr
    assert by_hand.stdout == by_name.stdout
    table = msgspec.json.decode(by_name.stdout, type=Table)
    assert [(one.label, one.name, one.runs) for one in table.groups] == [
        (label, name, [f"{name}-{at}" for at in (1, 2, 3)]) for label, name in (("A", "a"), ("B", "b"))
    ]
    (found,) = [row for row in table.rows if row.name == SERVER]
    assert found.cells[1] is not None
    assert found.cells[1].significant is True


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a", "vs"), 2, "A group before or behind vs has no runs."),
        (("--name", "none", "--name", "a"), 3, "No run record in runs has the name none."),
        ((), 2, "A comparison takes two runs or more."),
    ],
)
def test_groups_that_are_none(arguments: tuple[str, ...], code: int, words: str, tmp_path: Path) -> None:
    written(tmp_path, "a", 1000)
    done = run_here("floodtest", "compare", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr


def test_one_run_is_a_usage_error(tmp_path: Path) -> None:
    assert run_here("floodtest", "compare", written(tmp_path, "a", 1000)).returncode == 2
