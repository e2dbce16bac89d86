"""Open streams of one front: columns by descriptor, and what is written to them.

Per stream: its user, its last `#n`, its protocol and whether it owes a pong, 10 bytes; what is rare (bytes not written
yet, clients that keep sending, frames of theirs that are not whole) lives in dicts that are empty when all is well. In:
descriptors, registered and non-blocking, and what was read of them. A stream ends when its client goes, does not read,
keeps sending, or breaks the rules of its protocol; each end is counted in the ledger.
"""

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.intake import Intake
from floodtest.flyweight.engine.ledger import Counter
from floodtest.flyweight.engine.outbox import Gone, Outbox
from floodtest.flyweight.engine.sweep import sweep
from floodtest.server_under_test.fronts.accounts import FIRST_STATUS
from floodtest.server_under_test.fronts.partings import Partings
from floodtest.server_under_test.fronts.resuming import COMMENT, Resuming
from floodtest.server_under_test.fronts.websockets import GOING_AWAY_FRAME, PING_FRAME, PONG_SIZE, hear
from floodtest.server_under_test.routing.bus import REPLAYS, Column, Rows
from floodtest.server_under_test.routing.whereabouts import Places
from floodtest.wire.framing.frames import Beginning
from floodtest.wire.protocols import SERVED, WEBSOCKET, Served

_WEBSOCKET = SERVED.index(WEBSOCKET)
_HEARTBEATS = [(place, comment) for place, protocol in enumerate(SERVED) if (comment := protocol.fields(COMMENT))]
"""Places in SERVED of protocols that have comments, and what is sent there as a heartbeat."""


class Streams:
    """The streams of one front, by descriptor."""

    def __init__(
        self,
        intake: Intake,
        outbox: Outbox,
        row: npt.NDArray[Any],
        files_limit: int,
        max_excess: int,
        places: Places,
        partings: Partings,
        resuming: Resuming,
        more_headers: bytes = b"",
        pong_size: int = PONG_SIZE,
    ) -> None:
        """`pong_size`: bytes of a pong that was asked for, which are not counted against `max_excess`."""
        self._pong_size = pong_size
        self._intake = intake
        self._outbox = outbox
        self._places = places
        self._partings = partings
        self._resuming = resuming
        self.more_headers = more_headers
        self._logins, self._dropped, self._cut_off = (Counter(row, name) for name in ("logins", "dropped", "excess"))
        self._open, self._bytes, self._slow = (Counter(row, name) for name in ("open", "bytes", "slow"))
        self._silent = Counter(row, "silent")
        self._deliveries, self._undeliverable = Counter(row, "deliveries"), Counter(row, "undeliverable")
        self._unanswered, self._violations = Counter(row, "unanswered"), row["violations"][0]
        self._max_excess = max_excess
        self._users = np.zeros(files_limit, np.uint32)  # 0 where no stream is open
        self._user_of = self._users.data
        self._numbers = np.zeros(files_limit, np.uint32)
        self._protocols = np.zeros(files_limit, np.uint8)  # places in SERVED
        self._protocol_of = self._protocols.data
        self._owes_pong = np.zeros(files_limit, np.bool_)
        self._excess: dict[int, int] = {}
        self._begun: dict[int, Beginning] = {}
        self.open = 0

    def login(
        self,
        fds: list[int],
        users: list[int],
        protocol: Served,
        keys: Sequence[bytes] = (),
        last_event: bytes | None = None,
    ) -> None:
        """Take over descriptors whose clients ask for streams in a protocol, perhaps with keys, and welcome them; all
        of them come back who name the last event that they have had.
        """
        fields = self._resuming.fields(last_event) if protocol.is_events else b""
        self._places.login(fds, users)
        self._users[fds] = users
        self._numbers[fds] = 0
        self._protocols[fds] = SERVED.index(protocol)
        if protocol is WEBSOCKET:
            self._owes_pong[fds] = False
        self.open += len(fds)
        self._logins.add(len(fds))
        welcomes = protocol.welcomes(users, keys, self.more_headers, fields)
        if last_event is not None:
            at_once = [
                self._resuming.begin(fd, user, protocol, last_event) for fd, user in zip(fds, users, strict=True)
            ]
            welcomes = list(map(b"".join, zip(welcomes, at_once, strict=True)))
        self._leave(self._outbox.write(fds, welcomes))

    def descriptors(self) -> npt.NDArray[np.intp]:
        """Return the descriptors of all streams that are open now."""
        return np.flatnonzero(self._users)

    def take(self, fds: list[int], data: list[bytes]) -> None:
        """Drop what clients have sent, and cut off those who have sent too much; answer what is said on WebSockets."""
        over: list[int] = []
        replies: dict[int, bytes] = {}
        for fd, read in zip(fds, data, strict=True):
            if not self._user_of[fd]:
                continue
            if self._drop(fd, len(read)):
                over.append(fd)
            elif self._protocol_of[fd] == _WEBSOCKET:
                self._hear(fd, read, replies)
        if replies:
            over += self._outbox.write(list(replies), list(replies.values()))
        self._leave(over)

    def _drop(self, fd: int, size: int) -> bool:
        """Count what a client sent after its request; True when that was too much."""
        self._dropped.add(size)
        return self._exceeds(fd, size)

    def charge(self, unsaid: dict[int, int]) -> None:
        """Count what clients sent after their requests besides what they said; cut off whose is too much."""
        self._leave([fd for fd, size in unsaid.items() if size and self._user_of[fd] and self._exceeds(fd, size)])

    def _exceeds(self, fd: int, size: int) -> bool:
        """Add to what a client has sent; True when that was too much."""
        self._excess[fd] = self._excess.get(fd, 0) + size
        if self._excess[fd] <= self._max_excess:
            return False
        self._cut_off.add(1)
        return True

    def _hear(self, fd: int, data: bytes, replies: dict[int, bytes]) -> None:
        """Take in what was said on a WebSocket: add what is to be replied, or bring it to its end."""
        heard = hear(self._begun.pop(fd, None), data)
        if heard.begun is not None:
            self._begun[fd] = heard.begun
        if heard.has_ponged and self._owes_pong[fd]:
            self._owes_pong[fd] = False
            self._give_back(fd, self._pong_size)
        if heard.violation is not None:
            self._violations[heard.violation - FIRST_STATUS] += 1
        if heard.is_over:
            self._part(fd, heard.reply)
        elif heard.reply:
            replies[fd] = heard.reply

    def _give_back(self, fd: int, size: int) -> None:
        """Take for not sent what a client had to send."""
        self._excess[fd] -= size
        if self._excess[fd] <= 0:
            del self._excess[fd]

    def _part(self, fd: int, last: bytes) -> None:
        """Bring a stream to its end in order, or if its client is behind at once."""
        if fd in self._outbox:
            self._leave([fd])
        else:
            self._log_out([fd])
            self._partings.begin(fd, last)

    def ping(self, fds: npt.NDArray[np.intp]) -> None:
        """Ping those of the descriptors that have a WebSocket; cut off those that have not answered the last ping."""
        fds = fds[(self._users[fds] != 0) & (self._protocols[fds] == _WEBSOCKET)]
        silent = self._owes_pong[fds]
        self._unanswered.add(int(silent.sum()))
        self._leave(fds[silent].tolist())
        fds = fds[~silent]
        self._owes_pong[fds] = True
        self._leave(self._outbox.write_to_all(fds.tolist(), PING_FRAME))

    def send_heartbeats(self, fds: npt.NDArray[np.intp]) -> None:
        """Send a comment to those of the descriptors that have a stream of events."""
        fds = fds[self._users[fds] != 0]
        spoken = self._protocols[fds]
        for place, comment in _HEARTBEATS:
            self._leave(self._outbox.write_to_all(fds[spoken == place].tolist(), comment))

    def end(self, over: Iterable[tuple[int, int]]) -> None:
        """Log out the streams of descriptors that have come to an end, each by its errno or `intake.END`."""
        over = [(fd, code) for fd, code in over if self._user_of[fd]]
        self._silent.add(sum(code == errno.ETIMEDOUT for _, code in over))  # its machine did not answer any more
        self._leave(fd for fd, _ in over)

    def write_on(self, fds: Iterable[int]) -> None:
        """Write what is pending for descriptors that may have room now."""
        self._leave(self._outbox.flush(fds))

    def send(self, fds: npt.NDArray[np.intp], text: bytes) -> int:
        """Send a message to those of the descriptors that have a stream; return how many of them were sent it."""
        fds = fds[self._users[fds] != 0]
        if not len(fds):
            return 0
        self._numbers[fds] += 1
        spoken = self._protocols[fds]
        if (spoken == spoken[0]).all():
            self._send_in(SERVED[spoken[0]], fds, text)
        else:
            for place in np.unique(spoken).tolist():
                self._send_in(SERVED[place], fds[spoken == place], text)
        return len(fds)

    def _send_in(self, protocol: Served, fds: npt.NDArray[np.intp], text: bytes) -> None:
        """Send a message to descriptors of one protocol, those that have come to one number at a time."""
        numbers = self._numbers[fds]
        if (numbers == numbers[0]).all():
            self._leave(self._outbox.write_to_all(fds.tolist(), protocol.frame(int(numbers[0]), text)))
            return
        for number in sorted(set(numbers.tolist())):
            self._leave(self._outbox.write_to_all(fds[numbers == number].tolist(), protocol.frame(number, text)))

    def deliver(self, rows: Rows, is_whole: Callable[[], bool]) -> bool:
        """Write messages, each to the stream of its row if that is still the stream of the row's user.

        Rows of one descriptor must stand next to each other; what it gets is written at once, in their order. What a
        stream is given up over counts as undeliverable, and what its replay has as well. False, with nothing written or
        counted, if `is_whole` says, when all has been copied, that the rows were overwritten meanwhile.
        """
        if rows.first == REPLAYS:
            return self._replay(rows, is_whole)
        here = self._users[rows.fds] == rows.users
        if self._resuming:
            here &= ~np.isin(rows.fds, self._resuming.waiting)
        fds, which = rows.fds[here], rows.which[here]
        numbers, framed = self._frame(fds, which, rows)
        if not is_whole():
            return False
        gone = self._write_framed(fds, numbers, framed) if len(fds) else {}
        delivered = len(fds) - int(np.isin(fds, list(gone)).sum()) if gone else len(fds)
        self._deliveries.add(delivered)
        self._undeliverable.add(len(here) - delivered)
        self._leave(gone)
        return True

    def _replay(self, rows: Rows, is_whole: Callable[[], bool]) -> bool:
        """Write replays, each to the stream that waits for it."""
        texts = list(map(bytes, rows.texts_of(rows.which)))
        if not is_whole():
            return False
        written: dict[int, bytes] = {}
        for fd, text in zip(rows.fds.tolist(), texts, strict=True):
            if (missed := self._resuming.missed(fd, text)) is not None:
                self._numbers[fd], written[fd] = missed.frames(SERVED[self._protocols[fd]], int(self._numbers[fd]))
        gone = self._outbox.write(list(written), list(written.values()))
        self._deliveries.add(len(written) - len(gone))
        self._undeliverable.add(len(texts) - len(written) + len(gone))
        self._leave(gone)
        return True

    def give_up_replays(self) -> None:
        """Close the streams that wait for a replay, as it may have been lost; their clients come back."""
        self._leave(self._resuming.waiting)

    def _frame(self, fds: Column, which: Column, rows: Rows) -> tuple[Column, list[bytes]]:
        """Number and frame messages; return the numbers, and the messages as they travel."""
        row = np.arange(len(fds))
        numbers = self._numbers[fds] + (row - np.maximum.accumulate(row * _first_of_each(fds)) + 1).astype(np.uint32)
        texts = rows.texts_of(which)
        ids = self._resuming.ids_of(rows, which)
        spoken = self._protocols[fds]
        if not len(fds) or (spoken == spoken[0]).all():
            return numbers, SERVED[spoken[0] if len(fds) else 0].frames(numbers, texts, ids)
        framed: list[bytes] = [b""] * len(fds)
        for place in np.unique(spoken).tolist():
            rows_of_it = np.flatnonzero(spoken == place)
            places = rows_of_it.tolist()
            some_ids = [ids[at] for at in places] if ids else []
            some = SERVED[place].frames(numbers[rows_of_it], [texts[at] for at in places], some_ids)
            for at, message in zip(places, some, strict=True):
                framed[at] = message
        return numbers, framed

    def _write_framed(self, fds: Column, numbers: Column, framed: list[bytes]) -> Gone:
        """Write messages, those of a stream at once; return whose streams are over."""
        self._numbers[fds] = numbers  # of several of a stream the last one stays
        first = _first_of_each(fds)
        if not first.all():
            ends = [*np.flatnonzero(first).tolist(), len(fds)]
            framed = [b"".join(framed[start:end]) for start, end in pairwise(ends)]
        return self._outbox.write(fds[first].tolist(), framed)

    def _leave(self, over: Iterable[int]) -> None:
        """Close streams that are over; one may be named twice, for two reasons."""
        fds = [fd for fd in dict.fromkeys(over) if self._user_of[fd]]
        if fds:
            self._log_out(fds)
            self._intake.forget(fds)
            sweep(os.close, fds)

    def _log_out(self, fds: list[int]) -> None:
        """Let go of descriptors, which stay open."""
        self._places.logout(fds)
        self._users[fds] = 0
        self.open -= len(fds)
        for fd in fds:
            self._outbox.forget(fd)
            self._excess.pop(fd, None)
            self._begun.pop(fd, None)
            self._resuming.forget(fd)

    def close(self, most: int) -> int:
        """Close up to `most` streams, as the server ends, and return how many there were."""
        fds = self.descriptors()[:most]
        self._leave(self._outbox.write_to_all(fds[self._protocols[fds] == _WEBSOCKET].tolist(), GOING_AWAY_FRAME))
        self._outbox.say_nothing_follows(fds[self._users[fds] != 0].tolist())
        self._leave(fds.tolist())
        return len(fds)

    def publish_counts(self) -> None:
        """Bring the ledger up to date."""
        self._open.set(self.open)
        self._bytes.set(self._outbox.written)
        self._slow.set(self._outbox.slow)


def _first_of_each(fds: Column) -> npt.NDArray[np.bool_]:
    """Return which rows are the first of a descriptor, whose rows stand next to each other."""
    return np.append(True, fds[1:] != fds[:-1])[: len(fds)]
