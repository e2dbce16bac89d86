"""Fits against known costs: servers that do what servers do, simulated, and records of real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from floodtest.analysis import Estimate, load
from floodtest.analysis.figures.fits import fit_memory
from floodtest.analysis.figures.formatting import each
from floodtest.analysis.figures.memory import MemoryFinding, doubt_of_cost, memory_of, memory_of_samples
from tests.rigs.simulated_servers import KINDS, Ramp, Rng, line

RECORDS = Path(__file__).parent / "records"
"""Samples of runs against a Starlette and an Express server, and against our own (`record_*`)."""

TIMES = 40
"""Ramps of each kind."""


def cost_of(ramp: Ramp) -> Estimate | None:
    """Return what is said of such a server: nothing, where it has no interval."""
    one_more = memory_of_samples(ramp.samples())["server"].one_more
    return one_more if isinstance(one_more, Estimate) else None


def covered(kind: Callable[[Rng], Ramp]) -> tuple[int, int]:
    """Return how many ramps of a kind have an interval, and how many of those intervals hold the truth."""
    rng = np.random.default_rng(20261130)
    ramps = [kind(rng) for _ in range(TIMES)]
    told = [(ramp, cost) for ramp in ramps if (cost := cost_of(ramp)) is not None]
    return len(told), sum(cost.low <= ramp.cost <= cost.high for ramp, cost in told)


def test_intervals_hold_the_true_cost_as_often_as_they_say_whatever_a_server_does() -> None:
    found = {kind.__name__: covered(kind) for kind in KINDS}
    told, held = (sum(counts) for counts in zip(*found.values(), strict=True))
    assert told >= 0.95 * TIMES * len(KINDS), found
    assert 0.90 <= held / told <= 0.99, found
    assert {name: counts for name, counts in found.items() if counts[1] < 0.9 * counts[0]} == {}


def least_reach(count: int, deviation: float, correlation: float) -> float:
    """How far an interval of a line's slope has to reach that knows the noise and its correlation."""
    opened = np.linspace(0, 20_000, count)
    of_slope = np.linalg.pinv(np.column_stack([np.ones(count), opened]))[1]
    lags = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    return float(1.96 * deviation * np.sqrt(of_slope @ correlation**lags @ of_slope))


@pytest.mark.parametrize("deviation", [1e4, 1e5, 1e6])
def test_intervals_of_straight_lines_hold_the_true_cost_as_often_as_they_say(deviation: float) -> None:
    found = {}
    for count in (20, 60, 200):
        for correlation in (0.0, 0.5, 0.9):
            rng = np.random.default_rng(20261130)
            ramps = [line(rng, count, deviation, correlation) for _ in range(TIMES)]
            slopes = [fit.slope for ramp in ramps if (fit := fit_memory(ramp.opened, ramp.size)) is not None]
            reach = float(np.median([slope.high - slope.value for slope in slopes]))
            held = sum(slope.low <= ramp.cost <= slope.high for slope, ramp in zip(slopes, ramps, strict=True))
            found[count, correlation] = held / TIMES, reach / least_reach(count, deviation, correlation)
    assert 0.90 <= np.mean([held for held, _ in found.values()]) <= 0.99, found
    assert min(held for held, _ in found.values()) >= 0.9, found
    assert max(reach for _, reach in found.values()) < 3, found
    assert max(reach for (count, _), (_, reach) in found.items() if count == 200) < 2, found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_cost_is_near_the_truth_or_said_to_be_uncertain(kind: Callable[[Rng], Ramp]) -> None:
    rng = np.random.default_rng(7)
    for ramp in [kind(rng) for _ in range(8)]:
        found = memory_of_samples(ramp.samples())["server"]
        assert isinstance(found.one_more, Estimate)
        is_near = abs(found.one_more.value - ramp.cost) < max(200.0, 0.15 * ramp.cost)
        assert is_near or doubt_of_cost(found, "server") is not None, ramp


def finding(name: str, end: str = "server") -> MemoryFinding:
    return memory_of(load(RECORDS / name))[end]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("bursty-starlette-3000", 42_200, 42_400),
        ("bursty-starlette-6000", 42_300, 42_500),
        ("paced-starlette-6000", 42_300, 42_500),
        ("paced-express-3000", 22_500, 23_500),
    ],
)
def test_what_a_server_of_others_truly_took_is_in_the_interval(name: str, low: float, high: float) -> None:
    """`low` and `high` are what /proc said: its private memory in the hold less that before, over the connections."""
    found = finding(name)
    assert isinstance(found.one_more, Estimate)
    assert found.one_more.low < low
    assert found.one_more.high > high
    assert found.one_more.value == pytest.approx((low + high) / 2, rel=0.03)


def test_a_paced_ramp_is_certain_and_one_in_bursts_is_said_not_to_be() -> None:
    paced, bursty = finding("paced-starlette-6000"), finding("bursty-starlette-6000")
    assert doubt_of_cost(paced, "server") is None
    doubt = doubt_of_cost(bursty, "server")
    assert doubt is not None
    assert "--rate" in doubt
    assert bursty.growth is not None
    assert f"The growth over the whole ramp, {each(bursty.growth.value)} a connection, is taken." in doubt
    assert isinstance(bursty.one_more, Estimate)
    assert bursty.one_more.value == pytest.approx(bursty.growth.value, abs=0.05)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("record_3000", "record_3000_again"),
        ("bursty-starlette-6000", "paced-starlette-6000"),
        ("bursty-starlette-3000", "bursty-starlette-6000"),
    ],
)
@pytest.mark.parametrize("end", ["server", "client", "kernel"])
def test_one_server_measured_twice_does_not_differ(one: str, other: str, end: str) -> None:
    found = [finding(name, end).one_more for name in (one, other)]
    assert isinstance(found[0], Estimate)
    assert isinstance(found[1], Estimate)
    assert not found[0].differs_from(found[1])
