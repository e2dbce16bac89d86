"""server_under_test.generator.schedule: what is due when, however often it is asked."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.server_under_test.generator.schedule import SPREAD, EvenSchedule, ProducerSchedule, Schedule


def due(schedule: Schedule, until: float) -> npt.NDArray[np.float64]:
    """Return the planned times of all that is newly due."""
    return schedule.take(schedule.plan(until))


@pytest.mark.parametrize(
    ("rate", "until", "times"),
    [
        (10, 0.0, []),
        (10, 0.0001, [0.0]),
        (10, 0.1, [0.0]),
        (10, 0.1001, [0.0, 0.1]),
        (10, -1.0, []),
        (0.5, 2.1, [0.0, 2.0]),
        (4, 1.0, [0.0, 0.25, 0.5, 0.75]),
    ],
)
def test_an_even_schedule_begins_at_once_and_keeps_equal_distances(
    rate: float, until: float, times: list[float]
) -> None:
    assert due(EvenSchedule(rate), until).tolist() == times


_asks = st.lists(st.floats(0, 20), max_size=12)


@given(st.floats(0.01, 5000), _asks)
def test_an_even_schedule_says_the_same_however_often_it_is_asked(rate: float, asks: list[float]) -> None:
    schedule = EvenSchedule(rate)
    said = [time for until in [*asks, 20.0] for time in due(schedule, until).tolist()]
    assert said == due(EvenSchedule(rate), 20.0).tolist()
    assert len(said) == int(np.ceil(20.0 * rate))


@given(st.integers(0, 2**32), _asks)
def test_a_producer_says_the_same_however_often_it_is_asked(seed: int, asks: list[float]) -> None:
    often, once = (ProducerSchedule(1, 0.5, np.random.default_rng(seed)) for _ in range(2))
    said = [time for until in [*asks, 20.0] for time in due(often, until).tolist()]
    assert said == due(once, 20.0).tolist()


@given(st.integers(0, 2**32), st.integers(1, 30), st.floats(0.01, 5), _asks)
def test_producers_say_what_is_due_by_then_and_no_more(
    seed: int, producers: int, interval: float, asks: list[float]
) -> None:
    schedule = ProducerSchedule(producers, interval, np.random.default_rng(seed))
    before = 0.0
    for until in asks:
        times = due(schedule, until)
        assert (np.diff(times) >= 0).all()
        assert ((before <= times) & (times < until)).all()
        before = max(before, until)


def test_the_producers_of_2008_send_16666_messages_a_second() -> None:
    times = due(ProducerSchedule(1000, 0.06, np.random.default_rng(1)), 10)
    assert len(times) / 10 == pytest.approx(1000 / 0.06, rel=0.005)
    each_second, _ = np.histogram(times, bins=10, range=(0, 10))
    assert each_second.tolist() == pytest.approx([1000 / 0.06] * 10, rel=0.03)  # the first one is like the others


def test_a_producer_begins_within_its_interval_and_pauses_as_in_2008() -> None:
    times = due(ProducerSchedule(1, 0.06, np.random.default_rng(1)), 600)
    pauses = np.diff(times)
    assert 0 <= times[0] < 0.06
    assert pytest.approx((0.011 / 0.06, 0.109 / 0.06)) == SPREAD
    assert (pauses.min(), pauses.max()) == (pytest.approx(0.011, abs=0.0005), pytest.approx(0.109, abs=0.0005))
    assert pauses.mean() == pytest.approx(0.06, rel=0.02)


def test_a_seed_decides_when_producers_send() -> None:
    first, same, other = (due(ProducerSchedule(50, 0.1, np.random.default_rng(seed)), 5).tolist() for seed in (1, 1, 2))
    assert first == same
    assert first != other
