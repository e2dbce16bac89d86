"""What clients have missed that come back: messages of the history about all that their users subscribed to, in order.

In: requests of fronts (`Asked`), each with the number of the last message that a client has had. Out: a `Replay` for
each, encoded, which is one row of a turn. It has all that is kept of the user's subjects behind that number, oldest
first, or as many of the newest as `most` bytes hold; and it says whether anything is missing, or may be, as where the
number is none of this server's life.

The store tells who subscribed to a subject, not to what a user subscribed, so that what is looked up are the subjects
that were published to since, newest first. Bounded: at most `SUBJECTS` of them in one go, for all requests that wait;
where there are more, what is not looked up counts as lost. Other tasks have a turn after each `LOOKUPS` of them. Cost:
2 µs a subject, and some microseconds a message that is replayed. Fails: nothing; where the store can't be read, users
get what was published to themselves, and that something may be missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice

import msgspec
import numpy as np
import trio

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing.blocks import Users
from floodtest.server_under_test.routing.bus import Replay
from floodtest.server_under_test.routing.history import History, Message
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store

SUBJECTS = 1 << 14
"""Subjects that are looked up in one go, which takes some 50 ms."""

REQUESTS = 1024
"""Requests that are answered in one go."""

LOOKUPS = 1000
"""Subjects that are looked up before others have a turn."""

FRAMING = 64
"""Bytes of a message besides its text as a front writes it, and as it is encoded here."""


@dataclass(frozen=True)
class Asked:
    """A request for what the client of a connection has missed."""

    front: int
    fd: int
    user: int
    last: int
    """The number of the last message that it has had; below 0: unknown, so that all that is kept is missed."""
    token: int


@dataclass
class _Subscribed:
    """What some users subscribed to, of all that was published behind a number."""

    by_user: dict[int, list[Subject]]
    complete_behind: int
    """What was published up to this number may have been about further subjects of theirs."""


class Replays:
    """Makes replays of a history."""

    def __init__(self, history: History, store: Store | None, most: int) -> None:
        self._history = history
        self._store = store
        self._most = most
        self.made = 0
        """Replays that were made."""
        self.messages = 0
        """Messages in them."""
        self.lost = 0
        """Those of the replays from which something was missing, or may have been."""

    async def make(self, asked: Sequence[Asked], most: int) -> list[bytes]:
        """Return the replays of the first few requests, of `most` bytes together but of one at least."""
        asked = asked[:REQUESTS]
        subscribed = await self._look_up(asked)
        found: list[bytes] = []
        size = 0
        for one in asked:
            replay = msgspec.msgpack.encode(self._replay(one, subscribed))
            size += len(replay)
            if found and size > most:
                break
            found.append(replay)
            await trio.lowlevel.checkpoint()
        return found

    def _since(self, one: Asked) -> int:
        """Return the number behind which messages are missed: 0 where it is not known."""
        return one.last if 0 <= one.last <= self._history.last else 0

    async def _look_up(self, asked: Sequence[Asked]) -> _Subscribed:
        """Find out to which subjects published since their users subscribed, themselves included."""
        users = sorted({one.user for one in asked})
        found = _Subscribed({user: [user] for user in users}, self._history.forgotten)
        if self._store is None:
            return found
        column = np.array(users, np.uint32)
        published = self._history.published_behind(min(map(self._since, asked)))
        subjects = [subject for subject, _ in islice(published, SUBJECTS)]
        for _, last in islice(published, 1):
            found.complete_behind = last
        try:
            for first in range(0, len(subjects), LOOKUPS):
                for subject, user in _subscriptions(self._store, subjects[first : first + LOOKUPS], column):
                    if subject != user:
                        found.by_user[user].append(subject)
                await trio.lowlevel.checkpoint()
        except Refused:
            found.complete_behind = self._history.last
        return found

    def _replay(self, one: Asked, subscribed: _Subscribed) -> Replay:
        since = self._since(one)
        is_lost = since != one.last or (self._store is not None and since < subscribed.complete_behind)
        rings: list[Iterator[Message]] = []
        for subject in subscribed.by_user[one.user]:
            messages, is_incomplete = self._history.behind(subject, since)
            is_lost |= is_incomplete
            rings.append(reversed(messages))
        newest_first: list[Message] = []
        size = 0
        for message in merge(*rings, key=lambda message: -message.number):
            size += FRAMING + len(message.text)
            if size > self._most:
                is_lost = True
                break
            newest_first.append(message)
        kept = newest_first[::-1]
        self.made += 1
        self.messages += len(kept)
        self.lost += is_lost
        before = kept[0].number - 1 if kept else self._history.last
        return Replay(one.token, is_lost, before, [each.number for each in kept], [each.text for each in kept])


def _subscriptions(store: Store, subjects: Sequence[Subject], users: Users) -> Iterator[tuple[Subject, int]]:
    """Yield those subjects to which some users (ascending) subscribed, and which of the users; Refused."""
    found = store.lookup(subjects)
    among = np.flatnonzero(np.isin(found.users, users))
    at = np.searchsorted(np.cumsum(found.counts), among, "right")
    for place, user in zip(at.tolist(), found.users[among].tolist(), strict=True):
        yield subjects[place], user
    for place in found.large:
        for user in store.subscribers_among(users, subjects[place]).tolist():
            yield subjects[place], user
