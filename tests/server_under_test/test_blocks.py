"""server_under_test.routing.blocks: subscribers in blocks, held against sets, whatever is added and removed in which
order.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floodtest.server_under_test.routing import blocks as blocks_module
from floodtest.server_under_test.routing.blocks import Blocks
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store

OTHERS: list[Subject] = [6, 8, "a", "abc", "ab\0\0\0\0"]
"""Subjects next to those that are changed."""

HIGHEST = 2**32 - 1


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK", 4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as store:
        yield store


ID = st.sampled_from([*range(1, 40), HIGHEST - 1, HIGHEST])
CHANGES = st.lists(st.tuples(st.booleans(), st.lists(ID, max_size=30)), max_size=12)


@pytest.mark.parametrize("subject", [7, "ab"])
def test_any_changes_of_one_subject_leave_a_set_and_the_others_alone(
    subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stores")

    @settings(max_examples=50)  # each is a dozen commits to a disk
    @given(CHANGES, st.lists(ID, unique=True))
    def check(changes: list[tuple[bool, list[int]]], asked: list[int]) -> None:
        with Store(folder / "db", create=True) as store:
            store.add_subscriptions([(number, other) for other in OTHERS for number in range(1, 12)])
            model: set[int] = set()
            for is_added, some in changes:
                pairs = [(user, subject) for user in some]
                change = store.add_subscriptions if is_added else store.remove_subscriptions
                expected = set(some) - model if is_added else set(some) & model
                assert change(pairs) == len(expected)
                model = model | set(some) if is_added else model - set(some)
            assert store.subscribers(subject).tolist() == sorted(model)
            among = store.subscribers_among(np.array(sorted(asked), np.uint32), subject)
            assert among.tolist() == sorted(set(asked) & model)
            for other in OTHERS:
                assert store.subscribers(other).tolist() == list(range(1, 12))
            assert store.counts() == (len(OTHERS) + bool(model), 11 * len(OTHERS) + len(model))
            store.remove_subscriptions([(user, subject) for user in model])

    check()


def test_a_bulk_load_is_the_same_as_one_by_one(store: Store, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pairs = random.integers(1, 30, (500, 2)).astype(np.uint32)
    store.add_subscriptions(pairs)
    with Store(tmp_path / "other", create=True) as other:
        other.add_subscriptions([(1, 1)])
        for pair in pairs.tolist():
            other.add_subscriptions([(pair[0], pair[1])])
        other.remove_subscriptions([(1, 1)])
        if [1, 1] in pairs.tolist():
            other.add_subscriptions([(1, 1)])
        for subject in range(1, 31):
            assert store.subscribers(subject).tolist() == other.subscribers(subject).tolist()
        assert store.counts() == other.counts()


def test_large_subjects_are_told_apart(store: Store) -> None:
    store.add_subscriptions([(user, 7) for user in range(1, 10)] + [(3, 8), (4, 8), (5, 9)])
    found = store.lookup([9, 7, "x", 8, 7])
    assert (found.users.tolist(), found.counts.tolist()) == ([5, 3, 4], [1, 0, 0, 2, 0])
    assert found.large == {1: 9, 4: 9}


def test_one_more_subscriber_is_one_block_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    written: list[int] = []
    with Store(tmp_path, create=True) as store:
        many = np.arange(1, 1_000_001, dtype=np.uint32)
        store.add_subscriptions(np.stack([2 * many, np.full_like(many, 7)], axis=1))
        original: Callable[..., bool] = lmdb.Cursor.put

        class Cursor:
            """Notes how much is put."""

            def __init__(self, cursor: lmdb.Cursor) -> None:
                self._cursor = cursor

            def __getattr__(self, name: str) -> object:
                return getattr(self._cursor, name)

            def put(self, key: bytes, value: bytes) -> bool:
                written.append(len(value))
                return original(self._cursor, key, value)

        original_init = Blocks.__init__

        def init(self: Blocks, *arguments: object) -> None:
            original_init(self, *arguments)  # type: ignore[arg-type]
            self._cursor = cast(Any, Cursor(self._cursor))

        monkeypatch.setattr(Blocks, "__init__", init)
        assert store.add_subscriptions([(999_999, 7)]) == 1
        assert sum(written) <= 3 * 4100
        assert store.remove_subscriptions([(500_000, 7)]) == 1
        assert store.counts() == (1, 1_000_000)
