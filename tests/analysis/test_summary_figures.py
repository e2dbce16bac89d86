"""The figures of a summary: bytes a connection, and what holding costs of a core, from samples made by hand."""

import pytest

from floodtest.analysis import Sample, memory_of
from floodtest.analysis.figures.memory import memory_of_samples
from floodtest.analysis.figures.summary_figures import idle_share, per_connection, summarize_memory
from floodtest.analysis.record.summary import Memory
from tests.rigs.figures import EACH, MIB, NOT_MEASURED, record_of, sample, start


def summarized(samples: list[Sample]) -> Memory:
    return summarize_memory(samples, memory_of_samples(samples), NOT_MEASURED.kernel_source)


@pytest.mark.parametrize(
    ("value", "connections", "each"),
    [(1000, 10, 100.0), (1000, 3, 333.3), (-500, 10, -50.0), (0, 10, 0.0), (None, 10, None), (1000, 0, None)],
)
def test_per_connection(value: float | None, connections: int, each: float | None) -> None:
    assert per_connection(value, connections) == each


def test_memory_a_connection_at_the_end_of_the_ramp() -> None:
    memory = summarized([start(), sample()])
    assert memory.server_user_bytes_per_connection == round(20 * MIB / EACH, 1)
    assert memory.client_user_bytes_per_connection == round(10 * MIB / EACH, 1)
    assert memory.kernel_bytes_per_connection == round(10 * MIB / EACH, 1)
    assert memory.available_bytes_per_connection == round(20 * MIB / EACH, 1)
    assert (memory.server_fixed_bytes, memory.client_fixed_bytes) == (15 * MIB, 8 * MIB)
    assert memory.kernel_source == NOT_MEASURED.kernel_source


def test_the_fixed_cost_of_processes_counts_and_what_was_there_before_does_not() -> None:
    bigger = summarized([start(slab=500 * MIB, server_private=0), sample(slab=510 * MIB)])
    assert bigger.kernel_bytes_per_connection == round(10 * MIB / EACH, 1)
    assert bigger.server_user_bytes_per_connection == round(20 * MIB / EACH, 1)


def test_the_last_sample_before_the_ramp_and_the_first_of_the_hold_count() -> None:
    samples = [
        start(time=0.1, slab=0),
        start(time=0.2),
        sample(time=1.0, stage="ramp", open=500, server_private=99 * MIB),
        sample(time=2.0),
        sample(time=3.0, server_private=50 * MIB, slab=0),
        sample(time=4.0, open=10, server_private=1 * MIB),
        sample(time=5.0, stage="close", open=EACH, server_private=77 * MIB),
    ]
    memory = summarized(samples)
    assert memory.server_user_bytes_per_connection == round(20 * MIB / EACH, 1)
    assert memory.kernel_bytes_per_connection == round(10 * MIB / EACH, 1)


def test_a_run_without_a_hold_is_judged_by_its_ramp() -> None:
    memory = summarized([start(), sample(stage="ramp", open=500, server_private=10 * MIB)])
    assert memory.server_user_bytes_per_connection == round(10 * MIB / 500, 1)


@pytest.mark.parametrize("samples", [[], [start()], [sample()], [start(), sample(stage="close")]])
def test_without_a_before_or_an_after_nothing_is_measured(samples: list[Sample]) -> None:
    assert summarized(samples) == NOT_MEASURED


def test_without_open_connections_there_is_no_figure_for_each() -> None:
    memory = summarized([start(), sample(open=0)])
    assert memory.server_user_bytes_per_connection is None
    assert memory.kernel_bytes_per_connection is None


def test_a_server_that_is_not_measured_says_nothing_of_the_client() -> None:
    memory = summarized([start(server_private=None), sample(server_private=None)])
    assert memory.server_user_bytes_per_connection is None
    assert memory.server_fixed_bytes is None
    assert memory.client_user_bytes_per_connection == round(10 * MIB / EACH, 1)


def test_the_marginal_cost_is_the_slope_that_a_report_shows() -> None:
    private = [MIB + 64 * opened + (3 * MIB if opened >= 500 else 0) for opened in range(0, EACH, 50)]
    ramp = [
        sample(
            time=float(at),
            stage="ramp",
            open=50 * at,
            server_private=size,
            client_private=2 * MIB,
            server_begun=1 + (at >= 10),
        )
        for at, size in enumerate(private)
    ]
    held = [
        sample(
            time=30.0 + at,
            server_private=3 * MIB + 64 * EACH + at * MIB,
            client_private=2 * MIB,
            server_begun=2,
            received=EACH * at,
        )
        for at in (1, 2)
    ]
    samples = [start(server_private=MIB, client_private=2 * MIB, server_begun=1), *ramp, *held]
    memory, fit = summarized(samples), memory_of(record_of(samples))["server"].fit
    assert fit is not None
    assert memory.server_marginal_bytes_per_connection == round(fit.slope.value, 1)
    assert memory.server_marginal_bytes_per_connection == pytest.approx(64, abs=20)  # the worker that began is no slope
    assert memory.client_marginal_bytes_per_connection == pytest.approx(0, abs=20)


def test_of_too_few_points_there_is_no_slope_and_of_our_own_workers_no_cost() -> None:
    def ramp(begun: int | None, total: int = EACH) -> list[Sample]:
        opened = (400, 600, total)
        return [start(), *(sample(stage="ramp", open=at, server_begun=begun, server_private=25 * MIB) for at in opened)]

    ours, theirs = (summarized(ramp(begun)).server for begun in (1, None))
    few = summarized(ramp(None, 900)).server
    assert ours is not None
    assert theirs is not None
    assert few is not None
    assert (ours.one_more, ours.growth, ours.slope) == (None, None, None)
    assert (theirs.one_more, theirs.low, theirs.high) == (round(10 * MIB / EACH, 1), None, None)
    assert few.one_more is None  # what the first connections take once would be most of it
    assert few.growth == round(10 * MIB / 900, 1)
    assert "too few for a slope" in (few.doubt or "")


def test_where_growth_and_slope_disagree_the_growth_is_the_cost_and_the_interval_has_both() -> None:
    """A server that takes 40 MB with its first connection, and 1,000 B with each."""
    ramp = [sample(time=at, stage="ramp", open=50 * at, server_private=55 * MIB + 50_000 * at) for at in range(1, 201)]
    cost = summarized([start(), *ramp]).server
    assert cost is not None
    assert cost.growth == cost.one_more == pytest.approx(1000 + 40 * MIB / 10_000, abs=1)
    assert cost.growth is not None
    assert cost.slope is not None
    assert cost.low is not None
    assert cost.high is not None
    assert cost.low <= min(1000, cost.slope)
    assert cost.slope < cost.growth <= cost.high
    assert "so the growth is taken for the cost" in (cost.doubt or "")
    assert "--rate" in (cost.doubt or "")


def test_a_server_that_is_not_measured_has_no_slope() -> None:
    ramp = [sample(stage="ramp", open=opened, server_private=None) for opened in range(0, EACH, 100)]
    assert summarized([start(server_private=None), *ramp]).server_marginal_bytes_per_connection is None


def test_a_kernel_that_has_less_than_before_leaves_no_total() -> None:
    shrunk = sample(slab=start().slab - (1 << 20))
    assert summarized([start(), sample()]).measured_bytes is not None
    assert summarized([start(), shrunk]).measured_bytes is None


def test_a_ramp_that_stands_still_has_no_slope() -> None:
    waiting = [sample(time=float(second), stage="ramp", open=EACH - 1) for second in range(1, 11)]
    memory = summarized([start(), *waiting, sample(open=EACH - 1)])
    assert memory.server_marginal_bytes_per_connection is None
    assert memory.client_marginal_bytes_per_connection is None


def test_the_idle_share_is_the_time_used_in_the_hold() -> None:
    samples = [
        sample(time=1.0, stage="ramp", server_cpu=0.0),
        sample(time=10.0, server_cpu=5.0, client_cpu=2.0),
        sample(time=15.0, server_cpu=5.5, client_cpu=2.0),
        sample(time=20.0, server_cpu=5.2, client_cpu=2.1),
        sample(time=30.0, stage="close", server_cpu=9.0),
    ]
    assert idle_share(samples, "server_cpu") == 0.02
    assert idle_share(samples, "client_cpu") == 0.01


def test_a_hold_in_which_messages_came_is_not_idle() -> None:
    assert idle_share([sample(time=1.0), sample(time=9.0, received=EACH + 1)], "server_cpu") is None


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample()],
        [sample(time=1.0), sample(time=1.0)],
        [sample(time=1.0), sample(time=2.9)],
        [sample(time=1.0, server_cpu=None), sample(time=9.0, server_cpu=None)],
        [sample(time=1.0, stage="ramp"), sample(time=9.0)],
    ],
)
def test_an_idle_share_needs_two_samples_of_the_hold_some_time_apart(samples: list[Sample]) -> None:
    assert idle_share(samples, "server_cpu") is None
