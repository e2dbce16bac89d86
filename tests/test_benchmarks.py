"""benchmarks: rows of tables are made of what summaries have now, and the truth beside them of what was read."""

import msgspec
import pytest

from benchmarks import cost, latency
from floodtest.analysis.record.summary import Latency
from floodtest.loadgen.client import histogram
from tests.rigs.figures import MIB, client_share, summary


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
