"""Fits of memory and means of figures: what they find, and where they find nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from floodtest.analysis.figures import fits
from floodtest.analysis.figures.fits import PAGE, Estimate, fit_memory
from floodtest.analysis.figures.memory import memory_of
from floodtest.analysis.figures.series import mean_of, thinned
from floodtest.analysis.figures.students_t import t_975
from tests.rigs.figures import record_of, sample, start
from tests.rigs.simulated_servers import lasting_noise

Floats = npt.NDArray[np.float64]


def line(n: int, slope: float, fixed: float = 50e6) -> tuple[Floats, Floats]:
    opened = np.linspace(0, 100_000, n)
    return opened, fixed + slope * opened


def test_a_line_without_noise_is_found_to_the_page() -> None:
    fit = fit_memory(*line(30, 2048))
    assert fit is not None
    assert fit.slope.value == pytest.approx(2048, abs=0.1)
    assert fit.fixed.value == pytest.approx(50e6, abs=4096)
    assert fit.steps == ()
    assert fit.slope.high - fit.slope.low < 1


STARTS = (20_000, 40_000, 60_000, 80_000)


def staircase() -> tuple[Floats, Floats, Floats]:
    """Connections, bytes and workers begun: each worker takes 3 MB as it begins, a connection 100 B."""
    opened, size = line(60, 100)
    begun: Floats = (opened[:, None] >= np.array(STARTS)).sum(axis=1).astype(np.float64)
    return opened, size + 3e6 * begun + np.random.default_rng(4).normal(0, 20_000, 60), begun


def test_workers_that_begin_are_steps_and_not_slope() -> None:
    opened, size, begun = staircase()
    fit = fit_memory(opened, size, begun)
    assert fit is not None
    assert [round(step.connections, -4) for step in fit.steps] == list(STARTS)
    assert [step.bytes for step in fit.steps] == pytest.approx([3e6] * 4, rel=0.03)
    assert fit.slope.low <= 100 <= fit.slope.high
    assert fit.slope.value == pytest.approx(100, abs=5)
    assert fit.at(opened)[-1] == pytest.approx(size[-1], abs=50_000)


def test_the_growth_is_as_uncertain_as_what_workers_took() -> None:
    opened, size, begun = (column.round().astype(int).tolist() for column in staircase())
    rows = list(zip(opened, size, begun, strict=True))
    samples: list[Any] = [start(server_private=rows[0][1], server_begun=0)]
    samples += [sample(stage="ramp", open=at, server_private=there, server_begun=of) for at, there, of in rows[1:]]
    found = memory_of(record_of(samples))["server"]
    assert found.fit is not None
    assert found.growth is not None
    taken = found.fit.taken
    assert taken.value == pytest.approx(sum(step.bytes for step in found.fit.steps))
    assert taken.low < 12e6 < taken.high
    assert found.growth.high - found.growth.low == pytest.approx((taken.high - taken.low) / found.most)
    assert found.growth.low < 100 < found.growth.high
    assert not found.failed


def test_what_looks_like_steps_and_nothing_says_is_one_is_slope() -> None:
    opened, size, _ = staircase()
    fit = fit_memory(opened, size)
    assert fit is not None
    assert fit.steps == ()
    growth = (size[-1] - size[0]) / opened[-1]
    assert fit.slope.value == pytest.approx(growth, rel=0.15)
    assert fit.slope.low < growth < fit.slope.high


def test_workers_whose_beginning_was_not_read_in_a_sample_began_when_it_is_read_again() -> None:
    opened, size, begun = staircase()
    gaps = begun.copy()
    gaps[[5, 30, 59]] = np.nan
    assert fit_memory(opened, size, gaps) == fit_memory(opened, size, begun)


@pytest.mark.parametrize("zeros", [10, 20])
@pytest.mark.parametrize("begun", [[1, 2, 3, 4], [1, 2, 3, 3]])
def test_where_a_worker_began_at_nearly_every_sample_there_is_no_slope(zeros: int, begun: list[int]) -> None:
    """A ramp that waits, and then has few samples: what the workers took explains all, and leaves the slope open."""
    connections = np.array([0] * zeros + [500, 1000, 1500, 2000], np.float64)
    size = 53e6 + np.array([0] * zeros + [1, 4, 9, 16], np.float64) * 2**20
    workers = np.array([0] * zeros + begun, np.float64)
    fit = fit_memory(connections, size, workers)
    if begun[-1] == 4:
        assert fit is None
    else:  # two samples tell it, and how uncertain that is
        assert fit is not None
        assert np.isfinite([fit.slope.value, fit.slope.low, fit.slope.high, fit.fixed.value]).all()


def exact_reach(design: Floats, size: Floats, correlation: float) -> Floats:
    """Return the 97.5% reach of a line's parameters with the covariance of AR(1) noise written out as a matrix."""
    n, freedom = len(size), len(size) - 2
    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariance = correlation**lags
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    a, b = whiten @ design, whiten @ size
    rest = b - a @ np.linalg.lstsq(a, b, rcond=None)[0]
    linear = np.linalg.pinv(design)
    # The whitening of the fit leaves its noise as wide as what the sample before does not explain.
    variance = (float(rest @ rest) * (1 - correlation**2) + n * PAGE**2 / 12) / freedom / (1 - correlation**2)
    reach: Floats = t_975(freedom) * np.sqrt(variance * np.diagonal(linear @ covariance @ linear.T))
    return reach


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.94])
def test_the_interval_is_that_of_the_covariance_written_out(
    monkeypatch: pytest.MonkeyPatch, correlation: float
) -> None:
    monkeypatch.setattr(fits, "CORRELATIONS", np.array([correlation]))
    opened, size = line(40, 1000)
    size = size + lasting_noise(np.random.default_rng(3), 40, 0.5, 1e6)
    fit = fit_memory(opened, size)
    assert fit is not None
    design = np.column_stack([np.ones(40), opened / opened[-1]])
    fixed, slope = exact_reach(design, size, correlation)
    assert fit.fixed.high - fit.fixed.value == pytest.approx(fixed, rel=1e-6)
    assert (fit.slope.high - fit.slope.value) * opened[-1] == pytest.approx(slope, rel=1e-6)


def test_the_more_noise_the_wider() -> None:
    opened, size = line(40, 1000)
    noise = np.random.default_rng(2).normal(0, 1, 40)
    fits = [fit_memory(opened, size + deviation * noise) for deviation in (1e4, 1e5, 1e6)]
    widths = [fit.slope.high - fit.slope.low for fit in fits if fit is not None]
    assert widths == sorted(widths)
    assert len(widths) == 3


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
