"""loadgen.client.durations, run.lifespans: how long connections took to open, and lived, in figures and words."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.loadgen.client import durations, histogram
from floodtest.loadgen.client.durations import TOPS, Durations, units_at
from floodtest.loadgen.run.lifespans import FEW, bunch, lifetimes_of, timing_of
from tests.rigs.client import ClientRig, welcome
from tests.rigs.figures import reading
from tests.rigs.support import HEAD, chunk


def counted(*values: int) -> dict[int, int]:
    """Return the counts by bucket of durations."""
    row = np.zeros(1, [("open_us", "i8", (durations.BUCKETS,))])
    for value in values:
        Durations(row, "open_us").count(value)
    return histogram.sparse(row["open_us"][0])


@given(st.integers(-5, 2 * histogram.MAX))
def test_a_duration_is_near_the_top_of_its_bucket(value: int) -> None:
    ((bucket, count),) = counted(value).items()
    value = min(max(value, 0), histogram.MAX)
    assert count == 1
    assert value <= TOPS[bucket] <= max(value + 3, value * 1.032)


@given(st.integers(0, histogram.MAX))
def test_the_bucket_of_one_value_is_that_of_a_column_of_them(value: int) -> None:
    assert histogram.count(np.array([value]))[histogram.bucket(value)] == 1


def test_percentiles_are_of_all_connections() -> None:
    assert units_at([0.5, 1.0], counted(*[100] * 99, 70_000)) == pytest.approx([100, 70_000], 0.04)
    assert units_at([0.5], {}) is None


def test_timing_is_in_milliseconds_and_lifetimes_in_seconds() -> None:
    found = reading(
        durations={"connect_us": counted(40), "open_us": counted(2000, 3000), "life_ms": counted(60_000)}
        | {"quiet_ms": counted(5_000)}
    )
    timing, lifetimes = timing_of(found), lifetimes_of(found)
    assert timing is not None
    assert timing.connect_ms is not None
    assert timing.connect_ms.max == pytest.approx(0.04, abs=0.004)
    assert timing.first_byte_ms is None
    assert timing.open_ms is not None
    assert (timing.open_ms.p50, timing.open_ms.max) == pytest.approx((2, 3), 0.04)
    assert lifetimes is not None
    assert (lifetimes.ended, lifetimes.note) == (1, None)
    assert lifetimes.life_seconds.p50 == pytest.approx(60, 0.04)
    assert lifetimes.quiet_seconds.p50 == pytest.approx(5, 0.04)


def test_without_connections_there_is_neither() -> None:
    assert timing_of(reading()) is None
    assert lifetimes_of(reading()) is None


MINUTE = [60_000 + 5 * number for number in range(180)]
SCATTERED = [1000 * 2**number for number in range(1, 12)]


def test_most_of_many_at_nearly_one_duration_are_a_bunch() -> None:
    found = bunch(counted(*MINUTE, *SCATTERED))
    assert found is not None
    assert found.connections == 180
    assert found.seconds in (60, 61, 62)


@pytest.mark.parametrize(
    "values",
    [[], MINUTE[: FEW - 1], [60_000] * 20 + [1000 * (number + 70) for number in range(40)], [900] * 500],
    ids=["none", "few", "not most", "short"],
)
def test_others_are_none(values: list[int]) -> None:
    assert bunch(counted(*values)) is None


@pytest.mark.parametrize(
    ("life", "quiet", "said"),
    [
        (MINUTE, MINUTE, "180 of 180 connections ended 60 s after their last byte: an idle time-out"),
        ([1000 * n for n in range(61, 241)], MINUTE, "180 of 180 connections ended 60 s after their last byte"),
        (MINUTE, [50 * n for n in range(180)], "180 of 180 connections ended 60 s after they opened: a limit"),
        ([1000 * n for n in range(61, 241)], [50 * n for n in range(180)], None),
    ],
)
def test_a_bunch_is_said_in_words(life: list[int], quiet: list[int], said: str | None) -> None:
    lifetimes = lifetimes_of(reading(durations={"life_ms": counted(*life), "quiet_ms": counted(*quiet)}))
    assert lifetimes is not None
    assert lifetimes.ended == len(life)
    assert lifetimes.note is None if said is None else (lifetimes.note or "").replace("61 s", "60 s").startswith(said)


# -- what streams count ----------------------------------------------------------------------------------------------


def times(rig: ClientRig) -> Counter[str]:
    """Return how many durations of each kind are on the accounts."""
    return Counter({field: int(rig.ledger.total(field).sum()) for field in durations.FIELDS})


def test_each_connection_is_timed_once_at_each_step(rig: ClientRig) -> None:
    rig.open(1, 2, 3)
    rig.connect(4)
    rig.feed(4, welcome(4)[:30], welcome(4)[30:])
    rig.connect(5)
    rig.feed(5, HEAD)
    rig.connect(6)
    rig.servers[1].close()
    rig.feed(2, b"nonsense")
    assert +times(rig) == {"connect_us": 6, "first_byte_us": 5, "open_us": 4, "life_ms": 2, "quiet_ms": 2}


def test_what_was_not_connected_at_once_is_so_when_its_request_goes_out(rig: ClientRig) -> None:
    server = rig.connect(1, request=b"x" * 5_000_000, is_connecting=True)
    assert times(rig)["connect_us"] == 0
    server.setblocking(False)
    read = 0
    while read < 5_000_000:
        rig.turn()
        read += len(server.recv(1 << 20))
    rig.feed(1, welcome(1))
    assert +times(rig) == {"connect_us": 1, "first_byte_us": 1, "open_us": 1}


def test_a_lifetime_begins_anew_with_a_descriptor(rig: ClientRig) -> None:
    for user in (1, 2):
        rig.open(user)
        rig.feed(user, chunk(b"hello"))
        rig.servers[user].close()
        rig.settle()
    assert units_at([1.0], histogram.sparse(rig.ledger.total("life_ms"))) < [5000.0]  # type: ignore[operator]
    assert times(rig)["life_ms"] == times(rig)["quiet_ms"] == 2
