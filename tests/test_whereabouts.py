"""server_under_test.whereabouts: who is connected where, compared with a plain dictionary."""

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from server_under_test.whereabouts import Column, Whereabouts

USERS, FRONTS, FILES = 50, 3, 8


@pytest.fixture
def whereabouts() -> Iterator[Whereabouts]:
    whereabouts = Whereabouts(USERS, FRONTS, FILES)
    yield whereabouts
    whereabouts.close()
    os.close(whereabouts.descriptor)


def find(whereabouts: Whereabouts, *users: int) -> list[tuple[int, int, int]]:
    """All places as (user, front, descriptor), in any order."""
    row, front, fd = whereabouts.find(np.array(users, np.uint32))
    return sorted(zip([users[i] for i in row], front.tolist(), fd.tolist(), strict=True))


def test_who_logged_in_is_found_and_nobody_else(whereabouts: Whereabouts) -> None:
    whereabouts.of_front(1).login([3, 0], [7, 8])
    assert find(whereabouts, 7, 8, 9) == [(7, 1, 3), (8, 1, 0)]
    whereabouts.of_front(1).logout([3])
    assert find(whereabouts, 7, 8) == [(8, 1, 0)]


def test_ids_that_nobody_can_have(whereabouts: Whereabouts) -> None:
    whereabouts.of_front(0).login([1], [USERS])
    assert find(whereabouts, 0, USERS, USERS + 1, 2**32 - 1) == [(USERS, 0, 1)]
    assert find(whereabouts) == []


MANY = 600_000_000


@pytest.fixture
def sparse() -> Iterator[Whereabouts]:
    """Whereabouts of few connections with ids from a wide range."""
    whereabouts = Whereabouts(MANY, FRONTS, 1000)
    yield whereabouts
    whereabouts.close()
    os.close(whereabouts.descriptor)


def test_ids_may_be_far_apart(sparse: Whereabouts) -> None:
    users = [1, 1023, 1024, 2047, MANY - 1, MANY]
    sparse.of_front(2).login(list(range(6)), users)
    asked = [1, 2, 1022, 1023, 1024, 1025, 2047, 2048, 300_000_000, MANY - 1, MANY, MANY + 1, 2**32 - 1]
    assert find(sparse, *asked) == [(user, 2, fd) for fd, user in enumerate(users)]
    sparse.of_front(2).logout([2, 5])
    assert find(sparse, *asked) == [(1, 2, 0), (1023, 2, 1), (2047, 2, 3), (MANY - 1, 2, 4)]
    sparse.forget_front(2)
    assert find(sparse, *asked) == []


def test_memory_is_taken_for_those_who_log_in_and_not_for_those_who_are_looked_up(sparse: Whereabouts) -> None:
    random = np.random.default_rng(1)
    users = random.integers(1, MANY, 200, dtype=np.uint32)
    sparse.of_front(0).login(list(range(200)), users.tolist())
    sparse.of_front(1).login(list(range(200)), users.tolist())
    assert len(sparse.find(users)[0]) >= 400
    row, _, _ = sparse.find(random.integers(1, MANY, 500_000, dtype=np.uint32))
    assert len(row) < 5
    sparse.of_front(0).logout(list(range(100)))
    sparse.forget_front(1)
    assert os.fstat(sparse.descriptor).st_blocks * 512 < 2_500_000  # a page for each user, and the column of pages


def test_several_connections_of_a_user_are_all_found(whereabouts: Whereabouts) -> None:
    whereabouts.of_front(0).login([1], [7])
    whereabouts.of_front(2).login([1, 2, 3], [7, 9, 7])
    assert find(whereabouts, 7, 9) == [(7, 0, 1), (7, 2, 1), (7, 2, 3), (9, 2, 2)]
    whereabouts.of_front(2).logout([1])
    assert find(whereabouts, 7) == [(7, 0, 1), (7, 2, 3)]
    whereabouts.of_front(0).logout([1])
    whereabouts.of_front(2).logout([3])
    assert find(whereabouts, 7) == []


def test_who_stays_is_found_while_another_connection_of_the_user_goes(
    whereabouts: Whereabouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = whereabouts.of_front(0)
    for fd in (1, 2, 3):
        places.login([fd], [7])

    class Going:
        """The column of next places; before it is read for the first time, the newest connection goes."""

        def __getitem__(self, index: Column) -> Column:
            monkeypatch.undo()
            places.logout([3])
            return whereabouts._next[index]

    monkeypatch.setattr(whereabouts, "_next", Going())
    assert {(7, 0, 1), (7, 0, 2)} <= set(find(whereabouts, 7))
    assert find(whereabouts, 7) == [(7, 0, 1), (7, 0, 2)]


def test_the_users_of_a_dead_front_are_logged_out(whereabouts: Whereabouts) -> None:
    whereabouts.of_front(0).login([1, 2], [7, 8])
    whereabouts.of_front(1).login([1], [7])
    for _ in range(2):
        whereabouts.forget_front(0)
        assert find(whereabouts, 7, 8) == [(7, 1, 1)]


@pytest.mark.parametrize("written", ["_user_at", "_next"])
def test_a_front_that_died_in_the_middle_of_a_login(written: str, whereabouts: Whereabouts) -> None:
    """Its columns are written in order; the later ones may be missing."""
    whereabouts.of_front(1).login([1], [7])
    whereabouts._counts[0], whereabouts._ends[0] = 1, 5
    whereabouts._user_at[0 * FILES + 1 + 4] = 7
    if written == "_next":
        whereabouts._next[0 * FILES + 1 + 4] = 1 * FILES + 1 + 1
    whereabouts.forget_front(0)
    assert find(whereabouts, 7) == [(7, 1, 1)]
    assert whereabouts.connections == 1
    whereabouts.of_front(0).login([4], [7])
    assert find(whereabouts, 7) == [(7, 0, 4), (7, 1, 1)]


def test_fronts_that_write_at_the_same_time_lose_nothing() -> None:
    """Threads with an open file of their own each, as fronts have, log the same users in and out."""
    ours = Whereabouts(USERS, 4, 200)
    users = [user % USERS + 1 for user in range(200)]

    def front(number: int) -> None:
        mine = Whereabouts(USERS, 4, 200, ours.descriptor)
        for first in range(0, 200, 20):
            mine.of_front(number).login(list(range(first, first + 20)), users[first : first + 20])
            if number % 2:
                mine.of_front(number).logout(list(range(first, first + 20, 2)))
        mine.close()

    threads = [threading.Thread(target=front, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [
        (users[fd], number, fd) for number in range(4) for fd in range(200) if not (number % 2 and fd % 20 % 2 == 0)
    ]
    assert find(ours, *range(1, USERS + 1)) == sorted(expected)
    ours.close()
    os.close(ours.descriptor)


class Fronts(RuleBasedStateMachine):
    """Logins and logouts in any order, single and in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = Whereabouts(9, FRONTS, FILES)
        self.model: dict[tuple[int, int], int] = {}

    @rule(front=st.integers(0, FRONTS - 1), users=st.lists(st.integers(1, 9), min_size=1, max_size=4))
    def login(self, front: int, users: list[int]) -> None:
        free = [fd for fd in range(FILES) if (front, fd) not in self.model][: len(users)]
        if free:
            self.ours.of_front(front).login(free, users[: len(free)])
            self.model.update({(front, fd): user for fd, user in zip(free, users, strict=False)})

    @rule(front=st.integers(0, FRONTS - 1), data=st.data())
    def logout(self, front: int, data: st.DataObject) -> None:
        taken = [fd for number, fd in self.model if number == front]
        if taken:
            fds = data.draw(st.lists(st.sampled_from(taken), unique=True, min_size=1))
            self.ours.of_front(front).logout(fds)
            for fd in fds:
                del self.model[front, fd]

    @rule(front=st.integers(0, FRONTS - 1))
    def die(self, front: int) -> None:
        self.ours.forget_front(front)
        self.model = {place: user for place, user in self.model.items() if place[0] != front}

    @invariant()
    def all_are_found(self) -> None:
        assert find(self.ours, *range(1, 10)) == sorted((user, *place) for place, user in self.model.items())
        assert self.ours.connections == len(self.model)
        assert self.ours.connected().tolist() == sorted(set(self.model.values()))

    def teardown(self) -> None:
        self.ours.close()
        os.close(self.ours.descriptor)


Fronts.TestCase.settings = settings(deadline=None, max_examples=50, stateful_step_count=20)
TestFronts = Fronts.TestCase
