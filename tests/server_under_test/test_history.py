"""server_under_test.routing.history and replays: rings held against a list of all messages, and what a replay has."""

import sys
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.limits import REPLAY_BYTES, HistoryBounds, Limits, replay_bytes
from floodtest.server_under_test.routing import replays as replays_module
from floodtest.server_under_test.routing import router as router_module
from floodtest.server_under_test.routing.bus import REPLAYS, Deliver, Replay
from floodtest.server_under_test.routing.history import MESSAGE, SUBJECT, History, Message
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.replays import Asked, Replays
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from tests.rigs.router import Net
from tests.server_under_test.test_router import net, store

__all__ = ["net", "store"]  # fixtures

ENDLESS = 1 << 30


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(count: int = 3, size: int = ENDLESS, age: float = 10.0, total: int = ENDLESS) -> tuple[History, Clock]:
    clock = Clock()
    return History(HistoryBounds(count, age, total), size, clock), clock


def numbers(history: History, subject: Subject, since: int = 0) -> tuple[list[int], bool]:
    messages, is_incomplete = history.behind(subject, since)
    return [message.number for message in messages], is_incomplete


STEPS = st.lists(st.tuples(st.sampled_from([1, 2, "a", "b"]), st.integers(0, 300), st.integers(0, 6)), max_size=30)


@given(STEPS, st.integers(1, 4), st.sampled_from([300, 600, ENDLESS]), st.sampled_from([4.0, 10.0, 1e9]))
def test_a_ring_has_the_last_messages_within_its_bounds(
    steps: list[tuple[Subject, int, int]], count: int, size: int, age: float
) -> None:
    history, clock = kept(count, size, age)
    published: list[tuple[Subject, Message]] = []
    for subject, length, pause in steps:
        clock.now += pause
        history.add([subject], [bytes(length)])
        published.append((subject, Message(len(published) + 1, clock.now, bytes(length))))
        for one in (1, 2, "a", "b"):
            of_it = [message for about, message in published if about == one]
            ring: list[Message] = []
            for message in reversed(of_it):
                is_old = message.time < clock.now - age
                if len(ring) == count or is_old or sum(each.size for each in [*ring, message]) > size:
                    break
                ring.insert(0, message)
            for since in range(len(published) + 1):
                expected = [message for message in ring if message.number > since]
                dropped = [message for message in of_it if message.number > since and message not in ring]
                assert history.behind(one, since) == (expected, bool(dropped))
        behind = {about: message.number for about, message in published}
        assert dict(history.published_behind(0)) == behind
        assert [last for _, last in history.published_behind(0)] == sorted(behind.values(), reverse=True)
    history.expire()
    assert history.messages == sum(len(history.behind(one, 0)[0]) for one in (1, 2, "a", "b"))


@given(STEPS, st.integers(1, 4), st.sampled_from([1, 700, 2000, 5000]))
def test_all_rings_together_are_bounded_and_never_deny_a_loss(
    steps: list[tuple[Subject, int, int]], count: int, total: int
) -> None:
    history, clock = kept(count, age=8.0, total=total)
    published: list[Subject] = []
    for subject, length, pause in steps:
        clock.now += pause
        history.add([subject], [bytes(length)])
        published.append(subject)
        assert history.size <= total
        for one in (1, 2, "a", "b"):
            for since in range(len(published)):
                missed = [at for at, about in enumerate(published, 1) if about == one and at > since]
                found, is_incomplete = numbers(history, one, since)
                assert found == missed[len(missed) - len(found) :]
                assert is_incomplete or found == missed


def test_who_was_published_to_longest_ago_makes_room() -> None:
    history, _ = kept(total=4 * MESSAGE + 3 * (SUBJECT + 4))
    history.add(["a", "b", "a", "c"], [b""] * 4)
    assert [numbers(history, each) for each in "abc"] == [([1, 3], False), ([2], False), ([4], False)]
    history.add(["d"], [b""])  # for which b goes, and what is remembered of it
    assert [numbers(history, each) for each in "abcd"] == [([1, 3], False), ([], True), ([4], False), ([5], False)]
    assert history.forgotten == 2


def test_what_is_counted_is_what_it_takes() -> None:
    history, _ = kept()
    texts = [b"x" * 100 + str(number).encode() for number in range(2000)]
    before = sum(sys.getsizeof(text) for text in texts)
    history.add(list(range(1, 2001)), texts)
    rings = history._rings
    messages = [message for ring in rings.values() for message in ring.messages]
    entries = sys.getsizeof(rings) + sum(sys.getsizeof(ring) + sys.getsizeof(ring.messages) for ring in rings.values())
    objects = sum(sys.getsizeof(message) + sys.getsizeof(message.number) for message in messages)
    assert 0.7 * history.size < before + entries + objects < history.size


def test_a_replay_alone_cuts_nobody_off() -> None:
    assert replay_bytes(Limits()) == Limits().pending // 2
    assert replay_bytes(Limits(pending=1 << 30)) == REPLAY_BYTES


# -- replays ---------------------------------------------------------------------------------------------------------


def replay(history: History, store: Store | None, user: int, since: int, most: int = ENDLESS) -> tuple[list[int], bool]:
    (text,) = trio.run(Replays(history, store, most).make, [Asked(0, 5, user, since, 1)], 0)
    found = msgspec.msgpack.decode(text, type=Replay)
    assert found.texts == [b"%d" % number for number in found.numbers]
    return found.numbers, found.is_lost


def published(history: History, *subjects: Subject) -> None:
    for subject in subjects:
        history.add([subject], [b"%d" % (history.last + 1)])


def test_it_has_what_a_user_subscribed_to_in_order(store: Store) -> None:
    store.add_subscriptions([(7, 1), (7, "a"), (8, "b"), (7, 7), *((user, "all") for user in range(1, 3001))])
    history, _ = kept()
    published(history, 1, "a", "b", 7, "all", 1, 8)
    assert replay(history, store, 7, 0) == ([1, 2, 4, 5, 6], False)
    assert replay(history, store, 7, 4) == ([5, 6], False)
    assert replay(history, store, 7, 7) == ([], False)
    assert replay(history, store, 8, 0) == ([3, 5, 7], False)
    assert replay(history, None, 7, 0) == ([4], False)


@pytest.mark.parametrize("since", [-1, 99])
def test_who_comes_from_elsewhere_gets_all_and_is_told(since: int) -> None:
    history, _ = kept()
    published(history, 7, 7)
    assert replay(history, None, 7, since) == ([1, 2], True)


def test_the_newest_are_those_that_fit(store: Store) -> None:
    history, _ = kept(count=100)
    published(history, *[7] * 50)
    found, is_lost = replay(history, store, 7, 0, most=10 * (2 + replays_module.FRAMING))
    assert (found, is_lost) == (list(range(41, 51)), True)
    assert replay(history, store, 7, 45, most=10 * (2 + replays_module.FRAMING)) == (list(range(46, 51)), False)


def test_what_is_too_much_to_look_up_counts_as_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays_module, "SUBJECTS", 3)
    store.add_subscriptions([(7, 1)])
    history, _ = kept()
    published(history, 1, 2, 3, 7)
    assert replay(history, store, 7, 1) == ([4], False)
    assert replay(history, store, 7, 0) == ([4], True)


def test_a_store_that_can_not_be_read_is_a_loss(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(subjects: Sequence[Subject]) -> None:
        raise Refused("no")

    monkeypatch.setattr(store, "lookup", fail)
    history, _ = kept()
    published(history, 1, 7)
    assert replay(history, store, 7, 0) == ([2], True)


def test_replays_wait_for_a_message_that_is_not_on_its_way_as_a_whole(
    net: Net, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its rest is not behind a replay that has it."""
    monkeypatch.setattr(router_module, "ROWS", 4)
    store.add_subscriptions([(user, "all") for user in range(1, 21)])
    for user in range(1, 21):
        net.login(user, 0, user)
    history, _ = kept()
    firsts: list[int] = []

    def tell(front: int, order: Deliver) -> None:
        turn = net.bus.next(front, order.turn - 1)
        assert turn is not None
        firsts.append(turn.rows.first)
        net.write(front, order.turn)

    progress = Progress(net.written, lambda: net.rows.copy())
    router = Router(
        net.whereabouts, store, TurnWriter(net.bus, tell, progress), history, Replays(history, store, ENDLESS)
    )

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            async with trio.open_nursery() as publishers:
                publishers.start_soon(partial(router.publish, ["all", 3], [b"x", b"y"]))
                await trio.testing.wait_all_tasks_blocked()
                publishers.start_soon(router.replay, [Asked(0, 9, 9, 0, 1), Asked(0, 5, 5, 0, 1)])
                await trio.testing.wait_all_tasks_blocked()
                tasks.start_soon(router.run)
            await trio.testing.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert firsts == [1, 1, 1, 1, 1, REPLAYS, 2] or firsts == [1, 1, 1, 1, 1, 2, REPLAYS]
    assert net.bus.taken_up == 2
