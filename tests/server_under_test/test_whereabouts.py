"""server_under_test.routing.shared_whereabouts: who is connected where, compared with a plain dictionary."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from floodtest.server_under_test.routing import shared_whereabouts as whereabouts_module
from floodtest.server_under_test.routing.shared_whereabouts import PAGE, SharedWhereabouts, places_of
from tests.rigs.support import wait_until

USERS, FRONTS, FILES = 50, 3, 8


@pytest.fixture
def whereabouts() -> Iterator[SharedWhereabouts]:
    whereabouts = SharedWhereabouts(USERS, FRONTS, FILES)
    yield whereabouts
    os.close(whereabouts.descriptor)


def find(whereabouts: SharedWhereabouts, *users: int) -> list[tuple[int, int, int]]:
    """All places as (user, front, descriptor), in any order, once the router has caught up."""
    assert not list(whereabouts.catch_up())
    row, front, fd = whereabouts.find(np.array(users, np.uint32))
    return sorted(zip([users[i] for i in row], front.tolist(), fd.tolist(), strict=True))


def test_who_logged_in_is_found_and_nobody_else(whereabouts: SharedWhereabouts) -> None:
    whereabouts.of_front(1).login([3, 0], [7, 8])
    assert find(whereabouts, 7, 8, 9) == [(7, 1, 3), (8, 1, 0)]
    whereabouts.of_front(1).logout([3])
    assert find(whereabouts, 7, 8) == [(8, 1, 0)]


def test_ids_that_nobody_can_have(whereabouts: SharedWhereabouts) -> None:
    whereabouts.of_front(0).login([1], [USERS])
    assert find(whereabouts, 0, USERS, USERS + 1, 2**32 - 1) == [(USERS, 0, 1)]
    assert find(whereabouts) == []


MANY = 600_000_000


@pytest.fixture
def sparse() -> Iterator[SharedWhereabouts]:
    """Whereabouts of few connections with ids from a wide range."""
    whereabouts = SharedWhereabouts(MANY, FRONTS, 1000)
    yield whereabouts
    os.close(whereabouts.descriptor)


def test_ids_may_be_far_apart(sparse: SharedWhereabouts) -> None:
    users = [1, 1023, 1024, 2047, MANY - 1, MANY]
    sparse.of_front(2).login(list(range(6)), users)
    asked = [1, 2, 1022, 1023, 1024, 1025, 2047, 2048, 300_000_000, MANY - 1, MANY, MANY + 1, 2**32 - 1]
    assert find(sparse, *asked) == [(user, 2, fd) for fd, user in enumerate(users)]
    sparse.of_front(2).logout([2, 5])
    assert find(sparse, *asked) == [(1, 2, 0), (1023, 2, 1), (2047, 2, 3), (MANY - 1, 2, 4)]
    sparse.forget_front(2)
    assert find(sparse, *asked) == []


def anonymous_memory() -> int:
    """Return the bytes of this process that are nobody else's and no file's. Source: proc_pid_status(5)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def test_memory_is_taken_for_those_who_log_in_and_not_for_those_who_are_looked_up(sparse: SharedWhereabouts) -> None:
    random = np.random.default_rng(1)
    users = random.integers(1, MANY, 200, dtype=np.uint32)
    strangers = random.integers(1, MANY, 200_000, dtype=np.uint32)  # each in another page
    sparse.of_front(0).login(list(range(200)), users.tolist())
    sparse.of_front(1).login(list(range(200)), users.tolist())
    before = anonymous_memory()
    assert not list(sparse.catch_up())
    assert len(sparse.find(users)[0]) >= 400
    row, _, _ = sparse.find(strangers)
    assert len(row) < 5
    assert anonymous_memory() - before < 100 << 20
    sparse.of_front(0).logout(list(range(100)))
    sparse.forget_front(1)
    assert len(find(sparse, *users.tolist())) >= 100
    assert os.fstat(sparse.descriptor).st_blocks * 512 <= 4 * 4096  # a page for each of two fronts, and of changes


def test_several_connections_of_a_user_are_all_found(whereabouts: SharedWhereabouts) -> None:
    whereabouts.of_front(0).login([1], [7])
    whereabouts.of_front(2).login([1, 2, 3], [7, 9, 7])
    assert find(whereabouts, 7, 9) == [(7, 0, 1), (7, 2, 1), (7, 2, 3), (9, 2, 2)]
    whereabouts.of_front(2).logout([1])
    assert find(whereabouts, 7) == [(7, 0, 1), (7, 2, 3)]
    whereabouts.of_front(0).logout([1])
    whereabouts.of_front(2).logout([3])
    assert find(whereabouts, 7) == []


def test_a_user_with_many_connections_is_found_with_all_of_them() -> None:
    fds, others = 3000, 100
    ours = SharedWhereabouts(USERS, 1, fds + 2 * others)
    places = ours.of_front(0)
    places.login(list(range(fds)), [7] * fds)
    places.login(list(range(fds, fds + 2 * others)), [8, 9] * others)
    assert find(ours, 7) == [(7, 0, fd) for fd in range(fds)]
    places.logout(list(range(0, fds, 2)))
    left = [(7, 0, fd) for fd in range(1, fds, 2)]
    assert find(ours, 7) == left
    assert len(find(ours, 6, 7, 8, 9)) == len(left) + 2 * others
    assert ours.connections == len(left) + 2 * others
    ours.forget_front(0)
    assert find(ours, 7, 8, 9) == []
    os.close(ours.descriptor)


def test_a_descriptor_that_is_anothers_by_now(whereabouts: SharedWhereabouts) -> None:
    """It changed hands between two looks of the router, once and again."""
    places = whereabouts.of_front(1)
    places.login([3, 4], [7, 8])
    assert find(whereabouts, 7, 8) == [(7, 1, 3), (8, 1, 4)]
    for users in ([8, 7], [7, 8], [9, 7]):
        places.logout([3, 4])
        places.login([3, 4], users)
    assert find(whereabouts, 7, 8, 9) == [(7, 1, 4), (9, 1, 3)]
    assert whereabouts.connections == 2


def test_more_pages_than_are_looked_at_at_once_let_others_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts_module, "PAGES_AT_ONCE", 2)
    ours = SharedWhereabouts(USERS, 3, 2 * PAGE)
    for front in range(3):
        ours.of_front(front).login([0, PAGE], [1, 2])
    steps = ours.catch_up()
    next(steps)
    assert ours.connections == 2
    assert len(list(steps)) == 1
    assert ours.connections == 6
    assert not list(ours.catch_up())
    os.close(ours.descriptor)


def test_the_users_of_a_dead_front_are_logged_out(whereabouts: SharedWhereabouts) -> None:
    whereabouts.of_front(0).login([1, 2], [7, 8])
    whereabouts.of_front(1).login([1], [7])
    for _ in range(2):
        whereabouts.forget_front(0)
        assert find(whereabouts, 7, 8) == [(7, 1, 1)]


class Standstill:
    """A user's id at which a login stands still in the middle: who is to write it is stopped."""

    def __int__(self) -> int:
        os.kill(os.getpid(), signal.SIGSTOP)
        return 8


@contextmanager
def process(work: Callable[[], None]) -> Iterator[int]:
    """A process forked from this one that does some work; killed with the block."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_a_front_that_is_stopped_in_the_middle_of_a_login_keeps_nobody_else_waiting(
    whereabouts: SharedWhereabouts,
) -> None:
    def stop() -> None:
        places_of(0, FRONTS, FILES, whereabouts.descriptor).login([1, 2], cast(list[int], [7, Standstill()]))

    def login() -> None:
        places_of(1, FRONTS, FILES, whereabouts.descriptor).login([3], [9])

    with process(stop) as stopped:
        assert os.WIFSTOPPED(os.waitpid(stopped, os.WUNTRACED)[1])
        with process(login) as other:
            wait_until(lambda: os.waitpid(other, os.WNOHANG)[0], "the other front is through")
        assert (9, 1, 3) in find(whereabouts, 7, 8, 9)
    whereabouts.forget_front(0)
    assert find(whereabouts, 7, 8, 9) == [(9, 1, 3)]
    whereabouts.of_front(0).login([4], [7])  # there is no such front any more, but nothing of it is in the way
    assert find(whereabouts, 7) == [(7, 0, 4)]


def test_what_is_no_id_is_nobody(whereabouts: SharedWhereabouts) -> None:
    """A front whose memory is broken does not end the router."""
    whereabouts.of_front(0).login([1, 2], [USERS + 1, 7])
    whereabouts.of_front(1).login([1], [2**32 - 1])
    assert find(whereabouts, 7, USERS, USERS + 1) == [(7, 0, 2)]


def test_fronts_that_write_at_the_same_time_lose_nothing() -> None:
    """Threads with a mapping of their own each, as fronts have, log the same users in and out; the router looks on."""
    ours = SharedWhereabouts(USERS, 4, 200)
    users = [user % USERS + 1 for user in range(200)]

    def front(number: int) -> None:
        mine = places_of(number, 4, 200, ours.descriptor)
        for first in range(0, 200, 20):
            mine.login(list(range(first, first + 20)), users[first : first + 20])
            if number % 2:
                mine.logout(list(range(first, first + 20, 2)))

    threads = [threading.Thread(target=front, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        find(ours, *range(1, USERS + 1))
    for thread in threads:
        thread.join()
    expected = [
        (users[fd], number, fd) for number in range(4) for fd in range(200) if not (number % 2 and fd % 20 % 2 == 0)
    ]
    assert find(ours, *range(1, USERS + 1)) == sorted(expected)
    os.close(ours.descriptor)


class Fronts(RuleBasedStateMachine):
    """Logins and logouts in any order, single and in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = SharedWhereabouts(9, FRONTS, FILES)
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
        os.close(self.ours.descriptor)


Fronts.TestCase.settings = settings(deadline=None, max_examples=50, stateful_step_count=20)
TestFronts = Fronts.TestCase
