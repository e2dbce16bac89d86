"""Records of several hosts as one: samples and buckets are added up, and pages take the whole like any other record."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.analysis import (
    LatencyCounts,
    Record,
    RecordWriter,
    Sample,
    hosts_of,
    load,
    merge_records,
    percentiles,
    read_findings,
)
from floodtest.analysis.figures.compare import compare
from floodtest.analysis.figures.doubts import doubts
from floodtest.analysis.figures.host_doubts import doubts_of_hosts
from floodtest.analysis.figures.merged_summary import HOST_LOST, merged_summary
from floodtest.analysis.pages.host_tables import table_of_hosts
from floodtest.analysis.pages.report import write_report
from floodtest.analysis.record.hosts import HostClock, HostFacts, clock_of, samples_at_server
from floodtest.analysis.record.merging import Track, merged_latency, merged_samples
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Latency, Models, Server, ServerProcess, Summary
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.clock_offset import Offset, Offsets
from tests.rigs.figures import EACH, MIB, connections, messages, sample, start, summary
from tests.rigs.support import run_here

STATES = ("not_reached", "in_flight", "open", "failed", "closed_early")


def planned(row: Sample) -> int:
    return sum(getattr(row, name) for name in STATES)


def ramp_of(count: int, interval: float = 1.0, late: float = 0.0, **changes: Any) -> list[Sample]:
    """Samples of a host that opens 1,000 connections within so many intervals, and holds them for three."""
    rows = [start(time=late)]
    for step in range(count + 1):
        opened = EACH * step // count
        rows.append(
            sample(time=late + 0.01 + step * interval, stage="ramp", open=opened, not_reached=EACH - opened, **changes)
        )
    end = rows[-1].time
    return [*rows, *(sample(time=end + 0.01 + step * interval, **changes) for step in range(4))]


# -- samples ---------------------------------------------------------------------------------------------------------


def test_counts_bytes_and_cpu_of_hosts_are_added_up() -> None:
    one, two = sample(time=1.0, latency_p99=3.0, swapped=None), sample(time=1.2, latency_p99=5.0, server_private=None)
    (row,) = merged_samples([Track([one]), Track([two], 0.5)])
    assert (row.time, row.open, row.client_private, row.client_cpu) == (1.7, 2 * EACH, 20 * MIB, 1.5)
    assert (row.mem_available, row.swapped, row.slab_tcp) == (4000 * MIB, None, None)
    assert (row.latency_p50, row.latency_p99) == (None, 5.0)


def test_the_server_is_one_and_measured_by_one_host() -> None:
    one, two, three = (sample(server_private=private) for private in (None, 7, 9))
    (row,) = merged_samples([Track([one]), Track([two]), Track([three])])
    assert (row.server_private, row.server_cpu) == (7, 1.25)


def test_there_is_a_sample_whenever_each_host_has_brought_another() -> None:
    slow, quick = [sample(time=float(at)) for at in range(5)], [sample(time=at / 4) for at in range(17)]
    rows = merged_samples([Track(slow), Track(quick)])
    assert [row.time for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_of_samples_that_are_passed_over_the_slowest_message_stays() -> None:
    quick = [sample(time=at / 4, latency_max=float(most)) for at, most in enumerate([1, 90, 2, 3, 4])]
    rows = merged_samples([Track([sample(time=0.0), sample(time=1.0, latency_max=7.0)]), Track(quick)])
    assert [row.latency_max for row in rows] == [1.0, 90.0]


def test_the_ends_of_stages_are_kept_and_the_whole_is_in_the_stage_of_the_last_host() -> None:
    one, two = ramp_of(4), ramp_of(6)
    rows = merged_samples([Track(one), Track(two)])
    stages = [row.stage for row in rows]
    assert stages == sorted(stages, key=[stage.value for stage in Stage].index)
    assert set(stages) == {"start", "ramp", "hold"}
    assert rows[0].open == 0
    assert max(row.open for row in rows if row.stage == "ramp") == 2 * EACH
    assert rows[-1].stage == "hold"


def test_connections_of_a_lost_host_have_ended_once_its_samples_have() -> None:
    lost = [start(time=0.0), sample(time=1.0, stage="ramp", open=600, in_flight=100, not_reached=300)]
    rows = merged_samples([Track(lost, is_lost=True), Track([start(time=0.0), *ramp_of(5)[1:]])])
    assert {planned(row) for row in rows} == {2 * EACH}
    last = rows[-1]
    assert (last.open, last.closed_early, last.failed, last.not_reached) == (EACH, 600, 100, 300)
    assert (last.stage, last.in_flight) == ("hold", 0)
    assert any(row.open >= 600 and row.closed_early == 0 for row in rows)


def test_a_host_that_ended_in_order_keeps_its_connections_and_one_without_samples_is_left_out() -> None:
    rows = merged_samples([Track(ramp_of(2)), Track(ramp_of(9)), Track([])])
    assert (rows[-1].open, rows[-1].closed_early) == (2 * EACH, 0)
    assert merged_samples([Track([])]) == []


@given(
    hosts=st.lists(
        st.tuples(st.integers(1, 9), st.floats(0.05, 3), st.floats(0, 5), st.booleans()), min_size=1, max_size=5
    )
)
def test_in_each_sample_of_the_whole_connections_are_accounted_for(hosts: list[tuple[int, float, float, bool]]) -> None:
    tracks = [Track(ramp_of(count, interval), late, lost) for count, interval, late, lost in hosts]
    rows = merged_samples(tracks)
    assert {planned(row) for row in rows} == {len(hosts) * EACH}
    times = [row.time for row in rows]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(max(track.began + track.samples[-1].time for track in tracks), abs=0.001)
    for name in ("open", "closed_early"):
        held = [row.open + row.closed_early for row in rows]
        assert held == sorted(held), name


# -- latencies -------------------------------------------------------------------------------------------------------


def test_percentiles_of_the_whole_are_those_of_added_buckets() -> None:
    quick = LatencyCounts(np.array([[1.0, 990, 995, 0, 0], [2.0, 10, 5, 0, 0]]))
    slow = LatencyCounts(np.array([[2.0, 3, 3, 1, 2], [80.0, 7, 7, 3, 2]]))
    added = merged_latency([quick, LatencyCounts(np.zeros((0, 5))), slow])
    assert added.rows.tolist() == [[1.0, 990, 995, 0, 0], [2.0, 13, 8, 1, 2], [80.0, 7, 7, 3, 2]]
    found = percentiles(added, np.array([0.5, 0.99, 1.0]))
    assert found is not None
    assert found.tolist() == [1.0, 2.0, 80.0]  # the mean of both 99% percentiles would be 41
    assert added.fault is None
    assert merged_latency([quick, LatencyCounts(slow.rows, "was cut off")]).fault == "was cut off"
    assert len(merged_latency([]).rows) == 0


# -- the record of the whole -----------------------------------------------------------------------------------------


def written(
    folder: Path, name: str, first_user: int, samples: list[Sample], told: Summary | None, **run: Any
) -> Record:
    """The record of a host's part."""
    writer = RecordWriter(folder, name)
    for row in samples:
        writer.write_sample(row)
    plan = {"ips": 1, "each": EACH, "connections": EACH, "first_user": first_user}
    writer.write_run(
        {
            "command": "floodtest run",
            "options": {"plan": plan, "interval": 1.0, "fail_if": ["opened < 1500"]},
            "host": {"cores": 4, "memory": 8 << 30, "system": "Linux"},
            "versions": {"floodtest": "0.1.0"},
            "prediction": {"client_user": 10 * MIB, "files_limit": 20_000, "kernel": {"TCP sockets": 5 * MIB}},
            "stages": [{"name": "start", "start": 0.0, "end": 1.0}, {"name": "ramp", "start": 1.0, "end": 5.0}],
            "summary": None if told is None else msgspec.to_builtins(told),
            **run,
        }
    )
    writer.write_latency([(1.0, 90, 95, 0, 0), (50.0, 10, 5, 0, 0)])
    writer.close()
    (writer.folder / "states.u8").write_bytes(bytes([2]) * EACH)
    (writer.folder / "ports.u16").write_bytes(bytes([4, 4]) * EACH)
    return load(writer.folder)


def told(**changes: Any) -> Summary:
    """The summary of a host that opened 1,000."""
    figures: dict[str, Any] = {
        "format": 2,
        "connections": connections(planned=EACH, opened=EACH, peak_open=EACH, attempts=EACH, opens=EACH),
        "received": EACH,
        "bytes": 152 * EACH,
        "messages": messages(
            planned=10, published=10, expected=100, received=100, latency_ms=Latency(1, 1, 50, 50, 50)
        ),
    }
    return summary(**{**figures, **changes})


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Record]:
    """Two hosts of one run; the second one's clock was 2.5 s late."""
    began = [{"began": {"monotonic": 50.0 + late, "realtime": 1e9 + late}} for late in (0.0, 2.5)]
    server = Server(addresses=["10.0.0.9:80"], processes=[ServerProcess(7, "nginx")], found="it listens", files=5000)
    unmeasured = {"server_private": None, "server_cpu": None}
    elsewhere = [msgspec.structs.replace(row, **unmeasured) for row in ramp_of(4)]
    ours = told(models=Models("columns", None), server=server)
    theirs = told(models=Models("columns", None), server=Server(addresses=["10.0.0.8:80"], processes=[], found="no"))
    return {
        "second": written(tmp_path / "in", "b", 1001, elsewhere, theirs, **began[1]),
        "first": written(tmp_path / "in", "a", 1, ramp_of(4), ours, **began[0]),
    }


@pytest.fixture
def whole(parts: dict[str, Record], tmp_path: Path) -> Record:
    return load(merge_records(parts, tmp_path / "out", "whole"))


def test_the_whole_reads_like_any_record(whole: Record, parts: dict[str, Record]) -> None:
    assert [row.time for row in whole.samples] == sorted(row.time for row in whole.samples)
    assert (whole.samples[-1].open, whole.samples[-1].stage) == (2 * EACH, "hold")
    assert (len(whole.read_states()), len(whole.read_ports())) == (2 * EACH, 2 * EACH)
    assert whole.read_latency().rows.tolist() == [[1.0, 180, 190, 0, 0], [50.0, 20, 10, 0, 0]]
    plan = whole.part("options")["plan"]
    assert (plan["connections"], plan["first_user"], plan["each"]) == (2 * EACH, 1, EACH)
    assert whole.part("host") == {"cores": 8, "memory": 16 << 30, "system": "Linux"}
    assert whole.part("prediction")["kernel"] == {"TCP sockets": 10 * MIB}
    assert whole.part("prediction")["files_limit"] == 20_000
    assert whole.run["stages"][1] == {"name": "ramp", "start": 1.0, "end": 7.5}


def test_the_hosts_of_the_whole_are_ordinary_records(whole: Record, parts: dict[str, Record]) -> None:
    hosts = hosts_of(whole)
    assert [host.name for host in hosts] == ["first", "second"]
    for host in hosts:
        assert host.record is not None
        assert host.record.folder == whole.folder / "hosts" / host.name
        assert (host.record.samples, host.record.run) == (parts[host.name].samples, parts[host.name].run)
    assert [host.facts for host in hosts] == [HostFacts(0.0, "realtime"), HostFacts(2.5, "realtime")]
    assert hosts_of(parts["first"]) == []


def test_the_summary_of_the_whole_is_that_of_all_hosts(whole: Record) -> None:
    found = whole.summary
    assert found is not None
    assert (found.outcome, found.reasons, found.received) == ("ok", [], 2 * EACH)
    c = found.connections
    assert (c.planned, c.opened, c.attempts, c.opens, c.not_reached) == (2 * EACH, 2 * EACH, 2 * EACH, 2 * EACH, 0)
    assert found.messages is not None
    assert (found.messages.received, found.messages.expected, found.messages.lost) == (200, 200, 0)
    assert found.messages.latency_ms == Latency(1.0, 1.0, 50.0, 50.0, 50.0)
    assert found.timing is None
    assert found.server is not None
    assert (found.server.addresses, found.server.processes[0].pid) == (["10.0.0.9:80", "10.0.0.8:80"], 7)
    assert found.memory.client_user_bytes_per_connection == pytest.approx(10 * MIB / EACH, rel=0.01)
    assert [(one.condition, one.value, one.failed) for one in found.thresholds] == [("opened < 1500", 2000, False)]


def test_each_field_of_a_summary_is_merged_or_known_to_have_no_sum() -> None:
    text = Path(inspect.getfile(merged_summary)).read_text()
    fields = {field.name for field in msgspec.structs.fields(Summary)}
    assert {name for name in fields if f"        {name}=" not in text} == {"thresholds", "timing", "lifetimes"}


def test_what_the_server_has_room_for_is_that_of_its_own_machine(whole: Record) -> None:
    hosts = hosts_of(whole)
    assert samples_at_server(hosts) == hosts[0].record.samples if hosts[0].record else None
    assert samples_at_server(hosts[1:]) == []


def test_a_shortfall_of_a_host_is_one_of_the_whole_and_names_the_host(parts: dict[str, Record], tmp_path: Path) -> None:
    short = told(outcome="shortfall", reasons=["3 connections failed: ECONNREFUSED@connect 3"])
    records = {**parts, "third": written(tmp_path / "in", "c", 2001, ramp_of(3), short)}
    found = load(merge_records(records, tmp_path / "out", "whole"))
    assert found.summary is not None
    assert (found.summary.outcome, found.summary.reasons) == ("shortfall", [f"third: {short.reasons[0]}"])
    assert hosts_of(found)[0].facts == HostFacts()  # the third does not say when it began
    assert "by their beginnings: nobody measured" in " ".join(doubts_of_hosts(hosts_of(found)))


def test_a_host_that_was_lost_is_named_and_its_connections_are_accounted_for(
    parts: dict[str, Record], tmp_path: Path
) -> None:
    rows = [start(time=0.0), sample(time=1.0, stage="ramp", open=500, in_flight=40, not_reached=450, failed=10)]
    records = {**parts, "third": written(tmp_path / "in", "c", 2001, rows, None)}
    found = load(merge_records(records, tmp_path / "out", "whole"))
    assert found.summary is not None
    c = found.summary.connections
    assert (c.planned, c.opened, c.not_reached) == (3 * EACH, 2 * EACH + 500, 450)
    assert (c.failed, c.closed_by) == ({f"{HOST_LOST}@host": 50}, {HOST_LOST: 500})
    assert c.planned == c.opened + sum(c.failed.values()) + c.not_reached
    assert found.summary.outcome == "shortfall"
    assert found.summary.reasons == ["third: it was lost: its record has no summary"]
    assert {cause.name for cause in found.summary.causes} == {HOST_LOST, f"{HOST_LOST}@host"}
    assert all(cause.what for cause in found.summary.causes)
    assert doubts_of_hosts(hosts_of(found))[0].startswith("The host third was lost: its record ends without a summary.")


def test_too_little_for_one_record_is_refused(parts: dict[str, Record], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="two records at the least"):
        merge_records({"first": parts["first"]}, tmp_path / "out", "whole")
    lost = {name: written(tmp_path / "in", name, 1, ramp_of(2), None) for name in ("c", "d")}
    with pytest.raises(Refused, match="one of them has a summary"):
        merge_records(lost, tmp_path / "out", "whole")
    assert not (tmp_path / "out").exists()


def test_a_whole_that_can_not_be_written_leaves_nothing_behind(parts: dict[str, Record], tmp_path: Path) -> None:
    inside = parts["first"].folder / "in"
    with pytest.raises(Refused, match="is within the record"):
        merge_records(parts, inside, "whole")
    assert not inside.exists()
    (parts["first"].folder / "gone").symlink_to(tmp_path / "nowhere")  # which can't be copied
    with pytest.raises(Refused, match="The record of the whole can't be written to"):
        merge_records(parts, tmp_path / "out", "whole")
    assert list((tmp_path / "out").iterdir()) == []


# -- clocks, doubts and pages ----------------------------------------------------------------------------------------


def measured(ahead_ns: int, bound_ns: int, at_s: float) -> Offsets:
    return Offsets(Offset(ahead_ns, bound_ns), Offset(0, bound_ns), 200, round(at_s * 1e9))


def test_a_clock_is_kept_with_the_bound_of_the_whole_run() -> None:
    start_of_run, end = measured(10**12, 5_000, 0), measured(10**12 + 2_000, 6_000, 60)
    assert clock_of(start_of_run, end) == HostClock(1000.0, 8.0, 2.0, 11.0)
    assert not clock_of(start_of_run, end).has_drifted
    assert clock_of(start_of_run, measured(10**12 - 30_000, 6_000, 60)).has_drifted
    assert clock_of(start_of_run, None) == HostClock(1000.0, 5.0)


def facts_of_clocks() -> dict[str, HostFacts]:
    drifted = HostClock(1000.0, 40.0, -30.0, 11.0)
    return {"first": HostFacts(0.0, "monotonic"), "second": HostFacts(0.0, "monotonic", drifted)}


def test_a_clock_that_has_drifted_is_a_doubt(parts: dict[str, Record], tmp_path: Path) -> None:
    found = load(merge_records(parts, tmp_path / "out", "whole", facts_of_clocks()))
    (doubt,) = doubts_of_hosts(hosts_of(found))
    assert doubt.startswith("The clock of second moved by -30.0 µs in the run")
    assert "off by up to 40.0 µs there" in doubt


def test_the_report_shows_each_host_and_its_clock(parts: dict[str, Record], tmp_path: Path) -> None:
    record = load(merge_records(parts, tmp_path / "out", "whole", facts_of_clocks()))
    table = table_of_hosts(hosts_of(record))
    assert table is not None
    rows = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    assert rows["first"]["opened"] == "1,000 of 1,000"
    assert (rows["first"]["clock"], rows["first"]["99%"]) == ("the run's", "50")
    assert rows["second"]["clock"] == "+1,000.000000 s ± 40.0 µs, moved by -30.0 µs"
    assert rows["second"]["client, user memory"] == "10 MiB"
    page = write_report(record).read_text()
    for words in ("The hosts", "first", "second", "1,000.000000 s", "The clock of second moved"):
        assert words in page
    assert table_of_hosts([]) is None


def test_doubts_name_hosts_that_can_not_be_read_and_ramps_that_begin_apart(whole: Record) -> None:
    (whole.folder / "hosts/first/samples.csv").unlink()
    found = doubts_of_hosts(hosts_of(whole))
    assert found[0].startswith("The host first is in no figure: ")
    assert "has no samples.csv" in found[0]
    table = table_of_hosts(hosts_of(whole))
    assert table is not None
    assert "can't be read" in next(row for row in table.rows if row[0] == "first")


def test_ramps_that_begin_apart_are_a_doubt(whole: Record) -> None:
    told = doubts_of_hosts(hosts_of(whole))
    assert any(
        doubt.startswith("The ramps of the hosts began up to 2.5 s apart, that of second last") for doubt in told
    )
    assert any("by CLOCK_REALTIME: nobody measured" in doubt for doubt in told)


def test_that_all_cores_were_busy_is_said_of_the_hosts(whole: Record) -> None:
    busy = [msgspec.structs.replace(row, machine_cpu=7.9 * row.time) for row in whole.samples]
    told = " ".join(doubts(read_findings(replace(whole, samples=busy))))
    assert "All 8 cores were busy for much of the run. The hosts that open connections are the limit then" in told


def test_the_whole_is_compared_like_any_other(whole: Record, parts: dict[str, Record], tmp_path: Path) -> None:
    again = load(merge_records(parts, tmp_path / "out", "again"))
    assert len(compare([[whole], [again]]).table.groups) == 2
    with pytest.raises(Refused, match=r"cores is 8 in .* and 4 in "):
        compare([[whole], [parts["first"]]])


def test_facts_that_make_no_sense_are_passed_over(whole: Record) -> None:
    run = json.loads((whole.folder / "run.json").read_text())
    run["hosts"] = {"first": {"began": "x"}, "gone": 7}
    (whole.folder / "run.json").write_text(json.dumps(run))
    hosts = {host.name: host for host in hosts_of(load(whole.folder))}
    assert hosts["first"].facts == HostFacts()
    assert hosts["gone"].record is None


# -- the command -----------------------------------------------------------------------------------------------------


def test_records_are_merged_by_command(parts: dict[str, Record], tmp_path: Path) -> None:
    one, two = (str(record.folder) for record in parts.values())
    done = run_here("floodtest", "merge", one, f"other={two}", "--out", str(tmp_path / "runs"), "--name", "all")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/runs/all\n", "")
    assert {host.name for host in hosts_of(load(tmp_path / "runs/all"))} == {"b", "other"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{one}"], 2, "two records at the least"),
        (["x={one}", "x={one}"], 2, "Two runs have a host of one name"),
        (["../x={one}", "{one}"], 2, "HOST takes a name"),
        (["{one}", "b={one}", "--name", "a/b"], 2, "--name takes a name"),
        (["{one}", "nowhere"], 3, "There is no folder nowhere"),
    ],
)
def test_what_makes_no_sense_is_told(
    arguments: list[str], code: int, words: str, parts: dict[str, Record], tmp_path: Path
) -> None:
    one = parts["first"].folder
    done = run_here("floodtest", "merge", *(argument.format(one=one) for argument in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
