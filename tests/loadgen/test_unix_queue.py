"""loadgen.client.unix_queue: which users are tried next when the queue of a Unix socket was full, and how often."""

from floodtest.loadgen.client.unix_queue import PAUSE, Waiting


def test_nobody_waits_unless_somebody_was_refused() -> None:
    waiting = Waiting(64)
    assert (len(waiting), waiting.deadline, waiting.take(5.0)) == (0, float("inf"), (0.0, []))


def test_the_oldest_is_tried_alone_and_then_twice_as_many_each_time() -> None:
    waiting, tried, now = Waiting(4), list[list[int]](), 1.0
    waiting.tried([1, 2, 3], 10.0, now)
    waiting.add(list(range(4, 13)), 10.0)
    assert waiting.take(now) == (0.0, [])
    assert waiting.deadline == now + PAUSE
    for _ in range(4):
        now = max(now, waiting.deadline)
        deadline, users = waiting.take(now)
        assert deadline == 10.0
        tried.append(users)
        waiting.tried([], deadline, now)
    assert tried == [[1], [2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert now == 1.0 + PAUSE
    assert len(waiting) == 1


def test_whoever_is_refused_again_stays_before_the_others() -> None:
    waiting = Waiting(4)
    waiting.tried([1, 2, 3], 10.0, 1.0)
    waiting.add([4, 5], 11.0)
    waiting.tried([], *waiting.take(2.0)[:1], 2.0)
    deadline, users = waiting.take(2.0)
    assert (deadline, users) == (10.0, [2, 3])
    waiting.tried([3], deadline, 2.0)
    assert waiting.take(2.0)[1] == []
    assert waiting.take(2.0 + PAUSE) == (10.0, [3])
    waiting.tried([], 10.0, 3.0)
    assert waiting.take(3.0) == (11.0, [4, 5])


def test_who_has_waited_for_too_long_waits_no_longer() -> None:
    waiting = Waiting(64)
    waiting.tried([1, 2], 10.0, 1.0)
    waiting.add([3], 12.0)
    assert waiting.expired(9.9) == []
    assert waiting.expired(10.0) == [1, 2]
    assert len(waiting) == 1
