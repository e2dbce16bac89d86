"""The router: takes messages about subjects, finds out who is to have them and where they are, and tells the fronts.

In: batches of (subject, text). Out: how many connections they went to, which is what the clients should see arrive.
What waits goes by turns. A turn has a part of every batch, as much of each as of the others, so that none waits until
another is through; equal subjects of a turn are looked up once (see `server_under_test.routing.audience`). A message to
more connections than a turn has rows for goes on in the next, and one that would need more looking up than a turn may
waits for the next, where another batch is the first. So a turn takes some milliseconds, up to some tens where all
bounds are reached, whatever the subjects are, and others have the processor between two of them. A turn is followed by
a rest that grows with the number of fronts it had to tell, so that under load each is worth its price, and a single
message does not wait.

With a history messages are numbered as they are taken up, and each connection gets them in the order of their numbers,
so that one number says what a client has had. So a message to more connections than a turn has rows for is on its way
as a whole before another one begins. What clients have missed that come back (see `server_under_test.routing.replays`)
is a turn of its own, behind all that was published until then and before all that comes later; a front passes over what
it is to write to such a connection before that.

Bounded: a publisher waits until its batch is on its way, and a turn waits for fronts that are behind, but not for long
(see `server_under_test.routing.turn_writer`). Messages reach a connection at most once, those of a batch in their
order. Fails: Refused, to publishers, when the store can't be read; a front that is gone is told nothing, and its users
are logged out by whoever hears of its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Protocol

import numpy as np
import trio

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing.audience import Audience, find_audience
from floodtest.server_under_test.routing.bus import MESSAGES, REPLAYS, ROWS, UNNUMBERED
from floodtest.server_under_test.routing.history import History
from floodtest.server_under_test.routing.replays import Asked, Replays
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import Ints, Located, TurnWriter
from floodtest.server_under_test.routing.whereabouts import Whereabouts
from floodtest.wire.control import MAX_BATCH, MAX_BATCH_BYTES

TURN_MESSAGES = MESSAGES - MAX_BATCH
TURN_BYTES = 3 * MAX_BATCH_BYTES
"""What the batches of a turn share, messages and bytes of their texts; each has one message at least."""

BATCHES = 64
"""Batches that are open at a time; the bus has room for a message of each beyond the above."""

LOOKED_AT = 1 << 17
"""Rows of the store that are looked at for one turn: a few milliseconds, and as many again in subjects of one block."""


@dataclass(eq=False)
class _Batch:
    """What one publisher waits for."""

    subjects: Sequence[Subject]
    texts: Sequence[bytes]
    sent: int = 0
    """Messages that are on their way as a whole."""
    rest: Located | None = None
    """What is not on its way yet of the message after those."""
    deliveries: int = 0
    error: Refused | None = None
    done: trio.Event = field(default_factory=trio.Event)

    def next_subjects(self, most: int, most_bytes: int) -> Sequence[Subject]:
        """Return the subjects of the next messages, of so many bytes together, but of one at least."""
        if self.rest is not None:
            return ()
        end = first = self.sent
        size = 0
        while end < min(first + most, len(self.texts)) and (end == first or size + len(self.texts[end]) <= most_bytes):
            size += len(self.texts[end])
            end += 1
        return self.subjects[first:end]


class _Turn:
    """A turn while it is made up: its texts, and for each of them its batch and its rows."""

    def __init__(self) -> None:
        self.subjects: list[Subject] = []
        self.texts: list[bytes] = []
        self.is_split = False
        """Whether the last text has rows that are left for the next turn."""
        self.goes_on = False
        """Whether the texts are the rest of one whose first rows were those of an earlier turn."""
        self._parts: list[tuple[Located, Ints]] = []
        self._taken: list[tuple[_Batch, int, int, Located | None]] = []

    def add(self, batch: _Batch, rows: Located, which: Ints, sent: int, rest: Located | None) -> None:
        """Add rows of a batch's next messages, and which of these each is of.

        `sent` of the messages are whole; `rest` are the rows that are left of one more.
        """
        count = sent + (rest is not None)
        self._parts.append((rows, which + len(self.texts)))
        self.subjects += batch.subjects[batch.sent : batch.sent + count]
        self.texts += batch.texts[batch.sent : batch.sent + count]
        self.is_split = rest is not None
        self.goes_on = batch.rest is not None
        self._taken.append((batch, sent, len(rows), rest))

    def columns(self) -> tuple[Located, Ints]:
        """Return the rows, those of a front together and of a connection in order, and which text each is of."""
        front, fd, which, user = (
            np.concatenate(columns)
            for columns in zip(*((rows.front, rows.fd, which, rows.user) for rows, which in self._parts), strict=True)
        )
        rows = Located(front, fd, user)
        order = rows.order(which)
        return rows.at(order), which[order]

    def commit(self) -> int:
        """Let the batches go on behind what was taken of them; return how many messages are sent as a whole."""
        for batch, sent, rows, rest in self._taken:
            batch.sent += sent
            batch.deliveries += rows
            batch.rest = rest
        return sum(sent for _, sent, _, _ in self._taken)


class Publisher(Protocol):
    """What takes messages, and counts what came of them."""

    @property
    def messages(self) -> int:
        """Messages ever routed."""

    @property
    def deliveries(self) -> int:
        """Connections they were sent to."""

    async def publish(self, subjects: Sequence[Subject], texts: Sequence[bytes]) -> int:
        """Send each text to all who are to have it; return how many connections that are."""


class Router:
    """Routes messages; its turns are written by a `TurnWriter`."""

    def __init__(
        self,
        whereabouts: Whereabouts,
        store: Store | None,
        turns: TurnWriter,
        history: History | None = None,
        replays: Replays | None = None,
    ) -> None:
        self._whereabouts = whereabouts
        self._store = store
        self._turns = turns
        self._history = history
        self._replays = replays
        self._publishers, self._waiting = trio.open_memory_channel[_Batch | list[Asked]](0)
        self._batches: list[_Batch] = []
        self._asked: list[Asked] = []
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

    async def replay(self, asked: list[Asked]) -> None:
        """Send connections what their clients have missed; returns when the router knows of it."""
        await self._publishers.send(asked)

    async def run(self) -> None:
        """Route what is published, until cancelled."""
        while True:
            if not (self._batches or self._asked):
                self._take(await self._waiting.receive())
            await self._turns.wait_for_fronts()
            self._receive_waiting()
            for _ in self._whereabouts.catch_up():
                await trio.lowlevel.checkpoint()
            told = 0
            try:
                if self._batches:
                    turn = self._make_turn()
                    await trio.lowlevel.checkpoint()
                    told = await self._send(turn)
            except Refused as error:
                for batch in self._batches:
                    batch.error = error
            self._answer()
            if self._asked and not any(batch.rest is not None for batch in self._batches):
                told += await self._send_replays()
            await self._turns.rest(told)

    def _receive_waiting(self) -> None:
        while len(self._batches) < BATCHES:
            try:
                self._take(self._waiting.receive_nowait())
            except trio.WouldBlock:
                return

    def _take(self, come: _Batch | list[Asked]) -> None:
        if isinstance(come, _Batch):
            self._batches.append(come)
        else:
            self._asked += come

    def _answer(self) -> None:
        """Let publishers go whose batch is on its way, or has failed."""
        for batch in self._batches:
            if batch.error is not None or batch.sent == len(batch.texts):
                batch.done.set()
        left = [batch for batch in self._batches if not batch.done.is_set()]
        self._batches = left[1:] + left[:1]  # so that each is first in its turn, and what it needs is looked up

    def _make_turn(self) -> _Turn:
        """Take a part of every batch, which has at most its share of a turn's rows."""
        batches = self._batches
        if self._history is not None:  # what has begun is on its way before anything else
            batches = [batch for batch in batches if batch.rest is not None] or batches
        count = len(batches)
        wanted = [batch.next_subjects(TURN_MESSAGES // count, TURN_BYTES // count) for batch in batches]
        # The first of each batch, then the second of each: a lookup that is cut off takes from all alike.
        subjects = dict.fromkeys(chain.from_iterable(zip_longest(*wanted)))
        subjects.pop(None, None)
        audience = find_audience(list(subjects), self._store, self._whereabouts, LOOKED_AT)
        place = {subject: number for number, subject in enumerate(audience.subjects)}
        turn = _Turn()
        for batch, of_batch in zip(batches, wanted, strict=True):
            if batch.rest is not None:
                _continue(turn, batch, batch.rest, ROWS // count)
            else:
                _begin(turn, batch, audience, [place.get(subject, -1) for subject in of_batch], ROWS // count)
            if turn.is_split and self._history is not None:
                break
        return turn

    async def _send(self, turn: _Turn) -> int:
        """Write a turn on the bus and tell the fronts; return how many fronts there were to tell."""
        rows, which = turn.columns()
        first = self._number(turn)
        self.messages += turn.commit()
        return await self._write(rows, which, turn.texts, first)

    def _number(self, turn: _Turn) -> int:
        """Number the messages of a turn, and keep them for who comes back; return the number of the first."""
        if self._history is None:
            return UNNUMBERED
        if turn.goes_on:
            return self._history.last
        first = self._history.last + 1
        self._history.add(turn.subjects, turn.texts)
        self._turns.bus.take_up(self._history.last)
        return first

    async def _send_replays(self) -> int:
        """Write a turn that has replays for those who have asked for longest; return how many fronts there were to
        tell.
        """
        assert self._replays is not None  # or no front asks
        texts = await self._replays.make(self._asked, TURN_BYTES)
        asked, self._asked = self._asked[: len(texts)], self._asked[len(texts) :]
        front, fd, user = np.array([(one.front, one.fd, one.user) for one in asked], np.intp).T
        order = np.lexsort((fd, front))
        await self._turns.wait_for_fronts()
        return await self._write(Located(front, fd, user.astype(np.uint32)).at(order), order, texts, REPLAYS)

    async def _write(self, rows: Located, which: Ints, texts: list[bytes], first: int) -> int:
        """Have rows written as a turn; return how many fronts there were to tell."""
        self.deliveries += len(rows)
        return await self._turns.write(rows, which, texts, first)


def _begin(turn: _Turn, batch: _Batch, audience: Audience, places: list[int], share: int) -> None:
    """Take as many of a batch's next messages as have so many rows; of the first one a part, if it has more.

    `places` are their subjects in the audience, -1 for those that were not looked up any more.
    """
    known = places.index(-1) if -1 in places else len(places)
    subject = np.array(places[:known], np.intp)
    first, sizes = audience.cuts[subject], np.diff(audience.cuts)[subject]
    ends = np.cumsum(sizes)
    count = int(np.searchsorted(ends, share, "right"))
    everything = Located(audience.front, audience.fd, audience.user)
    if count == 0 and known:
        whole = everything.at(slice(int(first[0]), int(first[0] + sizes[0])))
        turn.add(batch, whole.at(slice(share)), np.zeros(share, np.intp), 0, whole.at(slice(share, None)))
        return
    first, sizes, ends = first[:count], sizes[:count], ends[:count]
    row = np.arange(int(sizes.sum())) + np.repeat(first - (ends - sizes), sizes)
    turn.add(batch, everything.at(row), np.repeat(np.arange(count), sizes), count, None)


def _continue(turn: _Turn, batch: _Batch, rest: Located, share: int) -> None:
    """Take the next rows of a message that had more than its share."""
    part, rest = rest.at(slice(share)), rest.at(slice(share, None))
    is_whole = not len(rest)
    turn.add(batch, part, np.zeros(len(part), np.intp), int(is_whole), None if is_whole else rest)
