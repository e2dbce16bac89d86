"""The router: takes messages about subjects, finds out who is to have them and where they are, and tells the fronts.

In: batches of (subject, text). Out: how many connections they went to, which is what the clients should see arrive. All
that is waiting goes in one turn: one search in the store, one in the whereabouts, one sort, and a word to each front
that is concerned (see `server_under_test.bus`). A turn is followed by a rest that grows with the number of fronts it
had to tell, so that under load each is worth its price, and a single message does not wait.

Bounded: a publisher waits until its batch is on its way, and a turn waits until the fronts have written the last but
one. Fails: Refused when the store can't be read, to who published; a front that is gone is told nothing, and its users
are logged out by whoever hears of its end.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import trio

from flyweight.errors import Refused
from server_under_test.bus import MESSAGES, ROWS, SLOTS, Bus, Deliver
from server_under_test.limits import MAX_BATCH, MAX_BATCH_BYTES
from server_under_test.subjects import Subject
from server_under_test.subscriptions import Store
from server_under_test.whereabouts import Whereabouts

TURN_MESSAGES = MESSAGES - MAX_BATCH
TURN_BYTES = 3 * MAX_BATCH_BYTES
"""A turn takes no further batch once it has so many messages, or bytes of text: there is room for one more."""

REST = 0.0004
"""Seconds of rest after a turn, for each front it had to tell."""

REST_MAX = 0.025

POLL, POLL_MAX = 0.002, 0.025
"""Seconds between two looks at whether a slot is free: an eighth of the time that it has taken, within these bounds."""

Ints = npt.NDArray[np.intp]


@dataclass
class _Batch:
    """What one publisher waits for."""

    subjects: Sequence[Subject]
    texts: Sequence[bytes]
    deliveries: int = 0
    error: Refused | None = None
    done: trio.Event = field(default_factory=trio.Event)


@dataclass(frozen=True)
class Routes:
    """Deliveries by the column, those of a front together, those of a connection in the order of the messages."""

    messages: int
    """How many messages they are of."""
    front: Ints
    fd: Ints
    user: npt.NDArray[np.uint32]
    which: Ints
    """Index of the message."""

    def of_fronts(self, first: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Cut the rows from `first` to `end` by their fronts; yield (front, first, end)."""
        front = self.front[first:end]
        cuts = np.flatnonzero(np.append(True, front[1:] != front[:-1])) + first
        yield from zip(self.front[cuts].tolist(), cuts.tolist(), [*cuts[1:].tolist(), end], strict=True)


class Router:
    """Routes messages over a bus.

    `tell` sends a front, by its number, what to deliver; `written` has the last turn that each front has written.
    """

    def __init__(
        self,
        whereabouts: Whereabouts,
        store: Store | None,
        bus: Bus,
        tell: Callable[[int, Deliver], Awaitable[object]],
        written: npt.NDArray[np.int64],
    ) -> None:
        self._whereabouts = whereabouts
        self._store = store
        self._bus = bus
        self._tell = tell
        self._written = written
        self._publishers, self._batches = trio.open_memory_channel[_Batch](0)
        self._turn = 0
        self._told: dict[int, list[int]] = {}  # by slot: the fronts of its last turn
        self.messages = 0
        """Messages ever routed."""
        self.deliveries = 0
        """Connections they were sent to."""

    async def publish(self, subjects: Sequence[Subject], texts: Sequence[bytes]) -> int:
        """Send each text to all who are connected and subscribed to its subject, and to the subject itself.

        Returns, once the fronts have been told, to how many connections. A batch has at most MAX_BATCH texts, of
        MAX_BATCH_BYTES in all.
        """
        batch = _Batch(subjects, texts)
        await self._publishers.send(batch)
        await batch.done.wait()
        if batch.error is not None:
            raise batch.error
        return batch.deliveries

    async def run(self) -> None:
        """Route what is published, until cancelled."""
        while True:
            batches = [await self._batches.receive()]
            await self._slot_is_free()
            self._receive_waiting(batches)
            told = await self._route(batches)
            await trio.sleep(min(REST_MAX, told * REST))

    def _receive_waiting(self, batches: list[_Batch]) -> None:
        messages, size = len(batches[0].texts), sum(map(len, batches[0].texts))
        while messages < TURN_MESSAGES and size < TURN_BYTES:
            try:
                batches.append(self._batches.receive_nowait())
            except trio.WouldBlock:
                return
            messages += len(batches[-1].texts)
            size += sum(map(len, batches[-1].texts))

    async def _route(self, batches: list[_Batch]) -> int:
        """Route some batches, as many messages at a time as a turn has room for; return how many words that took."""
        subjects = [subject for batch in batches for subject in batch.subjects]
        texts = [text for batch in batches for text in batch.texts]
        deliveries: list[npt.NDArray[np.intp]] = []
        told = first = 0
        try:
            while first < len(subjects):
                routes = find_routes(subjects[first:], self._store, self._whereabouts)
                told += await self._deliver(routes, texts[first : first + routes.messages])
                deliveries.append(np.bincount(routes.which, minlength=routes.messages))
                first += routes.messages
            self._answer(batches, np.concatenate(deliveries) if deliveries else np.zeros(0, np.intp))
        except Refused as error:
            for batch in batches:
                batch.error = error
        for batch in batches:
            batch.done.set()
        return told

    async def _deliver(self, routes: Routes, texts: list[bytes]) -> int:
        """Send routes on their way, which takes several turns only for a subject that has more than a turn has rows."""
        told = 0
        for first in range(0, len(routes.front), ROWS):
            told += await self._take_turn(routes, first, min(first + ROWS, len(routes.front)), texts)
        self.messages += routes.messages
        self.deliveries += len(routes.which)
        await trio.lowlevel.checkpoint()
        return told

    async def _take_turn(self, routes: Routes, first: int, end: int, texts: list[bytes]) -> int:
        """Make these rows a turn, and tell each front which of them are its own; return how many fronts there were."""
        await self._slot_is_free()
        self._turn += 1
        fds, users, which = routes.fd[first:end], routes.user[first:end], routes.which[first:end]
        self._bus.write(self._turn, fds.astype(np.uint32), users, which.astype(np.uint32), texts)
        fronts = list(routes.of_fronts(first, end))
        self._told[self._turn % SLOTS] = [front for front, _, _ in fronts]
        for front, start, stop in fronts:
            await self._tell(front, Deliver(self._turn, start - first, stop - start, len(texts)))
        return len(fronts)

    async def _slot_is_free(self) -> None:
        """Wait until the fronts have written what is in the slot of the next turn."""
        turn = self._turn + 1 - SLOTS
        fronts = self._told.get(turn % SLOTS, [])
        began = time.monotonic()
        while (self._written[fronts] < turn).any():
            await trio.sleep(min(POLL_MAX, max(POLL, (time.monotonic() - began) / 8)))

    @staticmethod
    def _answer(batches: list[_Batch], deliveries: npt.NDArray[np.intp]) -> None:
        """Give each batch the sum of its messages' deliveries."""
        first = 0
        for batch in batches:
            end = first + len(batch.subjects)
            batch.deliveries = int(deliveries[first:end].sum())
            first = end


def find_routes(subjects: Sequence[Subject], store: Store | None, whereabouts: Whereabouts) -> Routes:
    """Find every connection that a message about each of the subjects has to go to.

    Of as many of the first subjects as have subscribers for one turn, but one at least.
    """
    if store is not None:
        users, counts = store.lookup(subjects, ROWS)
        subjects = subjects[: len(counts)]
    own = [(index, subject) for index, subject in enumerate(subjects) if isinstance(subject, int)]
    own_which = np.array([index for index, _ in own], np.intp)
    own_users = np.array([subject for _, subject in own], np.uint32)
    if store is None:
        which, users = own_which, own_users
    else:
        which = np.repeat(np.arange(len(subjects)), counts)
        itself = np.zeros(len(subjects), np.uint32)
        itself[own_which] = own_users
        others = users != itself[which]  # who subscribed to itself gets a message once
        which = np.concatenate([which[others], own_which])
        users = np.concatenate([users[others], own_users])
    row, front, fd = whereabouts.find(users)
    which = which[row]
    order = np.argsort((front << 48) + (fd << 24) + which)  # there are fewer of each than 2^15, 2^24 and 2^24
    return Routes(len(subjects), front[order], fd[order], users[row][order], which[order])
