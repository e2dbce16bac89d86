"""A router whose fronts are played by a test."""

import os

import numpy as np
import trio
import trio.testing

from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter

USERS, FRONTS, FILES = 100, 3, 50


class Net:
    """A router whose fronts are played by a test: what each was told, and what that says."""

    def __init__(self, store: Store | None) -> None:
        self.whereabouts = SharedWhereabouts(USERS, FRONTS, FILES)
        self.bus = SharedBus(FRONTS)
        self.written = np.zeros(FRONTS, np.int64)
        self.rows = np.zeros(FRONTS, np.int64)
        self.told: list[tuple[int, int, list[tuple[int, int, bytes]]]] = []
        self.turn_writer = TurnWriter(self.bus, self._tell, Progress(self.written, lambda: self.rows.copy()))
        self.router = Router(self.whereabouts, store, self.turn_writer)
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


def chunks(*payloads: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads)
