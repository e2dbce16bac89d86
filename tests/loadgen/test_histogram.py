"""loadgen.client.histogram: buckets that are exact where they say so, and percentiles within the stated error."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.loadgen.client.histogram import BUCKETS, MAX, count, dense, highest, microseconds_at, sparse

ERROR = 0.008


def bucket_of(value: int) -> int:
    counts = count(np.array([value]))
    assert counts.shape == (BUCKETS,)
    assert counts.sum() == 1
    return int(np.flatnonzero(counts)[0])


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
def test_small_values_have_a_bucket_each(value: int) -> None:
    assert highest(np.array([bucket_of(value)])).tolist() == [value]


@given(st.integers(0, MAX))
@example(256)
@example(257)
@example(MAX)
def test_a_value_lies_in_its_bucket_and_near_its_top(value: int) -> None:
    bucket = bucket_of(value)
    top, below = highest(np.array([bucket, max(bucket - 1, 0)])).tolist()
    assert value <= top <= value * (1 + ERROR)
    assert bucket == 0 or below < value


def test_buckets_ascend_and_the_last_one_holds_the_largest() -> None:
    tops = highest(np.arange(BUCKETS))
    assert (np.diff(tops) > 0).all()
    assert tops[-1] == MAX


@pytest.mark.parametrize(("value", "counted"), [(-1, 0), (-(10**12), 0), (MAX + 1, MAX), (10**15, MAX)])
def test_what_is_out_of_range_counts_at_its_end(value: int, counted: int) -> None:
    assert bucket_of(value) == bucket_of(counted)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_percentiles_agree_with_exact_ones_within_the_error(values: list[int]) -> None:
    shares = [0.0, 0.5, 0.9, 0.99, 0.999, 1.0]
    found = microseconds_at(shares, count(np.array(values)))
    assert found is not None
    exact = np.quantile(values, shares, method="inverted_cdf")
    assert all(one <= other <= one * (1 + ERROR) for one, other in zip(exact, found, strict=True))


def test_counts_of_parts_add_up() -> None:
    values = np.random.default_rng(1).integers(0, 10**7, 5000)
    assert np.array_equal(count(values), count(values[:2000]) + count(values[2000:]))


def test_nothing_has_no_percentiles() -> None:
    assert microseconds_at([0.5], count(np.zeros(0, np.int64))) is None


@given(st.lists(st.integers(0, 10**9), max_size=300))
def test_counts_are_the_same_without_their_empty_buckets(values: list[int]) -> None:
    counts = count(np.array(values, np.int64))
    few = sparse(counts)
    assert np.array_equal(dense(few), counts)
    assert all(few.values())
    assert len(few) <= len(values)
