"""What was published lately, by subject: a ring of messages for each, so that a client that comes back gets what it
has missed.

In: the subjects and texts that the router takes up, in the order in which it does; each has the next number, one count
for all subjects. Out: what is kept of a subject behind a number, and up to which number some of it was dropped. A ring
has at most `count` messages, `size` bytes, and none that is older than `age`; the rings together have at most `total`
bytes, past which those lose their oldest messages that were published to longest ago. Of a ring that has lost all its
messages the number of the last one is remembered as long as there is room for that, and of those that are forgotten the
highest such number: what is older than that may have been lost for any subject.

Cost: some microseconds a message. Bytes are those of texts, names and the objects that hold them, as `MESSAGE` and
`SUBJECT` count them. Fails: nothing here does.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from floodtest.server_under_test.limits import HistoryBounds
from floodtest.server_under_test.routing.subjects import Subject

MESSAGE = 150
"""Bytes of a message besides its text: a tuple, its numbers, an object for the text, and a place in a list."""

SUBJECT = 320
"""Bytes of a subject besides its name: an entry in an ordered dict, a ring and its list."""


class Message(NamedTuple):
    """A message that is kept."""

    number: int
    time: float
    """When it was taken up, in seconds of the history's clock."""
    text: bytes

    @property
    def size(self) -> int:
        return MESSAGE + len(self.text)


@dataclass(slots=True)
class _Ring:
    """What is kept of one subject, oldest first."""

    dropped: int
    """The number of the last message that was dropped; 0: none was."""
    messages: list[Message] = field(default_factory=list)
    size: int = 0

    def drop(self, count: int) -> int:
        """Drop the oldest messages; return how many bytes they had."""
        gone = self.messages[:count]
        size = sum(message.size for message in gone)
        self.dropped = gone[-1].number
        self.size -= size
        del self.messages[:count]
        return size


class History:
    """The rings of all subjects."""

    def __init__(self, bounds: HistoryBounds, size: int, clock: Callable[[], float]) -> None:
        """Keep what `bounds` say, and of one subject at most `size` bytes."""
        assert bounds.count is not None
        self._count, self._size, self._age, self._total = bounds.count, size, bounds.age, bounds.total
        self._clock = clock
        self._rings: OrderedDict[Subject, _Ring] = OrderedDict()  # by their last number, ascending
        self._emptied: OrderedDict[Subject, int] = OrderedDict()  # the last number of each, ascending
        self.forgotten = 0
        """The last number of those subjects that nothing is known of any more."""
        self.last = 0
        """The number of the last message."""
        self.messages = 0
        """How many are kept."""
        self.size = 0
        """Bytes of all that is kept."""

    @property
    def subjects(self) -> int:
        """How many subjects have messages that are kept."""
        return len(self._rings)

    def add(self, subjects: Sequence[Subject], texts: Sequence[bytes]) -> None:
        """Keep messages, and number them."""
        now = self._clock()
        for subject, text in zip(subjects, texts, strict=True):
            self.last += 1
            self._add(subject, Message(self.last, now, text))
        self.expire()
        while self.size > self._total and (self._emptied or self._rings):
            self._make_room()

    def _add(self, subject: Subject, message: Message) -> None:
        ring = self._rings.get(subject)
        if ring is None:
            known = self._emptied.pop(subject, None)
            ring = self._rings[subject] = _Ring(self.forgotten if known is None else known)
            self.size += 0 if known is not None else _size_of(subject)
        else:
            self._rings.move_to_end(subject)
        ring.messages.append(message)
        ring.size += message.size
        self.messages += 1
        self.size += message.size
        self._shorten(ring, message.time)

    def _shorten(self, ring: _Ring, now: float) -> None:
        """Drop what a ring has beyond its bounds."""
        count, size = max(0, len(ring.messages) - self._count), ring.size
        for message in ring.messages[:count]:
            size -= message.size
        while count < len(ring.messages) and (size > self._size or ring.messages[count].time < now - self._age):
            size -= ring.messages[count].size
            count += 1
        if count:
            self._drop(ring, count)

    def _drop(self, ring: _Ring, count: int) -> None:
        self.size -= ring.drop(count)
        self.messages -= count

    def expire(self) -> None:
        """Drop the messages of subjects about which nothing was published for too long, or nothing is kept."""
        now = self._clock()
        while self._rings:
            subject, ring = next(iter(self._rings.items()))
            if ring.messages and ring.messages[-1].time >= now - self._age:
                return
            if ring.messages:
                self._drop(ring, len(ring.messages))
            self._empty(subject)

    def _empty(self, subject: Subject) -> None:
        """Remember of a subject without messages the last number only."""
        self._emptied[subject] = self._rings.pop(subject).dropped

    def _make_room(self) -> None:
        """Forget something of the subject that was published to longest ago."""
        if self._emptied:
            subject, self.forgotten = self._emptied.popitem(last=False)
            self.size -= _size_of(subject)
            return
        subject, ring = next(iter(self._rings.items()))
        if ring.messages:
            self._drop(ring, 1)
        if not ring.messages:
            self._empty(subject)

    def published_behind(self, number: int) -> Iterator[tuple[Subject, int]]:
        """Yield the subjects with messages behind a number, kept or dropped, and the last number of each, descending;
        those that are forgotten are not among them.
        """
        rings = ((subject, _last_of(ring)) for subject, ring in reversed(self._rings.items()))
        for subject, last in chain(rings, reversed(self._emptied.items())):
            if last <= number:
                return
            yield subject, last

    def behind(self, subject: Subject, number: int) -> tuple[list[Message], bool]:
        """Return what is kept of a subject behind a number, oldest first, and whether any of it was dropped, or may
        have been.
        """
        ring = self._rings.get(subject)
        if ring is None:
            return [], self._emptied.get(subject, self.forgotten) > number
        self._shorten(ring, self._clock())
        return [message for message in ring.messages if message.number > number], ring.dropped > number


def _last_of(ring: _Ring) -> int:
    return ring.messages[-1].number if ring.messages else ring.dropped


def _size_of(subject: Subject) -> int:
    return SUBJECT + (0 if isinstance(subject, int) else 4 * len(subject))
