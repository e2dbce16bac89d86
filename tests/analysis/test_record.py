"""analysis.record: what is written is read, however much of it was written; what is no record is named as such."""

import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.analysis import FORMAT, UNITS, RecordError, RecordWriter, Sample, load
from floodtest.analysis.record.samples import FIELDS
from floodtest.flyweight.errors import ExitCode, Refused, UsageError
from tests.rigs.figures import sample, start, summary

SAMPLES = [start(), sample(time=1.5, stage="ramp", open=400, slab_tcp=0), sample(server_private=None, server_cpu=None)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a whole record."""
    writer = RecordWriter(tmp_path / "runs", "one")
    writer.write_run({"command": "floodtest run", "summary": None})
    for row in SAMPLES:
        writer.write_sample(row)
    writer.close()
    return writer.folder


def test_what_was_written_is_read(folder: Path) -> None:
    record = load(folder)
    assert record.folder == folder
    assert record.run == {"format": FORMAT, "command": "floodtest run", "summary": None}
    assert record.samples == SAMPLES


def test_a_path_may_be_a_string(folder: Path) -> None:
    assert load(str(folder)).samples == SAMPLES


OPTIONAL = st.none() | st.integers(0, 2**62)


@given(
    time=st.floats(0, 1e9, allow_nan=False),
    stage=st.sampled_from(["start", "ramp", "hold", "close"]),
    figures=st.fixed_dictionaries({"server_private": OPTIONAL, "slab_tcp": OPTIONAL, "server_slow": OPTIONAL}),
    cpu=st.none() | st.floats(0, 1e9, allow_nan=False),
    count=st.integers(0, 2**62),
)
def test_a_sample_comes_back_to_the_last_digit(
    time: float,
    stage: str,
    figures: dict[str, int | None],
    cpu: float | None,
    count: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    written = sample(time=time, stage=stage, server_cpu=cpu, bytes=count, **figures)
    writer = RecordWriter(tmp_path_factory.mktemp("runs"), "one")
    writer.write_run({})
    writer.write_sample(written)
    writer.close()
    assert load(writer.folder).samples == [written]


def test_what_was_not_read_is_an_empty_field_and_not_a_number(folder: Path) -> None:
    record = load(folder)
    assert record.column("time").tolist() == [0.5, 1.5, 12.5]
    assert record.column("open").tolist() == [0, 400, 1000]
    private = record.column("server_private")
    assert private[:2].tolist() == [15 << 20, 20 << 20]
    assert math.isnan(private[2])
    slab = record.column("slab_tcp")
    assert [math.isnan(value) for value in slab] == [True, False, True]
    assert slab[1] == 0


def test_the_run_is_replaced_as_a_whole(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path, "one")
    for stage in ("start", "ramp"):
        writer.write_run({"stages": [stage] * 100})
        assert load(writer.folder).run["stages"] == [stage] * 100
    writer.close()
    assert sorted(path.name for path in writer.folder.iterdir()) == ["run.json", "samples.csv"]


def test_every_sample_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path, "one")
    writer.write_run({})
    assert load(writer.folder).samples == []
    for count, row in enumerate(SAMPLES, 1):
        writer.write_sample(row)
        assert load(writer.folder).samples == SAMPLES[:count]
    writer.close()


def test_a_record_that_was_cut_off_anywhere_reads_to_the_last_whole_sample(folder: Path) -> None:
    samples = folder / "samples.csv"
    data = samples.read_bytes()
    for length in range(len(data)):
        samples.write_bytes(data[:length])
        whole = max(0, data[:length].count(b"\n") - 1)
        assert load(folder).samples == SAMPLES[:whole]


BEGUN = ["server_begun", "client_begun", "mem_obtainable", "packets_dropped"]


@pytest.mark.parametrize(
    "later",
    [
        BEGUN[3:],
        BEGUN[2:],
        BEGUN,
        ["polls", *BEGUN],
        ["misdelivered", "polls", *BEGUN],
        ["jumps", "pings", "misdelivered", "polls", *BEGUN],
    ],
)
def test_samples_from_before_a_later_field_are_read(folder: Path, later: list[str]) -> None:
    samples = folder / "samples.csv"
    rows = [line.rsplit(",", len(later)) for line in samples.read_text().splitlines()]
    assert rows[0][1:] == later
    samples.write_text("\n".join(before for before, *_ in rows) + "\n")
    assert load(folder).samples == SAMPLES


def test_a_record_of_format_1_is_read_under_the_names_of_now(folder: Path) -> None:
    samples, run = folder / "samples.csv", folder / "run.json"
    names, rows = samples.read_text().split("\n", 1)
    assert ",received," in names
    samples.write_text(names.replace(",received,", ",chunks,") + "\n" + rows)
    before = msgspec.to_builtins(summary())
    before["chunks"] = before.pop("received")
    run.write_text(json.dumps({"format": 1, "summary": before}))
    record = load(folder)
    assert (record.samples, record.summary_fault, record.summary) == (SAMPLES, None, summary())


def test_columns_of_connections(folder: Path) -> None:
    (folder / "states.u8").write_bytes(bytes([2, 2, 3, 0]))
    (folder / "ports.u16").write_bytes(bytes([0, 4, 1, 4, 0xFF, 0xFF, 0, 0]))
    record = load(folder)
    assert record.read_states().tolist() == [2, 2, 3, 0]
    assert record.read_ports().tolist() == [1024, 1025, 65_535, 0]
    assert record.read_ports().dtype == np.uint16


# -- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_typed_and_have_units(folder: Path) -> None:
    columns = load(folder).columns()
    assert list(columns) == list(FIELDS)
    assert set(UNITS) == set(FIELDS)
    assert columns["open"].dtype == np.int64
    assert columns["open"].tolist() == [0, 400, 1000]
    assert columns["server_private"].dtype == np.float64
    assert columns["time"].dtype == np.float64
    assert columns["stage"].tolist() == ["start", "ramp", "hold"]
    assert (UNITS["server_private"], UNITS["time"], UNITS["open"]) == ("bytes", "seconds", "count")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_made_by_the_library_that_was_named(
    library: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, types.SimpleNamespace(DataFrame=dict))
    assert load(folder).frame(library)["open"].tolist() == [0, 400, 1000]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Refused, match=f"pip install {library}"):
        load(folder).frame(library)


def test_a_frame_of_another_library_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="pandas or polars"):
        load(folder).frame("spark")


def test_the_summary_is_typed(folder: Path) -> None:
    assert load(folder).summary is None
    found = summary()
    (folder / "run.json").write_text(json.dumps({"format": FORMAT, "summary": msgspec.to_builtins(found)}))
    assert load(folder).summary == found


def test_a_summary_from_before_later_fields_is_understood(folder: Path) -> None:
    older = msgspec.to_builtins(summary())
    for name in ("network", "models", "messages", "thresholds", "jumps"):
        del older[name]
    for name in ("server_fixed_bytes", "client_fixed_bytes", "measured_bytes", "predicted_bytes"):
        del older["memory"][name]
    for name in ("attempts", "opens"):
        del older["connections"][name]
    (folder / "run.json").write_text(json.dumps({"format": FORMAT, "summary": older}))
    record = load(folder)
    assert record.summary is not None
    assert record.summary_fault is None
    assert (record.summary.network.kind, record.summary.memory.measured_bytes) == ("host", None)
    assert (record.summary.connections.attempts, record.summary.connections.opens) == (None, None)


def test_a_summary_that_can_not_be_understood_is_none_with_a_word_why(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"format": FORMAT, "summary": {"format": 1}}))
    assert load(folder).summary is None
    assert "missing required field" in (load(folder).summary_fault or "")


# -- other formats ---------------------------------------------------------------------------------------------------


def test_a_newer_record_is_refused_with_a_remedy(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(RecordError, match="newer"):
        load(folder)


def test_fields_that_are_not_known_are_passed_over(folder: Path) -> None:
    samples = folder / "samples.csv"
    head, *rows = samples.read_text().splitlines()
    samples.write_text("\n".join([f"novelty,{head}", *(f"17,{row}" for row in rows)]) + "\n")
    assert load(folder).samples == SAMPLES


def test_optional_fields_that_an_older_record_has_not_got_are_unknown(folder: Path) -> None:
    samples = folder / "samples.csv"
    kept = FIELDS.index("slab_tcp")
    samples.write_text("".join(",".join(line.split(",")[:kept]) + "\n" for line in samples.read_text().splitlines()))
    assert load(folder).samples[0] == SAMPLES[0]
    assert load(folder).samples[1].slab_tcp is None


# -- what is no record -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["run.json", "samples.csv"])
def test_a_folder_without_its_files_is_no_record(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(RecordError, match=rf"is no run record: it has no {missing}"):
        load(folder)


def test_no_folder_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"There is no folder .*nowhere\."):
        load(tmp_path / "nowhere")


def test_a_file_is_no_record(folder: Path) -> None:
    with pytest.raises(RecordError, match=r"run\.json"):
        load(folder / "run.json")


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[]", "17", '"text"', '{"format": "x"}', '{"format": null}'])
def test_a_run_that_makes_no_sense_is_named(text: str, folder: Path) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(RecordError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("row", ["", "1.0", "x" * 10, ",".join("x" * len(FIELDS)), ",".join([""] * len(FIELDS))])
def test_a_whole_row_that_makes_no_sense_is_named(row: str, folder: Path) -> None:
    with open(folder / "samples.csv", "a") as samples:
        samples.write(row + "\n")
    if not row:
        assert load(folder).samples == SAMPLES
        return
    with pytest.raises(RecordError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["run.json", "samples.csv"])
def test_bytes_that_are_no_text_are_named(name: str, folder: Path) -> None:
    with open(folder / name, "ab") as file:
        file.write(b"\xff\xfe\n")
    with pytest.raises(RecordError) as caught:
        load(folder)
    assert str(caught.value) == f"The run record {folder} can't be read: {name} is no UTF-8. Save it as UTF-8."


def save_all(folder: Path, encoding: str) -> None:
    """Save the files of a record as an editor does, or a table calculator: in this encoding, with other line ends."""
    for path in (folder / name for name in ("run.json", "samples.csv", "latency.csv")):
        text = path.read_text()
        path.write_text(text, encoding=encoding, newline="\r\n")


def test_a_record_that_was_saved_with_a_byte_order_mark_is_read(folder: Path) -> None:
    (folder / "latency.csv").write_text(LATENCY)
    before = load(folder)
    save_all(folder, "utf-8-sig")
    assert (folder / "samples.csv").read_bytes().startswith(b"\xef\xbb\xbftime,")
    after = load(folder)
    assert (after.run, after.samples, after.read_latency().fault) == (before.run, before.samples, None)
    assert after.read_latency().rows.tolist() == before.read_latency().rows.tolist() == COUNTS


def test_a_record_in_another_encoding_is_told_in_plain_words(folder: Path) -> None:
    (folder / "latency.csv").write_text(LATENCY)
    run = (folder / "run.json").read_bytes()
    save_all(folder, "utf-16")
    with pytest.raises(RecordError, match=r"run\.json is UTF-16\. Save it as UTF-8\.$"):
        load(folder)
    (folder / "run.json").write_bytes(run)
    with pytest.raises(RecordError, match=r"samples\.csv is UTF-16\. Save it as UTF-8\.$"):
        load(folder)


def test_a_latency_file_in_another_encoding_is_left_out(folder: Path) -> None:
    (folder / "latency.csv").write_text(LATENCY, encoding="utf-16")
    fault = "is left out, for it can't be read: latency.csv is UTF-16. Save it as UTF-8"
    assert (load(folder).read_latency().rows.shape, load(folder).read_latency().fault) == ((0, 5), fault)


def test_text_of_a_record_is_read_whatever_the_locale(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "command": "größer"}, ensure_ascii=False), encoding="utf-8")
    code = "import sys, analysis; print(ascii(analysis.load(sys.argv[1]).run['command']))"
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, env=environment)
    assert done.stdout == ascii("größer") + "\n", done.stderr


def test_json_that_is_nested_without_end_is_named(folder: Path) -> None:
    (folder / "run.json").write_text('{"format": 1, "summary": ' + "[" * 200_000)
    with pytest.raises(RecordError, match="can't be read"):
        load(folder)


def test_a_field_that_is_longer_than_any_is_named(folder: Path) -> None:
    with open(folder / "samples.csv", "a") as samples:
        samples.write("x" * 200_000 + "\n")
    with pytest.raises(RecordError, match="can't be read"):
        load(folder)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_named(value: str, folder: Path) -> None:
    (folder / "run.json").write_text(f'{{"format": 1, "summary": {value}}}')
    with pytest.raises(RecordError, match=f"{value} is no number"):
        load(folder)


@pytest.mark.parametrize("field", ["time", "server_cpu"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_sample_that_is_no_number_is_named(field: str, value: str, folder: Path) -> None:
    writer = RecordWriter(folder / "more", "one")
    writer.write_run({})
    writer.write_sample(sample(**{field: float(value)}))
    writer.close()
    with pytest.raises(RecordError, match=f"its {field} is {value}"):
        load(writer.folder)


LATENCY = "milliseconds,planned,published,sampled,arrived\n1.5,10,20,0,2\n3.0,30,25,2,0\n"
COUNTS = [[1.5, 10, 20, 0, 2], [3, 30, 25, 2, 0]]


def test_a_latency_file_reads_to_its_last_whole_line_and_says_what_is_missing(folder: Path) -> None:
    record = load(folder)
    assert (record.read_latency().rows.shape, record.read_latency().fault) == ((0, 5), None)
    for length in range(len(LATENCY) + 1):
        (folder / "latency.csv").write_text(LATENCY[:length])
        assert len(record.read_latency().rows) == max(0, LATENCY[:length].count("\n") - 1)
        is_whole = LATENCY[:length].endswith("\n")
        assert (record.read_latency().fault is None) == is_whole
    assert record.read_latency().rows.tolist() == COUNTS


def test_a_latency_file_from_before_there_was_a_sample_has_none(folder: Path) -> None:
    (folder / "latency.csv").write_text("milliseconds,planned,published\n1.5,10,20\n")
    read = load(folder).read_latency()
    assert (read.rows.tolist(), read.fault) == ([[1.5, 10, 20, 0, 0]], None)


@pytest.mark.parametrize(
    "rows", ["1,2\n", "1,2\n3,4\n5,6\n", "a,b,c\n", "1,nan,2\n", "1,-5,2\n", "1,2,3\n\n", "\0\n", "1,2,3,4\n"]
)
def test_a_latency_file_that_makes_no_sense_is_left_out(rows: str, folder: Path) -> None:
    (folder / "latency.csv").write_text("milliseconds,planned,published\n" + rows)
    assert load(folder).read_latency().rows.shape == (0, 5)
    assert "can't be read" in (load(folder).read_latency().fault or "")


# -- folders ---------------------------------------------------------------------------------------------------------


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    writers = [RecordWriter(tmp_path / "a" / "b", "20250615-120000") for _ in range(3)]
    names = ["20250615-120000", "20250615-120000-2", "20250615-120000-3"]
    assert [writer.folder.name for writer in writers] == names
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("parent", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_refused_with_a_remedy(parent: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="--out") as caught:
        RecordWriter(tmp_path / parent, "one")
    assert str(tmp_path / parent) in str(caught.value)


def test_kernel_memory_is_the_sum_of_its_kinds() -> None:
    assert sample(slab=1, kernel_stack=20, page_tables=300, percpu=4000).kernel == 4321
    assert Sample.__struct_fields__ == FIELDS


def test_a_disk_that_fills_while_a_record_is_written_is_told(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from analysis.record import DiskFault, RecordWriter\n"
        "writer = RecordWriter(Path(sys.argv[1]), 'run')\n"
        "writer.write_run({'stages': []})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: writer.write_run({'stages': ['more'] * 10})\n"
        "except DiskFault as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"Can't write the run record {tmp_path / 'run'}: File too large ("), done.stderr
    assert load(tmp_path / "run").run["stages"] == []
