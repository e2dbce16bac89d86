"""loadgen.pacer: what is due, by the clock and nothing else."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.pacer import Pacer

RATES = st.floats(0.001, 1e7)


@pytest.mark.parametrize(
    ("rate", "elapsed", "connections", "due"),
    [
        (None, 0.0, 1_054_000, 1_054_000),
        (None, 99.0, 7, 7),
        (None, -0.1, 7, 0),
        (None, 0.0, 0, 0),
        (10.0, 0.0, 100, 1),
        (10.0, 0.0999, 100, 1),
        (10.0, 0.1001, 100, 2),
        (10.0, 1.0, 100, 11),
        (10.0, 9.95, 100, 100),
        (10.0, 1000.0, 100, 100),
        (10.0, 1000.0, 0, 0),
        (10.0, -0.001, 100, 0),
        (10.0, -1000.0, 100, 0),
        (0.5, 1.9, 100, 1),
        (0.5, 2.1, 100, 2),
        (20_000.0, 30.0, 1_054_000, 600_001),
    ],
)
def test_due(rate: float | None, elapsed: float, connections: int, due: int) -> None:
    assert Pacer(rate).due(elapsed, connections) == due


@pytest.mark.parametrize(
    ("rate", "connection", "time"),
    [(None, 1, 0.0), (None, 1_054_000, 0.0), (10.0, 1, 0.0), (10.0, 2, 0.1), (10.0, 101, 10.0), (0.5, 2, 2.0)],
)
def test_time_of(rate: float | None, connection: int, time: float) -> None:
    assert Pacer(rate).time_of(connection) == pytest.approx(time)


@given(RATES, st.integers(1, 10_000_000))
@example(49.0, 2)
def test_a_connection_is_due_at_its_time_and_not_before(rate: float, connection: int) -> None:
    pacer = Pacer(rate)
    time, hair = pacer.time_of(connection), 1e-6 / rate + pacer.time_of(connection) * 1e-12
    assert pacer.due(time + hair, 20_000_000) >= connection
    assert pacer.due(time - hair, 20_000_000) < connection


@given(RATES, st.floats(-10, 1e5), st.floats(0, 1e3), st.integers(0, 2_000_000))
def test_what_was_due_stays_due(rate: float, elapsed: float, later: float, connections: int) -> None:
    pacer = Pacer(rate)
    now, then = pacer.due(elapsed, connections), pacer.due(elapsed + later, connections)
    assert 0 <= now <= then <= connections


@given(RATES, st.floats(0, 1e4), st.integers(1, 10**9), st.integers(0, 10**9))
def test_workers_that_each_look_at_their_share_open_what_one_would(
    rate: float, elapsed: float, connections: int, cut: int
) -> None:
    pacer = Pacer(rate)
    cut = min(cut, connections)
    first, both = pacer.due(elapsed, cut), pacer.due(elapsed, connections)
    assert first == min(cut, both)


def test_a_rate_beyond_all_bounds_is_no_bound() -> None:
    assert Pacer(math.nextafter(math.inf, 0)).due(10.0, 17) == 17
