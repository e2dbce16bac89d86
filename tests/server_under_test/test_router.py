"""server_under_test.routing.router, bus and senders: who gets what, held against a plain dictionary, message by
message.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.fronts.senders import MessageSender
from floodtest.server_under_test.routing import router as router_module
from floodtest.server_under_test.routing.audience import find_audience
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.progress import NEVER, Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Lookup, Store
from floodtest.wire.protocols import CHUNKED
from tests.rigs.server import ServerRig

USERS, FRONTS, FILES = 100, 3, 50


class Net:
    """A router whose fronts are played by a test: what each was told, and what that says."""

    def __init__(self, store: Store | None) -> None:
        self.whereabouts = SharedWhereabouts(USERS, FRONTS, FILES)
        self.bus = SharedBus(FRONTS)
        self.written = np.zeros(FRONTS, np.int64)
        self.rows = np.zeros(FRONTS, np.int64)
        self.told: list[tuple[int, int, list[tuple[int, int, bytes]]]] = []
        self.router = Router(
            self.whereabouts, store, self.bus, self._tell, Progress(self.written, lambda: self.rows.copy())
        )
        self.writes_at_once = True

    def _tell(self, front: int, order: Deliver) -> None:
        turn = self.bus.next(front, order.turn - 1)
        assert turn is not None
        fds, users, which = (column.tolist() for column in (turn.rows.fds, turn.rows.users, turn.rows.which))
        texts = list(map(bytes, turn.rows.texts_of(turn.rows.which)))
        assert len(which) == len(texts)
        self.told.append((front, turn.number, list(zip(fds, users, texts, strict=True))))
        if self.writes_at_once:
            self.write(front, order.turn)

    def write(self, front: int, turn: int) -> None:
        """Let a front have written its turns up to this one."""
        self.written[front] = turn
        self.rows[front] += 1

    def login(self, user: int, front: int, fd: int) -> None:
        self.whereabouts.of_front(front).login([fd], [user])

    def turns(self) -> list[tuple[int, int]]:
        """Return the turns that fronts were told of since this was last asked, and how many rows each front had."""
        told, self.told = self.told, []
        return [(turn, len(rows)) for _, turn, rows in told]

    def said(self) -> list[tuple[int, int, int, bytes]]:
        """What fronts were told since this was last asked: (front, fd, user, text), in their order."""
        told, self.told = self.told, []
        return [(front, *row) for front, _, rows in told for row in rows]

    def end(self) -> None:
        for descriptor in (self.whereabouts.descriptor, self.bus.descriptor):
            os.close(descriptor)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as store:
        yield store


@pytest.fixture
def net(store: Store) -> Iterator[Net]:
    made = Net(store)
    yield made
    made.end()


def publish(net: Net, *messages: tuple[Subject, bytes]) -> int:
    """Publish one batch while the router runs; return the number of deliveries."""

    async def main() -> int:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            subjects, texts = zip(*messages, strict=True)
            deliveries = await net.router.publish(subjects, texts)
            tasks.cancel_scope.cancel()
        return deliveries

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def publish_together(net: Net, *batches: list[Subject]) -> list[int]:
    """Publish batches at once while the router runs; return the numbers of deliveries, smallest first."""
    answers: list[int] = []

    async def one(subjects: list[Subject]) -> None:
        answers.append(await net.router.publish(subjects, [b"x"] * len(subjects)))

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(net.router.run)
            async with trio.open_nursery() as publishers:
                for subjects in batches:
                    publishers.start_soon(one, subjects)
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return sorted(answers)


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
    assert net.router.fronts_given_up == 1  # after half a minute: it may find turns gone, once there is no room


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


# -- what a front writes ---------------------------------------------------------------------------------------------


class Writer:
    """A front's messages: what the router would put on the bus, in its order, and the slices that it is written in."""

    def __init__(self, rig: ServerRig) -> None:
        self._rig = rig
        self._bus = SharedBus(1)
        self._turn = 0
        self.sender = MessageSender(rig.streams, self._bus, 0, rig.ledger.row(0))

    def begin(self, texts: list[bytes], *deliveries: tuple[int, int, int]) -> None:
        """Order a turn, of (user whose descriptor it is, user it is for, index of the text)."""
        in_order = sorted((self._rig.descriptors[at], which, user) for at, user, which in deliveries)
        fds, which, users = (np.array(column, np.uint32) for column in zip(*in_order, strict=True))
        self._turn = self._bus.write(fds, users, which, texts, np.array([0, len(fds)]))
        self.sender.begin(Deliver(self._turn))

    def send(self, most: int, *deliveries: tuple[int, int, int]) -> int:
        """Have a turn of the texts a, b and c written; return in how many slices it was."""
        self.begin([b"a", b"b", b"c"], *deliveries)
        slices = 0
        while self._rig.figure("turn") == self._turn - 1:
            self.sender.send_some(most)
            slices += 1
        assert self._rig.figure("turn") == self._turn
        self.sender.send_some(most)
        assert not self.sender.under_way
        return slices

    def overwrite(self) -> None:
        """Do what the router does to the memory of a front that was given up: use it for something else."""
        self._bus.forget(NEVER)
        self._bus._memory[: 1 << 16] = b"\xff" * (1 << 16)

    def close(self) -> None:
        os.close(self._bus.descriptor)


@pytest.fixture
def writer(front: ServerRig) -> Iterator[Writer]:
    with closing(Writer(front)) as made:
        yield made


def chunks(*payloads: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads)


def test_each_connection_has_its_own_numbers(front: ServerRig, writer: Writer) -> None:
    for user in (1, 2):
        front.login(user)
    writer.send(100, (1, 1, 0), (1, 1, 2), (2, 2, 2))
    writer.send(100, (1, 1, 1), (2, 2, 1))
    assert front.read(1) == chunks(b"Recvd msg #1: a\n", b"Recvd msg #2: c\n", b"Recvd msg #3: b\n")
    assert front.read(2) == chunks(b"Recvd msg #1: c\n", b"Recvd msg #2: b\n")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (5, 0)


def test_ticks_and_messages_share_the_numbers(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    front.send(b"tick 1")
    writer.send(100, (1, 1, 0))
    assert front.read(1) == chunks(b"Recvd msg #1: tick 1\n", b"Recvd msg #2: a\n")


def test_http_1_0_gets_messages_without_framing(front: ServerRig, writer: Writer) -> None:
    front.login_unchunked(1)
    writer.send(100, (1, 1, 0), (1, 1, 1))
    assert front.read(1) == b"Recvd msg #1: a\nRecvd msg #2: b\n"


def test_a_text_cannot_pass_for_two_messages_where_there_is_no_framing(front: ServerRig, writer: Writer) -> None:
    front.login_unchunked(1)
    writer.begin([b"a\r\nRecvd msg #9: b\n"], (1, 1, 0))
    writer.sender.send_some(100)
    assert front.read(1) == b"Recvd msg #1: a Recvd msg #9: b \n"


@pytest.mark.parametrize(("size", "slices"), [(100, 1), (50_000, 3), (70_000, 6), (200_000, 6)])
def test_a_slice_is_bounded_in_bytes_even_of_one_connection(
    size: int, slices: int, front: ServerRig, writer: Writer
) -> None:
    for user in (1, 2):
        front.login(user)
    writer.begin([b"x" * size], *[(user, user, 0) for user in (1, 2)] * 3)
    got = {1: b"", 2: b""}
    taken = 0
    while front.figure("turn") == 0:
        writer.sender.send_some(100)
        taken += 1
        for user in got:
            got[user] += front.read_to_the_end(user)
    assert taken == slices
    for user in got:
        assert got[user] == chunks(*(b"Recvd msg #%d: %b\n" % (n, b"x" * size) for n in (1, 2, 3)))


def test_what_a_stream_is_given_up_over_is_not_delivered(front: ServerRig, writer: Writer) -> None:
    front.login(1, buffer=2048)
    front.login(2)
    writer.begin([b"x" * 50_000], (1, 1, 0), (2, 2, 0))
    writer.sender.send_some(100)
    assert (front.figure("slow"), front.figure("deliveries"), front.figure("undeliverable")) == (1, 1, 1)


def test_a_descriptor_that_is_another_users_by_now_gets_nothing(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    fd = front.descriptors[1]
    front.clients[1].close()
    front.turn()
    front.login(2)
    assert front.descriptors[2] == fd
    writer.send(100, (1, 1, 0), (2, 2, 1))
    assert front.read(2) == chunks(b"Recvd msg #1: b\n")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (1, 1)


def test_a_user_who_left_is_counted_undeliverable(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    front.clients[1].close()
    front.turn()
    writer.send(100, (1, 1, 0))
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (0, 1)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_slices_do_not_part_what_goes_to_one_connection(most: int, front: ServerRig, writer: Writer) -> None:
    deliveries = [(user, user, text) for user in range(1, 6) for text in range(3)]
    for user in range(1, 6):
        front.login(user)
    slices = writer.send(most, *deliveries)
    assert slices == {1: 5, 2: 5, 3: 5, 7: 2, 100: 1}[most]
    for user in range(1, 6):
        assert front.read(user) == chunks(*(b"Recvd msg #%d: %c\n" % (n + 1, b"abc"[n]) for n in range(3)))


def test_a_front_that_was_given_up_goes_on_when_its_turn_is_overwritten(front: ServerRig, writer: Writer) -> None:
    for user in (1, 2):
        front.login(user)
    writer.begin([b"a", b"b", b"c"], (1, 1, 0), (2, 2, 1), (2, 2, 2))
    writer.sender.send_some(1)
    writer.overwrite()
    while writer.sender.under_way:
        writer.sender.send_some(1)
    assert (front.read(1), front.read(2)) == (chunks(b"Recvd msg #1: a\n"), b"")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (1, 2)
    writer.send(100, (2, 2, 0))
    assert front.read(2) == chunks(b"Recvd msg #1: a\n")


def test_one_that_does_not_read_is_cut_off_and_the_others_get_theirs(front: ServerRig, writer: Writer) -> None:
    front.login(1, buffer=2048)
    front.login(2)
    got = b""
    for _ in range(59):
        writer.begin([b"x" * 1000], (1, 1, 0), (2, 2, 0))
        writer.sender.send_some(100)
        got += front.read(2) or b""
    assert got.count(b"Recvd msg #") == 59
    assert front.figure("slow") == 1
    assert front.figure("deliveries") + front.figure("undeliverable") == 118
    assert front.figure("undeliverable") > 0


# -- ground truth ----------------------------------------------------------------------------------------------------


class GroundTruth(RuleBasedStateMachine):
    """Everything but processes: store, whereabouts, router, bus, senders and streams, against dictionaries."""

    PEOPLE = range(1, 7)
    NAMES = ("a", "photo:7")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "db", create=True)
        self.rig = ServerRig()
        self.bus = SharedBus(1)
        self.sender = MessageSender(self.rig.streams, self.bus, 0, self.rig.ledger.row(0))
        rows = self.rig.ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        self.router = Router(self.rig.whereabouts, self.store, self.bus, self._tell, progress)
        self.waiting: list[Deliver] = []
        self.connections = 0
        self.user_of: dict[int, int] = {}
        self.had: dict[int, int] = {}  # the last user of each descriptor
        self.expected: dict[int, list[bytes]] = {}
        self.received: dict[int, bytes] = {}
        self.subscriptions: set[tuple[int, Subject]] = set()
        self.messages = 0

    def _tell(self, front: int, order: Deliver) -> None:
        assert front == 0
        self.waiting.append(order)

    @rule(user=st.sampled_from(PEOPLE))
    def login(self, user: int) -> None:
        self.connections += 1
        name = self.connections
        self.user_of[name], self.expected[name], self.received[name] = user, [], b""
        server = self.rig.accept(name)
        if self.had.get(server) == user:
            self.write()  # or the new connection would get what is on its way to the one before it of this user
        self.had[server] = user
        self.rig.streams.login([server], [user], CHUNKED)
        self.rig.read(name)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.user_of:
            name = data.draw(st.sampled_from(sorted(self.user_of)))
            self._read(name)
            self.rig.clients.pop(name).close()
            self.rig.turn()
            del self.user_of[name], self.expected[name], self.received[name]

    @rule(pairs=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*PEOPLE, *NAMES])), max_size=5))
    def subscribe(self, pairs: list[tuple[int, Subject]]) -> None:
        self.store.add_subscriptions(pairs)
        self.subscriptions |= set(pairs)

    @rule(pairs=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*PEOPLE, *NAMES])), max_size=5))
    def unsubscribe(self, pairs: list[tuple[int, Subject]]) -> None:
        self.store.remove_subscriptions(pairs)
        self.subscriptions -= set(pairs)

    @rule(subjects=st.lists(st.sampled_from([*PEOPLE, *NAMES, 99]), min_size=1, max_size=6))
    def publish(self, subjects: list[Subject]) -> None:
        texts = []
        deliveries = 0
        for subject in subjects:
            self.messages += 1
            text = b"message %d" % self.messages
            texts.append(text)
            for name, user in self.user_of.items():
                if user == subject or (user, subject) in self.subscriptions:
                    self.expected[name].append(text)
                    deliveries += 1
        counted = trio.run(self._publish, subjects, texts, clock=trio.testing.MockClock(autojump_threshold=0))
        assert counted == deliveries

    async def _publish(self, subjects: list[Subject], texts: list[bytes]) -> int:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self.router.run)
            if len(self.waiting) == 2:
                self.write()  # a third turn would wait for the first
            deliveries = await self.router.publish(subjects, texts)
            tasks.cancel_scope.cancel()
        return deliveries

    @rule()
    def write(self) -> None:
        """The front gets round to what it was told."""
        while self.waiting:
            self.sender.begin(self.waiting.pop(0))
        while self.sender.under_way:
            self.sender.send_some(2)

    def _read(self, name: int) -> None:
        self.received[name] += self.rig.read(name) or b""

    @invariant()
    def everybody_got_theirs_and_nobody_anything_else(self) -> None:
        for name in self.user_of:
            self._read(name)
            numbered = (b"Recvd msg #%d: %b\n" % (n, text) for n, text in enumerate(self.expected[name], 1))
            whole = chunks(*numbered)
            if self.waiting or self.sender.under_way:
                assert whole.startswith(self.received[name])
            else:
                assert self.received[name] == whole

    def teardown(self) -> None:
        self.rig.end()
        self.store.close()
        os.close(self.bus.descriptor)
        self.folder.cleanup()


TestGroundTruth = GroundTruth.TestCase
TestGroundTruth.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
