"""Findings: a report and a comparison compute what they have in common once a record."""

import shutil
from pathlib import Path

import pytest

from floodtest.analysis import Record, load, memory_of, read_findings, stages_of
from floodtest.analysis.figures import fits, memory
from floodtest.analysis.figures.memory import predicted_of
from floodtest.analysis.pages import pictures
from floodtest.analysis.pages.compare import write_page
from floodtest.analysis.pages.report import write_report
from floodtest.analysis.record import LatencyCounts
from tests.analysis.test_report import EXAMPLE
from tests.rigs.figures import compared, findings_of, sample, start


def test_findings_are_what_the_functions_of_the_library_say() -> None:
    record = load(EXAMPLE)
    found = read_findings(record)
    assert found.memory["server"].fit == memory_of(record)["server"].fit
    assert found.stages == stages_of(record)
    assert found.latency.rows.tolist() == record.read_latency().rows.tolist()
    assert found.predicted == predicted_of(record) == {}  # it is older than predictions


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the fits that are made and the files of latencies that are read; nothing is drawn."""
    counts = {"fits": 0, "files": 0}

    def fit(connections: fits.Floats, size: fits.Floats, begun: fits.Floats) -> fits.MemoryFit | None:
        counts["fits"] += 1
        return fits.fit_memory(connections, size, begun)

    original = Record.read_latency

    def read(record: Record) -> LatencyCounts:
        counts["files"] += 1
        return original(record)

    monkeypatch.setattr(memory, "fit_memory", fit)
    monkeypatch.setattr(Record, "read_latency", read)
    monkeypatch.setattr(pictures, "as_svg", lambda figure: b"<svg/>")
    monkeypatch.setattr(pictures, "write_png", lambda path, figure: None)
    return counts


def test_a_report_fits_once_and_reads_its_file_once(counted: dict[str, int], tmp_path: Path) -> None:
    write_report(load(shutil.copytree(EXAMPLE, tmp_path / "run")))
    assert counted == {"fits": 3, "files": 1}


def test_a_comparison_with_its_page_fits_once_and_reads_once_a_record(counted: dict[str, int], tmp_path: Path) -> None:
    write_page(compared([load(EXAMPLE)] * 2), tmp_path)
    assert counted == {"fits": 2 * 3, "files": 2}


def test_a_picture_has_as_many_dots_as_it_has_use_for() -> None:
    rows = [start(), *(sample(time=at, stage="ramp", open=at, server_private=at * 5000) for at in range(1, 5000))]
    found = findings_of(rows).memory["server"]
    connections, size = found.dots()
    assert len(found.size) == 5000
    assert len(connections) == len(size) == 1500
    assert (connections[0], connections[-1]) == (0, 4999)
