"""Open streams of one front: two columns by descriptor, and what is written to them.

Per stream: its user and its last `#n`, 8 bytes; what is rare (bytes not written yet, HTTP/1.0, clients that keep
sending) lives in dicts that are empty when all is well. In: descriptors, registered and non-blocking. A stream ends
when its client goes, does not read, or keeps sending; each end is counted in the ledger.
"""

import errno
import os
from collections.abc import Callable, Iterable
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.ledger import Counter
from floodtest.flyweight.engine.outbox import Outbox
from floodtest.flyweight.engine.readiness import PLAIN
from floodtest.flyweight.engine.sweep import sweep, without
from floodtest.server_under_test.routing.bus import Column, Rows
from floodtest.server_under_test.routing.whereabouts import Places
from floodtest.wire import answers
from floodtest.wire.framing import chunked as chunks

READ_SIZE = 448
MORE = 1 << 16


class Streams:
    """The streams of one front, by descriptor."""

    def __init__(
        self, outbox: Outbox, row: npt.NDArray[Any], files_limit: int, max_excess: int, places: Places
    ) -> None:
        self._outbox = outbox
        self._places = places
        self._logins, self._dropped, self._cut_off = (Counter(row, name) for name in ("logins", "dropped", "excess"))
        self._open, self._bytes, self._slow = (Counter(row, name) for name in ("open", "bytes", "slow"))
        self._silent = Counter(row, "silent")
        self._deliveries, self._undeliverable = Counter(row, "deliveries"), Counter(row, "undeliverable")
        self._max_excess = max_excess
        self._users = np.zeros(files_limit, np.uint32)  # 0 where no stream is open
        self._user_of = self._users.data
        self._numbers = np.zeros(files_limit, np.uint32)
        self._unchunked: set[int] = set()
        self._excess: dict[int, int] = {}
        self.open = 0

    def login(self, fds: list[int], users: list[int], first_bytes: list[bytes]) -> None:
        """Take over descriptors and write the first bytes of their answers."""
        self._places.login(fds, users)
        self._users[fds] = users
        self._numbers[fds] = 0
        self.open += len(fds)
        self._logins.add(len(fds))
        self._leave(self._outbox.write(fds, first_bytes))

    def login_unchunked(self, fd: int, user: int, first_bytes: bytes) -> None:
        """The same for a client of HTTP/1.0, whose stream has no framing."""
        self._unchunked.add(fd)
        self.login([fd], [user], [first_bytes])

    def descriptors(self) -> npt.NDArray[np.intp]:
        """Return the descriptors of all streams that are open now."""
        return np.flatnonzero(self._users)

    def handle(self, events: list[tuple[int, int]]) -> None:
        """Read and drop what clients send, notice who has gone, and write on where there is room again."""
        fds = [fd for fd, event in events if event == PLAIN]
        read, failed = sweep(os.read, fds, repeat(READ_SIZE))
        gone = [fds[index] for index, error in failed.items() if error != errno.EAGAIN]
        if failed:
            self._count_silent(failed.values())
            fds, read = without(failed, fds, read)
        for fd, data in zip(fds, read, strict=True):
            if not data or self.drop(fd, len(data)) or (len(data) == READ_SIZE and not self._drain(fd)):
                gone.append(fd)
        odd = [fd for fd, event in events if event != PLAIN]
        gone += [fd for fd in odd if not self._drain(fd)]
        self._leave(gone)
        self._leave(self._outbox.flush(odd))

    def _drain(self, fd: int) -> bool:
        """Read and drop until nothing is left; False when the stream is over."""
        while self._user_of[fd]:
            try:
                data = os.read(fd, MORE)
            except OSError as error:
                self._count_silent([error.errno])
                return error.errno == errno.EAGAIN
            if not data or self.drop(fd, len(data)):
                return False
        return True

    def _count_silent(self, errors: Iterable[int | None]) -> None:
        """Count the connections that the kernel ended since the client's machine did not answer any more."""
        self._silent.add(sum(error == errno.ETIMEDOUT for error in errors))

    def go_on(self, fd: int, extra: int) -> None:
        """Take up a stream whose client had sent `extra` bytes after its request, and may have sent more."""
        if not self._user_of[fd]:
            return  # its client went before it was answered
        if extra and self.drop(fd, extra):
            self._leave([fd])
        else:
            self.handle([(fd, 0)])

    def drop(self, fd: int, size: int) -> bool:
        """Count what a client sent after its request; True when that was too much."""
        self._dropped.add(size)
        self._excess[fd] = self._excess.get(fd, 0) + size
        if self._excess[fd] <= self._max_excess:
            return False
        self._cut_off.add(1)
        return True

    def send(self, fds: npt.NDArray[np.intp], text: bytes) -> int:
        """Send a message to those of the descriptors that have a stream; return how many of them were sent it."""
        fds = fds[self._users[fds] != 0]
        if not len(fds):
            return 0
        self._numbers[fds] += 1
        numbers = self._numbers[fds]
        if (numbers == numbers[0]).all():
            self._send_numbered(fds.tolist(), int(numbers[0]), text)
        else:
            for number in sorted(set(numbers.tolist())):
                self._send_numbered(fds[numbers == number].tolist(), number, text)
        return len(fds)

    def _send_numbered(self, fds: list[int], number: int, text: bytes) -> None:
        payload = answers.message(number, text)
        chunk = chunks.encode(payload)
        if self._unchunked:
            self._leave(self._outbox.write(fds, [payload if fd in self._unchunked else chunk for fd in fds]))
        else:
            self._leave(self._outbox.write_to_all(fds, chunk))

    def deliver(self, rows: Rows, is_whole: Callable[[], bool]) -> bool:
        """Write messages, each to the stream of its row if that is still the stream of the row's user.

        Rows of one descriptor must stand next to each other; what it gets is written at once, in their order. What a
        stream is given up over counts as undeliverable. False, with nothing written or counted, if `is_whole` says,
        when all has been copied, that the rows were overwritten meanwhile.
        """
        here = self._users[rows.fds] == rows.users
        fds, which = rows.fds[here], rows.which[here]
        numbers, framed = self._frame(fds, which, rows)
        if not is_whole():
            return False
        gone = self._write_framed(fds, numbers, framed) if len(fds) else []
        delivered = len(fds) - int(np.isin(fds, gone).sum()) if gone else len(fds)
        self._deliveries.add(delivered)
        self._undeliverable.add(len(here) - delivered)
        self._leave(gone)
        return True

    def _frame(self, fds: Column, which: Column, rows: Rows) -> tuple[Column, list[bytes]]:
        """Number and frame messages; return the numbers, and the messages as they travel."""
        row = np.arange(len(fds))
        numbers = self._numbers[fds] + (row - np.maximum.accumulate(row * _first_of_each(fds)) + 1).astype(np.uint32)
        texts = rows.texts_of(which)
        framed = answers.chunked_messages(numbers, texts)
        if self._unchunked:
            for at in [at for at, fd in enumerate(fds.tolist()) if fd in self._unchunked]:
                framed[at] = answers.message_line(int(numbers[at]), bytes(texts[at]))
        return numbers, framed

    def _write_framed(self, fds: Column, numbers: Column, framed: list[bytes]) -> list[int]:
        """Write messages, those of a stream at once; return whose streams are over."""
        self._numbers[fds] = numbers  # of several of a stream the last one stays
        first = _first_of_each(fds)
        if not first.all():
            ends = [*np.flatnonzero(first).tolist(), len(fds)]
            framed = [b"".join(framed[start:end]) for start, end in pairwise(ends)]
        return self._outbox.write(fds[first].tolist(), framed)

    def _leave(self, fds: list[int]) -> None:
        """Close streams that are over; one may be named twice, for two reasons."""
        fds = [fd for fd in dict.fromkeys(fds) if self._user_of[fd]]
        if fds:
            self._places.logout(fds)
            self._users[fds] = 0
            self.open -= len(fds)
            for fd in fds:
                self._outbox.forget(fd)
                self._unchunked.discard(fd)
                self._excess.pop(fd, None)
            sweep(os.close, fds)

    def close(self, most: int) -> int:
        """Close up to `most` streams and return how many there were."""
        fds = self.descriptors()[:most].tolist()
        self._leave(fds)
        return len(fds)

    def publish_counts(self) -> None:
        """Bring the ledger up to date."""
        self._open.set(self.open)
        self._bytes.set(self._outbox.written)
        self._slow.set(self._outbox.slow)


def _first_of_each(fds: Column) -> npt.NDArray[np.bool_]:
    """Return which rows are the first of a descriptor, whose rows stand next to each other."""
    return np.append(True, fds[1:] != fds[:-1])[: len(fds)]
