"""Fits and means, calibrated: records with a known slope give it back within its interval."""

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from floodtest.analysis import Sample
from floodtest.analysis.figures.fits import Estimate, fit_memory
from floodtest.analysis.figures.memory import memory_of
from floodtest.analysis.figures.series import mean_of, thinned
from floodtest.analysis.figures.steps import _cut
from tests.rigs.figures import record_of, sample, start

Floats = npt.NDArray[np.float64]


def random_case(rng: np.random.Generator) -> tuple[list[Sample], float, float]:
    """Make samples of a run with known slope and fixed cost: lasting noise, workers that start, ticks in the hold."""
    n = int(rng.integers(12, 150))
    total = int(10 ** rng.uniform(3.7, 6.1))
    slope, fixed = 10 ** rng.uniform(1, 4.6), rng.uniform(10e6, 300e6)
    opened = np.append(0, np.cumsum(rng.gamma(4, 1, n)))
    opened = np.round(opened / opened[-1] * total)
    size = fixed + slope * opened
    workers = int(rng.integers(0, 9))
    even = rng.random() < 0.5
    starts = total * np.arange(workers) / max(1, workers) if even else rng.uniform(0, total, workers)
    for at, step in zip(starts, rng.uniform(0.2e6, 4e6) * rng.uniform(0.7, 1.3, workers), strict=True):
        size = size + step * (opened > at)
    size = size + lasting_noise(rng, n + 1, rng.uniform(0, 0.8), 10 ** rng.uniform(3.5, 5.7))
    size = np.round(size / 4096) * 4096
    held = [size[-1] + tick * rng.uniform(1e4, 2e6) for tick in range(1, 8)]  # ticks touch memory, and open nothing
    samples = [start(server_private=int(size[0]))]
    for at in range(1, n + 1):
        stage = "ramp" if at < n else "hold"
        samples.append(sample(time=at, stage=stage, open=int(opened[at]), server_private=int(size[at])))
    samples += [sample(time=n + 1 + at, open=total, server_private=int(value)) for at, value in enumerate(held)]
    return samples, slope, fixed


def lasting_noise(rng: np.random.Generator, n: int, correlation: float, deviation: float) -> Floats:
    noise = rng.normal(0, deviation, n)
    for at in range(1, n):
        noise[at] = correlation * noise[at - 1] + np.sqrt(1 - correlation**2) * noise[at]
    return noise


def test_the_interval_holds_the_true_slope_and_fixed_cost_as_often_as_it_says() -> None:
    rng = np.random.default_rng(20251125)
    slopes = fixed_costs = 0
    for _ in range(100):
        samples, slope, fixed = random_case(rng)
        fit = memory_of(record_of(samples))["server"].fit
        assert fit is not None
        slopes += fit.slope.low <= slope <= fit.slope.high
        fixed_costs += fit.fixed.low <= fixed <= fit.fixed.high
    assert 90 <= slopes <= 99
    assert 90 <= fixed_costs <= 100


def line(n: int, slope: float, fixed: float = 50e6, **steps: float) -> tuple[Floats, Floats]:
    opened = np.linspace(0, 100_000, n)
    return opened, fixed + slope * opened


def test_a_line_without_noise_is_found_to_the_page() -> None:
    fit = fit_memory(*line(30, 2048))
    assert fit is not None
    assert fit.slope.value == pytest.approx(2048, abs=0.1)
    assert fit.fixed.value == pytest.approx(50e6, abs=4096)
    assert fit.steps == ()
    assert fit.slope.high - fit.slope.low < 1


def test_workers_that_start_are_steps_and_not_slope() -> None:
    opened, size = line(60, 100)
    for at in (20_000, 40_000, 60_000, 80_000):
        size = size + 3e6 * (opened >= at)
    fit = fit_memory(opened, size + np.random.default_rng(1).normal(0, 20_000, 60))
    assert fit is not None
    assert {round(step.connections, -4) for step in fit.steps} == {20_000, 40_000, 60_000, 80_000}
    assert fit.slope.low <= 100 <= fit.slope.high
    assert fit.slope.value == pytest.approx(100, abs=5)
    assert fit.at(opened)[-1] == pytest.approx(size[-1], abs=50_000)


@pytest.mark.parametrize("zeros", [10, 20])
@pytest.mark.parametrize("mib", [0.5, 2.0, 8.0])
def test_steps_that_could_stand_in_for_the_line_are_no_model_of_it(zeros: int, mib: float) -> None:
    """A ramp that waits, and then has few samples: a step at each of them explains all, and leaves the slope open."""
    connections = np.array([0] * zeros + [500, 1000, 1500, 2000], np.float64)
    size = 53e6 + np.array([0] * zeros + [1, 4, 9, 16], np.float64) * mib * 2**20
    fit = fit_memory(connections, size)
    assert fit is not None
    assert np.isfinite([fit.slope.value, fit.slope.low, fit.slope.high, fit.fixed.value]).all()


def test_the_more_noise_the_wider() -> None:
    opened, size = line(40, 1000)
    noise = np.random.default_rng(2).normal(0, 1, 40)
    fits = [fit_memory(opened, size + deviation * noise) for deviation in (1e4, 1e5, 1e6)]
    widths = [fit.slope.high - fit.slope.low for fit in fits if fit is not None]
    assert widths == sorted(widths)
    assert len(widths) == 3


def cost_of(rest: Floats, places: tuple[int, ...], price: float) -> float:
    levels = np.split(rest, places)
    return float(sum(((level - level.mean()) ** 2).sum() for level in levels)) + price * (len(levels) - 1)


def test_levels_are_cut_at_the_least_cost_of_all_cuts() -> None:
    rng = np.random.default_rng(4)
    rests = rng.normal(0, 1, (20, 8)) + 4 * (np.arange(8) >= rng.integers(1, 8, 20)[:, None])
    everywhere = [places for count in range(8) for places in combinations(range(1, 8), count)]
    for rest, (cost, places) in zip(rests, _cut(rests, 2.0), strict=True):
        least = min(everywhere, key=lambda places: cost_of(rest, places, 2.0))
        assert places == least
        assert cost == pytest.approx(cost_of(rest, least, 2.0))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_samples_make_no_fit(count: int) -> None:
    assert fit_memory(*line(count, 100)) is None


def test_samples_at_one_number_of_connections_make_no_fit() -> None:
    assert fit_memory(np.full(50, 1000.0), np.linspace(1e6, 2e6, 50)) is None


def test_connections_that_only_fall_have_no_steps() -> None:
    opened, size = line(20, 500)
    fit = fit_memory(opened[::-1], size[::-1])
    assert fit is not None
    assert not fit.steps
    assert fit.slope.value == pytest.approx(500, abs=1)


def test_what_was_not_read_is_left_out() -> None:
    opened, size = line(30, 500)
    size[::3] = np.nan
    fit = fit_memory(opened, size)
    assert fit is not None
    assert fit.samples == 20
    assert fit.slope.value == pytest.approx(500, abs=1)


def test_two_figures_differ_when_their_difference_is_not_explained_by_both_uncertainties() -> None:
    narrow, near, far = Estimate(100, 95, 105), Estimate(106, 100, 112), Estimate(120, 113, 127)
    assert not narrow.differs_from(near)
    assert not near.differs_from(narrow)
    assert narrow.differs_from(far)
    assert far.differs_from(narrow)
    assert not narrow.differs_from(narrow)


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        values = 100 + lasting_noise(rng, int(rng.integers(8, 60)), rng.uniform(0, 0.5), 10)
        found = mean_of(values)
        assert found is not None
        hits += found.low <= 100 <= found.high
    assert 0.90 <= hits / 400 <= 0.99


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [np.nan, np.nan, 3.0, 4.0]])
def test_two_figures_have_no_interval(values: list[float]) -> None:
    assert mean_of(np.array(values)) is None


def test_a_mean_of_equal_figures_is_certain() -> None:
    found = mean_of(np.full(5, 7.0))
    assert found == Estimate(7, 7, 7)


def test_the_kernel_is_counted_from_before_the_ramp() -> None:
    samples: list[Any] = [start(slab=500 << 20)]
    samples += [sample(stage="ramp", open=at * 100, slab=(500 << 20) + at * 100 * 8192) for at in range(1, 12)]
    found = memory_of(record_of(samples))["kernel"]
    assert found.measured is not None
    assert found.fit is not None
    assert found.fit.slope.value == pytest.approx(8192, rel=0.01)
    assert abs(found.fit.fixed.value) < 100_000


def test_the_kernel_without_a_sample_from_before_has_a_slope_and_no_total() -> None:
    samples = [sample(stage="ramp", open=at * 100, slab=(500 << 20) + at * 100 * 8192) for at in range(1, 12)]
    found = memory_of(record_of(samples))["kernel"]
    assert found.measured is None
    assert found.fit is not None
    assert found.fit.slope.value == pytest.approx(8192, rel=0.01)


def test_a_picture_has_fewer_samples_and_the_same_fit() -> None:
    samples = [start(), *(sample(time=at, stage="ramp", open=at, server_private=at * 5000) for at in range(1, 300))]
    long = record_of([*samples, *(sample(time=at) for at in range(300, 20_000))])
    fewer = thinned(long)
    assert len(fewer.samples) < 1900
    assert memory_of(fewer)["server"].fit == memory_of(long)["server"].fit
    assert fewer.samples[-1] == long.samples[-1]
    assert thinned(fewer, 5000) is fewer
