"""server_under_test.routing.router, bus and senders: who gets what, held against a plain dictionary, message by
message.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing import router as router_module
from floodtest.server_under_test.routing.audience import find_audience
from floodtest.server_under_test.routing.progress import NEVER
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Lookup, Store
from tests.rigs.router import FILES, FRONTS, USERS, Net, publish, publish_together


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as store:
        yield store


@pytest.fixture
def net(store: Store) -> Iterator[Net]:
    made = Net(store)
    yield made
    made.end()


# -- routes ----------------------------------------------------------------------------------------------------------


def test_subscribers_and_the_subject_itself_get_a_message_once(net: Net, store: Store) -> None:
    store.add_subscriptions([(2, 1), (3, 1), (1, 1), (4, "photo:7"), (9, 1)])
    for user, fd in ((1, 5), (2, 6), (3, 7), (4, 8)):
        net.login(user, 0, fd)
    assert publish(net, (1, b"a")) == 3
    assert net.said() == [(0, 5, 1, b"a"), (0, 6, 2, b"a"), (0, 7, 3, b"a")]
    assert publish(net, ("photo:7", b"b")) == 1
    assert net.said() == [(0, 8, 4, b"b")]


def test_all_connections_of_a_user_are_served(net: Net) -> None:
    for front, fd in ((0, 5), (0, 6), (2, 5)):
        net.login(7, front, fd)
    assert publish(net, (7, b"x")) == 3
    assert net.said() == [(0, 5, 7, b"x"), (0, 6, 7, b"x"), (2, 5, 7, b"x")]


@pytest.mark.parametrize("subject", [50, USERS + 1, 2**32 - 1, "nobody"])
def test_a_message_to_nobody_goes_nowhere(subject: Subject, net: Net) -> None:
    net.login(7, 0, 5)
    assert publish(net, (subject, b"x")) == 0
    assert net.told == []
    assert net.router.messages == 1


def test_without_a_store_a_message_goes_to_its_subject_alone() -> None:
    net = Net(None)
    net.login(7, 1, 5)
    assert publish(net, (7, b"x"), ("photo:7", b"y"), (8, b"z")) == 1
    assert net.said() == [(1, 5, 7, b"x")]
    net.end()


def test_messages_of_a_connection_stand_together_in_the_order_they_came(net: Net, store: Store) -> None:
    store.add_subscriptions([(1, subject) for subject in (2, 3, 4)] + [(2, 1)])
    net.login(1, 1, 5)
    net.login(2, 1, 3)
    net.login(3, 0, 9)
    messages = [(2, b"a"), (4, b"b"), (3, b"c"), (1, b"d"), (2, b"e")]
    assert publish(net, *messages) == 5 + 3 + 1
    assert net.said() == [
        (0, 9, 3, b"c"),
        *((1, 3, 2, text) for text in (b"a", b"d", b"e")),
        *((1, 5, 1, text) for text in (b"a", b"b", b"c", b"d", b"e")),
    ]


def test_a_batch_is_answered_with_its_own_deliveries(net: Net, store: Store) -> None:
    store.add_subscriptions([(user, "all") for user in range(1, 11)])
    for user in range(1, 11):
        net.login(user, user % FRONTS, user)
    answers = publish_together(net, ["all"], [1, 2], ["all", "all"], ["none"])
    assert answers == [0, 2, 10, 20]
    assert (net.router.messages, net.router.deliveries) == (6, 32)


def test_a_subject_with_more_connections_than_a_turn_has_rows(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "ROWS", 16)
    store.add_subscriptions([(user, "all") for user in range(1, 91)])
    for user in range(1, 91):
        net.login(user, user % FRONTS, user // FRONTS)
    assert publish(net, ("all", b"a"), ("all", b"b")) == 180
    seen = net.said()
    expected = [(user % FRONTS, user // FRONTS, user, text) for user in range(1, 91) for text in (b"a", b"b")]
    assert sorted(seen) == sorted(expected)
    for user in range(1, 91):
        assert [text for _, _, whose, text in seen if whose == user] == [b"a", b"b"]


def test_batches_with_more_deliveries_than_a_turn_has_rows_take_turns(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "ROWS", 25)
    store.add_subscriptions([(user, "all") for user in range(1, 11)])
    for user in range(1, 11):
        net.login(user, user % FRONTS, user)
    answers = publish_together(net, ["all"] * 7, ["nobody's", 3, "all"])
    assert answers == [11, 70]
    assert (net.router.messages, net.router.deliveries) == (10, 81)
    of_turns = Counter[int]()
    for turn, rows in net.turns():
        of_turns[turn] += rows
    assert sum(of_turns.values()) == 81
    assert max(of_turns.values()) <= 25


def test_a_message_to_somebody_else_does_not_wait_for_one_to_everybody(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch to all takes fifty turns; whatever else is published is in the next of them."""
    monkeypatch.setattr(router_module, "ROWS", 20)
    store.add_subscriptions([(user, "all") for user in range(1, 41)])
    for user in range(1, 41):
        net.login(user, user % FRONTS, user)
    turns: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            tasks.start_soon(net.router.publish, ["all"] * 25, [b"x"] * 25)
            while net.bus.last < 10:
                await trio.sleep(0.001)
            before = net.bus.last
            assert await net.router.publish([7], [b"y"]) == 1
            turns.append(net.bus.last - before)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert turns[0] <= 2


def test_equal_subjects_of_a_turn_are_looked_up_once(net: Net, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_subscriptions([(2, 1), (3, "x")])
    for user in (1, 2, 3):
        net.login(user, 0, user)
    asked: list[list[Subject]] = []
    original = store.lookup

    def lookup(subjects: Sequence[Subject], most: int | None = None) -> Lookup:
        asked.append(list(subjects))
        return original(subjects, most)

    monkeypatch.setattr(store, "lookup", lookup)
    assert publish(net, (1, b"a"), ("x", b"b"), (1, b"c"), ("x", b"d"), (1, b"e")) == 8
    assert asked == [[1, "x"]]
    assert [text for _, fd, _, text in net.said() if fd == 2] == [b"a", b"c", b"e"]


def test_a_subject_with_many_subscribers_costs_what_its_connections_cost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = np.arange(1, 200_001, dtype=np.uint32)
    store.add_subscriptions(np.stack([users, np.full(len(users), 77)], axis=1).astype(np.uint32))
    whereabouts = SharedWhereabouts(300_000, 2, 4000)

    def never(subject: Subject) -> None:
        raise AssertionError("nobody is to read all of them")

    monkeypatch.setattr(store, "subscribers", never)
    assert len(find_audience([77], store, whereabouts, 10).user) == 0
    whereabouts.of_front(1).login([5, 6, 7, 8], [250_000, 200_000, 3, 77])
    assert not list(whereabouts.catch_up())
    found = find_audience([78, 77, "x"], store, whereabouts, 10_000)
    assert found.cuts.tolist() == [0, 0, 3, 3]
    assert sorted(found.user.tolist()) == [3, 77, 200_000]
    os.close(whereabouts.descriptor)


def test_messages_about_a_subject_with_a_million_subscribers_hold_nobody_else_up(net: Net, store: Store) -> None:
    """The time is that of the processor, which a machine that does much else hardly changes."""
    users = np.arange(USERS + 1, USERS + 1_000_001, dtype=np.uint32)  # none is connected
    store.add_subscriptions(np.stack([users, np.full_like(users, 77)], axis=1))
    net.login(7, 0, 5)
    took: list[float] = []

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            tasks.start_soon(net.router.publish, [77] * 500, [b"x"] * 500)
            await trio.testing.wait_all_tasks_blocked()
            began = time.thread_time()
            tasks.start_soon(net.router.publish, [77] * 500, [b"x"] * 500)
            assert await net.router.publish([7], [b"y"]) == 1
            took.append(time.thread_time() - began)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert took[0] < 0.05


def large_subjects(net: Net, store: Store, count: int) -> list[Subject]:
    """Make subjects of several blocks each, and so many connections of others that all subscribers are looked at."""
    subscribers = range(1001, 2101)
    subjects: list[Subject] = [f"large {number}" for number in range(count)]
    store.add_subscriptions([(user, subject) for subject in subjects for user in subscribers])
    for front in range(FRONTS):
        net.whereabouts.of_front(front).login(list(range(FILES)), list(range(30, 30 + FILES)))
    net.login(7, 0, 0)
    return subjects


def test_a_turn_looks_up_no_more_large_subjects_than_it_has_time_for(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for later turns, and who needs little, or has waited, does not wait for all of them."""
    monkeypatch.setattr(router_module, "LOOKED_AT", 4000)
    *subjects, other = large_subjects(net, store, 21)
    looked_up: list[Subject] = []
    turns = [0]
    subscribers, lookup = store.subscribers, store.lookup

    def count_subscribers(subject: Subject) -> Any:
        looked_up.append(subject)
        return subscribers(subject)

    def count_turns(subjects: Sequence[Subject], most: int | None = None) -> Lookup:
        turns.append(len(looked_up))
        return lookup(subjects, most)

    monkeypatch.setattr(store, "subscribers", count_subscribers)
    monkeypatch.setattr(store, "lookup", count_turns)
    looked_up_by: dict[Subject, int] = {}

    async def one(subject: Subject) -> None:
        await net.router.publish([subject], [b"x"])
        looked_up_by[subject] = len(looked_up)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            async with trio.open_nursery() as publishers:
                publishers.start_soon(net.router.publish, subjects, [b"x"] * len(subjects))
                await trio.testing.wait_all_tasks_blocked()
                publishers.start_soon(one, 7)
                publishers.start_soon(one, other)
                await trio.testing.wait_all_tasks_blocked()
                tasks.start_soon(net.router.run)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert sorted(map(str, looked_up)) == sorted(map(str, [*subjects, other]))
    assert max(np.diff([*turns, len(looked_up)])) <= 4000 // 1100
    assert looked_up_by[7] <= 3
    assert looked_up_by[other] <= 6


def test_five_thousand_subscribers_are_all_found(store: Store) -> None:
    whereabouts = SharedWhereabouts(10_000, 2, 4000)
    store.add_subscriptions(np.stack([np.arange(1, 5001), np.full(5000, 9000)], axis=1).astype(np.uint32))
    for front in (0, 1):
        whereabouts.of_front(front).login(list(range(2500)), list(range(front * 2500 + 1, front * 2500 + 2501)))
    assert not list(whereabouts.catch_up())
    found = find_audience([9000], store, whereabouts, 1)
    assert np.array_equal(np.sort(found.user), np.arange(1, 5001))
    assert np.bincount(found.front).tolist() == [2500, 2500]
    os.close(whereabouts.descriptor)


# -- turns -----------------------------------------------------------------------------------------------------------


def test_a_turn_waits_until_the_last_but_one_is_written_and_takes_what_came_meanwhile(net: Net) -> None:
    net.writes_at_once = False
    net.login(7, 1, 5)

    async def main() -> None:
        answered: list[int] = []

        async def one(number: int) -> None:
            await net.router.publish([7], [b"%d" % number])
            answered.append(number)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            for number in range(5):
                tasks.start_soon(one, number)
                await trio.sleep(0.03)
            assert answered == [0, 1]
            net.write(1, 1)
            await trio.sleep(0.1)
            assert sorted(answered) == [0, 1, 2, 3, 4]
            assert net.turns() == [(1, 1), (2, 1), (3, 3)]
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_front_that_writes_nothing_holds_the_others_up_once_and_not_for_long(net: Net) -> None:
    net.writes_at_once = False
    net.login(7, 1, 5)
    net.login(8, 2, 5)
    waited: list[float] = []

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            for number in range(1, 200):
                began = trio.current_time()
                assert await net.router.publish([7, 8], [b"x", b"y"]) == 2
                waited.append(trio.current_time() - began)
                net.write(2, number)
                await trio.sleep(0.02)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert sum(waited) < 0.5
    assert sum(1 for front, _, _, text in net.said() if front == 2 and text == b"y") == 199


def test_a_front_that_comes_on_slowly_holds_the_others_up_a_second_and_no_longer(net: Net) -> None:
    """It writes a row every tenth of a second, and never comes to the end of a turn."""
    net.writes_at_once = False
    net.login(7, 1, 5)
    net.login(8, 2, 5)
    waited: list[float] = []

    async def write_slowly() -> None:
        while True:
            await trio.sleep(0.1)
            net.rows[1] += 1

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            tasks.start_soon(write_slowly)
            with trio.move_on_after(200):
                for number in range(1, 200):
                    began = trio.current_time()
                    assert await net.router.publish([7, 8], [b"x", b"y"]) == 2
                    waited.append(trio.current_time() - began)
                    net.write(2, number)
                    await trio.sleep(0.2)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(waited) == 199
    assert 0.9 < max(waited) < 1.2
    assert sum(waited) < 1.5  # once
    assert net.turn_writer.fronts_given_up == 1  # after half a minute: it may find turns gone, once there is no room


def test_a_front_that_was_given_up_makes_room_and_misses_what_was_there(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedBus, "has_room", lambda bus, *of: len(bus._there) < 10)
    net.writes_at_once = False
    net.login(7, 1, 5)
    net.login(8, 2, 5)
    times: list[float] = []

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            for number in range(1, 31):
                await net.router.publish([7, 8], [b"%d" % number, b"y"])
                times.append(trio.current_time())
                net.write(2, number)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert 1.5 < max(np.diff(times)) < 2.5  # once, until front 1 is given up
    turn = net.bus.next(1, 0)
    assert turn is not None
    assert (turn.number, turn.before) == (21, 20)


def test_a_front_that_is_gone_holds_nobody_up(net: Net) -> None:
    net.writes_at_once = False
    net.written[1] = NEVER
    net.login(7, 1, 5)
    for _ in range(5):
        assert publish(net, (7, b"x")) == 1


def test_a_store_that_cannot_be_read_is_told_to_who_published(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise Refused("The subscription store can't be used: it is gone.")

    monkeypatch.setattr(store, "lookup", fail)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            for _ in range(2):
                with pytest.raises(Refused, match="it is gone"):
                    await net.router.publish([7], [b"x"])
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert net.router.messages == 0


def test_a_turn_takes_only_what_it_has_room_for(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "TURN_BYTES", 130)
    net.writes_at_once = False
    net.login(7, 1, 5)
    told: list[int] = []

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.publish, [7] * 6, [b"x" * 60] * 6)
            await trio.testing.wait_all_tasks_blocked()
            net.written[1] = NEVER
            tasks.start_soon(net.router.run)
            await trio.sleep(1)
            told.extend(rows for _, rows in net.turns())
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert told == [2, 2, 2]
