"""loadgen.plan.pacer: what is due, by the clock and nothing else."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.loadgen.plan.pacer import Pacer, Stage, parse_stages, steady

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
    assert steady(rate).due(elapsed, connections) == due


@pytest.mark.parametrize(
    ("rate", "connection", "time"),
    [(None, 1, 0.0), (None, 1_054_000, 0.0), (10.0, 1, 0.0), (10.0, 2, 0.1), (10.0, 101, 10.0), (0.5, 2, 2.0)],
)
def test_time_of(rate: float | None, connection: int, time: float) -> None:
    assert steady(rate).time_of(connection) == pytest.approx(time)


@given(RATES, st.integers(1, 10_000_000))
@example(49.0, 2)
def test_a_connection_is_due_at_its_time_and_not_before(rate: float, connection: int) -> None:
    pacer = steady(rate)
    time, hair = pacer.time_of(connection), 1e-6 / rate + pacer.time_of(connection) * 1e-12
    assert pacer.due(time + hair, 20_000_000) >= connection
    assert pacer.due(time - hair, 20_000_000) < connection


@given(RATES, st.floats(-10, 1e5), st.floats(0, 1e3), st.integers(0, 2_000_000))
def test_what_was_due_stays_due(rate: float, elapsed: float, later: float, connections: int) -> None:
    pacer = steady(rate)
    now, then = pacer.due(elapsed, connections), pacer.due(elapsed + later, connections)
    assert 0 <= now <= then <= connections


@given(RATES, st.floats(0, 1e4), st.integers(1, 10**9), st.integers(0, 10**9))
def test_workers_that_each_look_at_their_share_open_what_one_would(
    rate: float, elapsed: float, connections: int, cut: int
) -> None:
    pacer = steady(rate)
    cut = min(cut, connections)
    first, both = pacer.due(elapsed, cut), pacer.due(elapsed, connections)
    assert first == min(cut, both)


def test_a_rate_beyond_all_bounds_is_no_bound() -> None:
    assert steady(math.nextafter(math.inf, 0)).due(10.0, 17) == 17


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("1000/s:30s,5000/s:60s,max", (Stage(1000, 30), Stage(5000, 60), Stage(None))),
        ("max", (Stage(None),)),
        ("500", (Stage(500),)),
        ("1_000/s", (Stage(1000),)),
        (" 10:1m , 0:500ms , 20/s ", (Stage(10, 60), Stage(0, 0.5), Stage(20))),
        ("0.5/s:1h", (Stage(0.5, 3600),)),
    ],
)
def test_stages(text: str, stages: tuple[Stage, ...]) -> None:
    assert parse_stages(text) == stages


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "max,max", "1000,max", "max:10s,5", "0", "0:10s", "-1:5s", "5:", ":5s", "5:0s,max", "5:-1s", "fast"),
        *("nan", "inf:5s", "5/m:5s", "5:5x", "1000/s:30s,", "1000/s:30s;max"),
    ],
)
def test_no_stages(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_stages(text)


STAGES = Pacer(parse_stages("10/s:2s,0:1s,100/s:1s,max"))


@pytest.mark.parametrize(
    ("elapsed", "due"),
    [(-1, 0), (0, 1), (0.1001, 2), (1.95, 20), (2.0, 20), (2.9, 20), (3.0, 21), (3.5, 71), (3.999, 120), (4.0, 1000)],
)
def test_what_is_due_in_stages(elapsed: float, due: int) -> None:
    assert STAGES.due(elapsed, 1000) == due


@pytest.mark.parametrize(
    ("connection", "time"), [(1, 0.0), (20, 1.9), (21, 3.0), (22, 3.01), (120, 3.99), (121, 4.0), (100_000, 4.0)]
)
def test_when_a_connection_is_due_in_stages(connection: int, time: float) -> None:
    assert STAGES.time_of(connection) == pytest.approx(time)


def test_stages_that_end_bring_so_many_and_no_more() -> None:
    pacer = Pacer(parse_stages("10/s:2s,5/s:1s"))
    assert pacer.capacity == 25
    assert pacer.due(1e9, 1000) == 25
    assert pacer.time_of(26) == math.inf


STAGE_LISTS = st.lists(
    st.builds(Stage, st.one_of(st.just(0.0), st.floats(0.01, 1e5)), st.floats(0.01, 1e3)), min_size=1, max_size=5
).map(lambda stages: Pacer((*stages, Stage(None))))


@given(STAGE_LISTS, st.floats(-1, 5000), st.floats(0, 1000))
def test_in_stages_too_what_was_due_stays_due(pacer: Pacer, elapsed: float, later: float) -> None:
    assert 0 <= pacer.due(elapsed, 10**6) <= pacer.due(elapsed + later, 10**6) <= 10**6


@given(STAGE_LISTS, st.integers(1, 10**6))
def test_in_stages_too_a_connection_is_due_at_its_time(pacer: Pacer, connection: int) -> None:
    time = pacer.time_of(connection)
    assert pacer.due(time + 1e-4 + time * 1e-9, 10**7) >= connection
