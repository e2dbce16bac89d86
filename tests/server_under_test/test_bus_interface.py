"""server_under_test.routing.bus and whereabouts, the interfaces: a router and fronts do the same on whatever has them.

What is asked for in the interfaces is all that a router and a front need, so that the plain kind in `tests.rigs.buses`
does, which is written after them, and it leads to the same deliveries as the shared memory of this machine.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.routing.bus import Deliver, FrontBus, RouterBus
from floodtest.server_under_test.routing.bus_reader import Reader
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from floodtest.server_under_test.routing.whereabouts import Places, Whereabouts
from tests.rigs.buses import PlainBus, PlainWhereabouts

FRONTS, FILES, USERS = 3, 40, 30

Delivery = tuple[int, int, int, bytes]
"""Front, descriptor, user, text."""


class Fronts:
    """Readers of a bus, which keep what they find; one that stands still reads when it is woken."""

    def __init__(self, bus: FrontBus, ledger: Ledger) -> None:
        self._readers = [Reader(bus, front, ledger.row(front)) for front in range(FRONTS)]
        self.found: list[Delivery] = []
        self.still: set[int] = set()

    def tell(self, front: int, order: Deliver) -> None:
        self._readers[front].begin(order)
        if front not in self.still:
            self._read(front)

    def wake(self) -> None:
        for front in sorted(self.still):
            self._read(front)
        self.still.clear()

    def _read(self, front: int) -> None:
        reader = self._readers[front]
        while reader.under_way and (turn := reader.next()) is not None:
            rows = turn.rows
            for fd, user, text in zip(rows.fds.tolist(), rows.users.tolist(), rows.texts_of(rows.which), strict=True):
                self.found.append((front, fd, user, bytes(text)))
            reader.deal_with(len(rows.fds))
            reader.finish(turn)


@contextmanager
def kind(name: str) -> Iterator[tuple[RouterBus, FrontBus, Whereabouts, list[Places]]]:
    """Both ends of a bus and of whereabouts: the router's, each front's."""
    if name == "plain":
        plain, known = PlainBus(FRONTS), PlainWhereabouts()
        yield plain, plain, known, [known.of_front(front) for front in range(FRONTS)]
        return
    bus, whereabouts = SharedBus(FRONTS), SharedWhereabouts(USERS, FRONTS, FILES)
    fronts = SharedBus(FRONTS, bus.descriptor)
    yield bus, fronts, whereabouts, [whereabouts.of_front(front) for front in range(FRONTS)]
    os.close(bus.descriptor)
    os.close(whereabouts.descriptor)


async def scene(name: str, store: Store, random: Random) -> tuple[list[int], list[Delivery]]:
    """Log people in and out, and publish; return what publishers were told, and what the fronts found."""
    told, connected = [], dict[tuple[int, int], int]()
    ledger = Ledger(FRONT_LEDGER, FRONTS)
    with kind(name) as (bus, fronts_bus, whereabouts, places):
        fronts = Fronts(fronts_bus, ledger)
        rows = ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        router = Router(whereabouts, store, TurnWriter(bus, fronts.tell, progress))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(router.run)
            for _ in range(60):
                front, fd = random.randrange(FRONTS), random.randrange(FILES)
                if (front, fd) in connected:
                    places[front].logout([fd])
                    del connected[front, fd]
                else:
                    connected[front, fd] = random.randint(1, USERS)
                    places[front].login([fd], [connected[front, fd]])
                fronts.still.add(random.randrange(FRONTS))
                subjects = [random.randint(1, USERS) for _ in range(random.randint(1, 5))]
                told.append(await router.publish(subjects, [b"%d" % random.randrange(10**6) for _ in subjects]))
                if random.random() < 0.3:
                    fronts.wake()
            fronts.wake()
            tasks.cancel_scope.cancel()
        assert int(ledger.total("undeliverable")) == 0
        assert router.deliveries == sum(told) == len(fronts.found)
    os.close(ledger.descriptor)
    return told, fronts.found


@pytest.mark.parametrize("seed", range(3))
def test_a_router_and_fronts_do_the_same_on_any_bus(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions([(random.randint(1, USERS), random.randint(1, USERS)) for _ in range(100)])
        clock = trio.testing.MockClock(autojump_threshold=0)
        told, found = trio.run(scene, "shared", store, Random(seed), clock=clock)
        clock = trio.testing.MockClock(autojump_threshold=0)
        told_plain, found_plain = trio.run(scene, "plain", store, Random(seed), clock=clock)
    assert told_plain == told
    assert sum(told) > 50
    assert by_connection(found_plain) == by_connection(found)


def by_connection(found: list[Delivery]) -> dict[tuple[int, int], list[tuple[int, bytes]]]:
    """Return what each connection gets, in its order."""
    counted = Counter(found)
    assert max(counted.values()) == 1
    result: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    for front, fd, user, text in found:
        result.setdefault((front, fd), []).append((user, text))
    return result
