"""What comes in on open streams, taken apart by the batch: sums over all of it, and a row for each numbered message.

In: `Reads` of streams that are open, in the order in which they were made. Out: `Received`. Reads that are alike are
parsed once, whoever they came for (a tick sends the same bytes to thousands); those that are stamped messages and
nothing else are taken apart as a matrix; the others one by one. A stream may be cut anywhere: the beginning of a
frame is kept by descriptor until its end has come, for the few that stopped in one; between two frames a stream costs
nothing.

Fails: a stream that breaks its framing, or says that it is over, stands in `Received.over`; nothing else is lost by it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.intake import Reads
from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import Beginning, Framing, decode_all, find_frames
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.mark import EVERYBODY
from floodtest.wire.matrix import PADDING, Ints
from floodtest.wire.messages import Said, Stamped, read_payloads, read_stamped

SAMPLE = 64
KINDS = 8
"""If more than so many of the first reads are different, these are messages to single users, and no ticks."""

MANY = 32
"""Reads that are alike from which on numpy is worth its price."""

MAX_REMEMBERED = 4096
"""Bytes of the longest read that is remembered: a hundred ticks. A server decides how long reads are, and those that
are remembered count as the client's memory."""

REMEMBERED = 64
"""Reads that are remembered."""

Columns = tuple[Ints, Ints, Ints]
Users = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Parsed:
    """What the bytes of a stream held, from the beginning of a frame on."""

    said: Said
    rest: bytes
    """The beginning of a frame that is not whole."""
    ended: bool
    broken: int | None
    """What is wrong with what follows, where it is no frame that is taken: a `Cause`, or an HTTP status."""
    reply: bytes = b""
    """What the peer is owed for it, as `Decoded.reply` has it."""
    pings: int = 0
    ends_timed: bool = False
    """Whether all messages say when they were sent, and the last of them is what came last."""

    @property
    def whole(self) -> bool:
        """Whether the stream goes on with the beginning of a frame."""
        return not (self.rest or self.ended or self.broken)


def parse(framing: Framing, data: bytes, read: Callable[[Sequence[bytes]], Said] = read_payloads) -> Parsed:
    """Take the bytes of one stream apart."""
    decoded, broken = decode_all(framing, data)
    said = read(decoded.payloads)
    times = len(said.stamps) + len(said.sent)
    ends_timed = (
        0 < said.count <= times and not (decoded.rest or decoded.reply) and _is_last(decoded.payloads[-1], data)
    )
    return Parsed(said, decoded.rest, decoded.ended, broken, decoded.reply, decoded.pings, ends_timed)


def _is_last(payload: bytes, data: bytes) -> bool:
    """Whether a stream's bytes end with the last line of a payload, and not with what says nothing, as comments do."""
    return data.rstrip(b"\r\n").endswith(payload.rstrip(b"\r\n").rpartition(b"\n")[2])


def find_stamped(framing: Framing, data: list[bytes]) -> Stamped:
    """Find the reads that are whole stamped messages, one or several each; return their messages."""
    joined = b"".join([*data, PADDING])
    frames = find_frames(framing, joined, np.fromiter(map(len, data), np.int64, len(data)))
    return read_stamped(joined, frames, len(data))


class Received:
    """Sums, and columns of numbered and of stamped messages."""

    def __init__(self, reads: Reads, users: Users | None = None) -> None:
        """Begin with nothing; `users`, by descriptor, get messages with marks."""
        self._users = users
        self.fds: Ints = np.array(reads.fds, np.int64)
        """Descriptor of each read."""
        self.size = reads.size
        """Bytes, framing included."""
        self.count = 0
        """Messages of any kind."""
        self.messages = 0
        """Numbered ones that are no ticks, and are for who has got them."""
        self.misdelivered = 0
        """Messages with marks that are for another user than who has got them; they count as nothing else."""
        self.pings = 0
        self.unreadable = 0
        """Messages that say when they were sent with what is no time."""
        self.ticks: Counter[int] = Counter()
        self.over: dict[int, int] = {}
        """Descriptors whose stream is over, in order, each with the `Cause` or HTTP status that ended it."""
        self._ends_untimed: list[Ints] = []
        self._owed: list[tuple[int, int, bytes]] = []
        """Row of the read, descriptor, and the reply to it."""
        self._numbered: list[Columns] = []
        self._stamped: list[Columns] = []
        self._numbered_rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._stamped_rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._sent_rows: tuple[list[int], list[int]] = ([], [])

    def add(self, found: Parsed, fds: Ints, rows: Ints) -> None:
        """Add what each of the descriptors got, by the read of that row of the batch."""
        if found.reply:
            self.pings += found.pings * len(fds)
            self._owed += zip(rows.tolist(), fds.tolist(), repeat(found.reply), strict=False)
        self.count += found.said.count * len(fds)
        if (found.said.stamps or found.said.sent) and not found.ends_timed:
            self._ends_untimed.append(rows)
        if self._users is None:
            self._add_said(found.said, fds, rows)
        else:
            self._add_marked(found.said, self._users[fds], fds, rows)

    def _add_marked(self, said: Said, users: Users, fds: Ints, rows: Ints) -> None:
        """Add messages with marks, each for those of the `users` whom it is for."""
        for subject in dict.fromkeys(said.subjects):
            of_it = said.only_for(subject)
            if subject == EVERYBODY:
                self._add_said(of_it, fds, rows)
            else:
                rightly = users == subject
                self.misdelivered += len(of_it.numbers) * int(np.count_nonzero(~rightly))
                self._ends_untimed.append(rows[~rightly])
                self._add_said(of_it, fds[rightly], rows[rightly])

    def _add_said(self, said: Said, fds: Ints, rows: Ints) -> None:
        times, width = len(fds), len(said.numbers)
        self.messages += (width - len(said.ticks)) * times
        for number in said.ticks:
            self.ticks[number] += times
        if width == 1 and times >= MANY:
            self._numbered.append((fds, np.full(times, said.numbers[0]), rows << 32))
        elif width:
            for fd, row in zip(fds.tolist(), rows.tolist(), strict=True):
                self._numbered_rows[0].extend([fd] * width)
                self._numbered_rows[1].extend(said.numbers)
                self._numbered_rows[2].extend(range(row << 32, (row << 32) + width))
        for planned, late in said.stamps:
            self._stamped_rows[0].extend(rows.tolist())
            self._stamped_rows[1].extend([planned] * times)
            self._stamped_rows[2].extend([late] * times)
        for sent in said.sent:
            self._sent_rows[0].extend(rows.tolist())
            self._sent_rows[1].extend([sent] * times)
        self.unreadable += said.unreadable * times

    def add_stamped(self, stamped: Stamped, fds: Ints, rows: Ints) -> None:
        """Add stamped messages; `fds` are the descriptors of the reads they were found in, `rows` those reads' rows."""
        self.count += len(stamped.index)
        self.messages += len(stamped.index)
        row = rows[stamped.index]
        self._numbered.append((fds[stamped.index], stamped.number, (row << 32) + stamped.place))
        self._stamped.append((row, stamped.planned, stamped.late))

    def replies(self) -> dict[int, bytes]:
        """Return what descriptors are owed, as their framing has it: of several replies to one the last, so that many
        pings have one answer.
        """
        return {fd: reply for _, fd, reply in sorted(self._owed)}

    def numbered(self) -> Columns:
        """Return columns: descriptor, `#n`, and what ascends with the order in which a descriptor's were read."""
        return _joined(self._numbered, self._numbered_rows)

    def stamped(self) -> Columns:
        """Return columns: row of the read, planned time in ns, and lateness in µs."""
        return _joined(self._stamped, self._stamped_rows)

    def ends_untimed(self) -> Ints:
        """Return rows of reads that had a message with a time, and whose last bytes may be those of something else."""
        return np.concatenate([np.zeros(0, np.int64), *self._ends_untimed])

    def sent(self) -> tuple[Ints, Ints]:
        """Return columns of messages that say when they were sent: row of the read, and the time in ns."""
        rows, sent = (np.array(column, np.int64) for column in self._sent_rows)
        return rows, sent


def _joined(pieces: list[Columns], rows: tuple[list[int], list[int], list[int]]) -> Columns:
    """Put the pieces and the rows below each other."""
    last = [np.array(column, np.int64) for column in rows]
    first, second, third = (np.concatenate([*(piece[at] for piece in pieces), last[at]]) for at in range(3))
    return first, second, third


class Incoming:
    """Takes apart what comes in on the streams of one worker. Which framing a stream has is a byte by descriptor.

    What its messages say of themselves is of one grammar for all. `users` are whose connections they are, by
    descriptor, where that names users; None: all are for who has got them.
    """

    def __init__(
        self, framings: Sequence[Framing], files_limit: int, grammar: Grammar = OURS, users: Users | None = None
    ) -> None:
        self._framings = framings
        self._users = users if grammar.names_users else None
        self._is_matrix = grammar.is_matrix
        self._parse = [partial(parse, framing, read=grammar.reader()) for framing in framings]
        self._framing_of = np.zeros(files_limit, np.uint8)  # places in `framings`
        self._used: set[int] = {0} if len(framings) == 1 else set()
        self._begun: dict[int, Beginning] = {}
        self.parsers = [lru_cache(maxsize=REMEMBERED)(parse_one) for parse_one in self._parse]
        """What parses reads of each framing that many streams may have alike."""

    def begin(self, fds: Sequence[int], framing: Framing) -> None:
        """Take over descriptors whose streams have opened in a framing."""
        if len(self._framings) > 1:
            place = self._framings.index(framing)
            self._framing_of[fds] = place
            self._used.add(place)

    def cut(self, fd: int) -> Cause:
        """Return what it is when a descriptor's connection ends now, and the framing has not said that it would."""
        begun = self._begun.get(fd)
        if begun is None:
            return Cause.CUT
        # What was collected may be nothing but what is passed over, such as a comment that has become whole.
        decoded, _ = decode_all(self._framings[self._framing_of[fd]], bytes(begun.data))
        return Cause.CUT_INSIDE if decoded.rest else Cause.CUT

    def forget(self, fd: int) -> None:
        """Keep no beginning of a frame for a descriptor that is closed."""
        self._begun.pop(fd, None)

    def take(self, reads: Reads) -> Received:
        """Take a batch of reads apart."""
        received = Received(reads, self._users)
        fds, rows = received.fds, np.arange(len(reads))
        if len(self._used) == 1:
            (place,) = self._used
            self._take_framing(place, fds, reads.data, rows, received)
            return received
        framing_of = self._framing_of[fds]
        for place in np.unique(framing_of).tolist():
            rows = np.flatnonzero(framing_of == place)
            self._take_framing(place, fds[rows], [reads.data[row] for row in rows.tolist()], rows, received)
        return received

    def hear(self, fd: int, heard: Sequence[tuple[int, Said]]) -> tuple[Reads, Received]:
        """Return as reads, and as what was in them, what a descriptor has been told before its stream was taken over,
        each with its time in ns.
        """
        reads = Reads()
        for read_ns, _ in heard:
            reads.add([fd], [b""], read_ns, read_ns)
        received = Received(reads, self._users)
        for row, (_, said) in enumerate(heard):
            received.add(Parsed(said, b"", ended=False, broken=None), np.array([fd]), np.array([row]))
        return reads, received

    def _take_framing(self, place: int, fds: Ints, data: list[bytes], rows: Ints, received: Received) -> None:
        """Take apart reads of streams of one framing; `rows` are their places in the batch."""
        stamped, parsed = self._parse_all(place, data)
        irregular = self._irregular(fds, parsed)
        is_irregular = np.isin(fds, list(irregular)) if irregular else np.zeros(len(fds), bool)
        for found, indexes in parsed:
            if irregular:
                indexes = indexes[~is_irregular[indexes]]
            if len(indexes) == len(fds):
                received.add(found, fds, rows)
            elif len(indexes):
                received.add(found, fds[indexes], rows[indexes])
        if stamped is not None:
            received.add_stamped(stamped.only(~is_irregular[stamped.index]) if irregular else stamped, fds, rows)
        for index in np.flatnonzero(is_irregular).tolist():
            self._go_on(place, int(fds[index]), int(rows[index]), data[index], received)

    def _parse_all(self, place: int, data: list[bytes]) -> tuple[Stamped | None, list[tuple[Parsed, Ints]]]:
        """Parse reads; return those that are stamped messages, and the others with the indexes of each kind."""
        if not self._is_matrix or len(set(data[:SAMPLE])) <= KINDS:
            return None, [(self._parse_alike(place, one), indexes) for one, indexes in _kinds(data).items()]
        stamped = find_stamped(self._framings[place], data)
        others = np.ones(len(data), bool)
        others[stamped.index] = False
        return stamped, [
            (self._parse[place](data[index]), np.array([index])) for index in np.flatnonzero(others).tolist()
        ]

    def _parse_alike(self, place: int, data: bytes) -> Parsed:
        """Parse a read that many streams may have had: a short one only once."""
        return self.parsers[place](data) if len(data) <= MAX_REMEMBERED else self._parse[place](data)

    def _irregular(self, fds: Ints, parsed: list[tuple[Parsed, Ints]]) -> set[int]:
        """Return the descriptors whose reads can't be judged one without the other: those of a stream that is, or gets,
        in the middle of a frame, or that ends.
        """
        irregular = self._begun.keys() & set(fds.tolist()) if self._begun else set()
        for found, indexes in parsed:
            if not found.whole:
                irregular.update(fds[indexes].tolist())
        return irregular

    def _go_on(self, place: int, fd: int, row: int, data: bytes, received: Received) -> None:
        """Take apart one read of an irregular stream."""
        if fd in received.over:
            received.size -= len(data)  # what was read before has ended the stream
            return
        begun = self._begun.get(fd)
        if begun is not None:
            whole = begun.add(data)
            if whole is None:
                return
            data = whole
            if begun.is_over:
                del self._begun[fd]
        found = self._parse[place](data)
        received.add(found, np.array([fd]), np.array([row]))
        if found.broken or found.ended:
            received.over[fd] = found.broken or Cause.FINISHED
        elif found.rest:
            self._begun[fd] = self._framings[place].beginning(found.rest)


def _kinds(data: list[bytes]) -> dict[bytes, Ints]:
    """Group the indexes of reads by their bytes."""
    if data.count(data[0]) == len(data):
        return {data[0]: np.arange(len(data))}
    kinds: dict[bytes, list[int]] = {}
    for index, read in enumerate(data):
        kinds.setdefault(read, []).append(index)
    return {read: np.array(indexes) for read, indexes in kinds.items()}
