"""Streams: what comes in on descriptors, from the first byte of an answer to the end of the stream. No trio here.

Reads are swept by the batch, and what was read is grouped by its bytes: a tick sends the same bytes to thousands, so
they are parsed once, whoever they came for. An answer is recognised by comparing it with what the last one of its kind
taught (see `flyweight.http`); whatever differs is parsed in full. Between two chunks a stream keeps nothing but its
entry in two columns (row and last `#n`, 8 bytes); `partial` holds the bytes of the few that stopped in mid-chunk.
"""

import errno
import os
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat

import numpy as np

from flyweight import chunks, http
from flyweight.readiness import PLAIN, READ, Readiness
from flyweight.sweep import sweep, without
from loadgen.accounts import END_OF_STREAM, Accounts, Phase

_NOW = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no seconds."""

READ_SIZE = 448
"""Bytes of a first read: a small bytes object comes from Python's own allocator (512 at most) and is the cheapest."""

MORE = 1 << 16
"""Bytes of each further read of a descriptor that had more."""

READS = 16
"""Further reads of one descriptor before the others have their turn."""

DIGEST = 1024
"""Reads that are put aside before they are looked at: it costs a fixed price, whether for ten or for a thousand."""

_NUMBERED = re.compile(rb"Recvd msg #(\d{1,9}): (?:tick (\d{1,18})\b)?")


@dataclass(frozen=True)
class Messages:
    """What the bytes of a stream held, from the beginning of a chunk on."""

    count: int
    numbers: tuple[int, ...]
    """`#n` of the numbered messages."""
    consecutive: bool
    ticks: tuple[int, ...]
    rest: bytes
    """The beginning of a chunk that is not whole."""
    ended: bool
    broken: bool
    """What follows is no chunk."""


@lru_cache(maxsize=64)
def read_messages(data: bytes) -> Messages:
    """Decode the chunks in `data` and the numbers in them."""
    broken = False
    try:
        decoded = chunks.decode(data)
    except chunks.ChunkError as error:
        decoded = chunks.Decoded(error.payloads, b"", ended=False)
        broken = True
    found = [match for match in map(_NUMBERED.match, decoded.payloads) if match]
    numbers = tuple(int(match[1]) for match in found)
    consecutive = numbers == tuple(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    ticks = tuple(int(match[2]) for match in found if match[2])
    return Messages(len(decoded.payloads), numbers, consecutive, ticks, decoded.rest, decoded.ended, broken)


class NotOpened(Exception):
    """An answer that does not open the connection; `code` is an errno, an HTTP status or END_OF_STREAM."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def after_welcome(data: bytes, user: bytes) -> bytes | None:
    """Return what follows the head and the chunk that names the user; None if they are not whole yet.

    NotOpened: a status other than 200 (that status), no HTTP or no chunked body (EPROTO), a first chunk without the
    user's id (EBADMSG), a body that ended (END_OF_STREAM).
    """
    try:
        parsed = http.parse_response(data)
        if parsed is None:
            return None
        response, body = parsed
        if response.status != 200:
            raise NotOpened(response.status)
        if not response.chunked:
            raise NotOpened(errno.EPROTO)
        decoded = chunks.decode(body, most=1)
    except (http.HeadError, chunks.ChunkError) as error:
        raise NotOpened(errno.EPROTO) from error
    if decoded.ended:
        raise NotOpened(END_OF_STREAM)
    if not decoded.payloads:
        return None
    if not any(_whole_number(user, decoded.payloads[0])):
        raise NotOpened(errno.EBADMSG)
    return decoded.rest


def _whole_number(user: bytes, text: bytes) -> Iterator[re.Match[bytes]]:
    return re.finditer(rb"(?<!\d)%b(?!\d)" % user, text)


def _by_bytes(fds: list[int], read: list[bytes]) -> dict[bytes, list[int]]:
    """Group descriptors by what was read from them."""
    if read and read.count(read[0]) == len(read):
        return {read[0]: fds}
    groups: dict[bytes, list[int]] = {}
    for fd, data in zip(fds, read, strict=True):
        groups.setdefault(data, []).append(fd)
    return groups


Reads = tuple[list[int], list[bytes]]
"""Descriptors, and what was read from each."""


def _first_of_each(fds: list[int], read: list[bytes]) -> tuple[Reads, Reads]:
    """Part what was read first from each descriptor from what was read from it after that."""
    if len(set(fds)) == len(fds):
        return (fds, read), ([], [])
    seen: set[int] = set()
    first: Reads = ([], [])
    later: Reads = ([], [])
    for fd, data in zip(fds, read, strict=True):
        part = later if fd in seen else first
        part[0].append(fd)
        part[1].append(data)
        seen.add(fd)
    return first, later


class Streams:
    """All descriptors of a worker, from the request on."""

    def __init__(self, accounts: Accounts, readiness: Readiness, files_limit: int) -> None:
        self._accounts = accounts
        self._readiness = readiness
        self._users = np.zeros(files_limit, np.uint32)  # by descriptor; 0 where there is no connection of ours
        self._user_of = self._users.data
        self._numbers = np.zeros(files_limit, np.uint32)  # by descriptor; the last message's #n
        self._number_of = self._numbers.data
        self._partial: dict[int, bytes] = {}
        self._unread: list[int] = []
        self._read_fds: list[int] = []  # what was read from open connections, in order, and not digested yet
        self._read: list[bytes] = []
        self._read_first_ns = self._read_last_ns = 0
        self._answers: dict[int, bytes] = {}  # by digits of the id: the whole answer, with %d for the id
        self._tick_deliveries: Counter[int] = Counter()
        self.unsent: dict[int, bytes] = {}
        """What is still to be written of a request."""
        self.in_flight: dict[int, float] = {}
        """Deadline (`time.monotonic`) of each connection that is not open yet, oldest first."""

    def add(self, fds: list[int], users: list[int], deadline: float) -> None:
        """Take over descriptors whose request is on its way, or in `unsent`."""
        self._users[fds] = users
        self._numbers[fds] = 0
        self.in_flight.update(zip(fds, repeat(deadline), strict=False))

    def handle(self, events: list[tuple[int, int]]) -> None:
        """Read what the events announce. It is on the accounts after the next `digest`, which comes by itself when
        enough has been read, and before anything ends.
        """
        if self.unsent:
            for fd, _ in events:
                if fd in self.unsent:
                    self._write_request(fd)
        unread, self._unread = self._unread, []
        fds = [fd for fd, event in events if event == PLAIN]
        if not self._read_fds:
            self._read_first_ns = time.monotonic_ns()
        read, failed = sweep(os.read, fds, repeat(READ_SIZE))
        self._read_last_ns = time.monotonic_ns()
        broken = [(fds[index], error) for index, error in failed.items() if error != errno.EAGAIN]
        if failed:
            fds, read = without(failed, fds, read)
        if self.in_flight:
            fds, read = self._take_answers(fds, read)
        self._read_fds += fds
        self._read += read
        if len(fds) < len(events):
            unread += [fd for fd, event in events if event != PLAIN]
        if len(self._read_fds) >= DIGEST or unread or broken or READ_SIZE in map(len, read):
            unread += [fd for fd, data in zip(fds, read, strict=True) if len(data) == READ_SIZE]
            self._go_on(unread, broken)

    def _go_on(self, unread: list[int], broken: list[tuple[int, int]]) -> None:
        """Digest; then end who is broken and read on where more may be waiting."""
        self.digest()
        for fd, error in broken:
            if self._user_of[fd]:
                self._end(fd, error)
        for fd in unread:
            self._read_on(fd)
        self._count_ticks()

    def digest(self) -> None:
        """Account for everything that was read."""
        left = self._read_fds, self._read
        self._read_fds, self._read = [], []
        while left[0]:
            # What one descriptor sent must be seen in order; what others sent meanwhile may be grouped across it.
            (fds, read), left = _first_of_each(*left)
            for data, members in _by_bytes(fds, read).items():
                self._receive(data, [fd for fd in members if self._user_of[fd]])
        self._count_ticks()

    @property
    def has_unread(self) -> bool:
        """Whether descriptors were left that have more to read and will not be announced again."""
        return bool(self._unread)

    def expire(self, now: float) -> None:
        """Give up the connections in flight whose deadline has passed."""
        while self.in_flight:
            fd, deadline = next(iter(self.in_flight.items()))
            if deadline > now:
                return
            self._end(fd, errno.ETIMEDOUT)

    def close(self, most: int, reset: bool) -> int:
        """Close up to `most` connections, whatever their state, and return how many there were; the accounts stand.

        With `reset` the kernel drops them at once (SO_LINGER 0): a third faster, and no TIME_WAIT is left behind.
        """
        self.digest()
        fds = np.flatnonzero(self._users)[:most].tolist()
        self._users[fds] = 0
        if reset:
            sockets, _ = sweep(socket.SocketType, repeat(-1), repeat(-1), repeat(-1), fds)
            sweep(
                socket.SocketType.setsockopt, sockets, repeat(socket.SOL_SOCKET), repeat(socket.SO_LINGER), repeat(_NOW)
            )
            sweep(socket.SocketType.close, sockets)
        else:
            sweep(os.close, fds)
        return len(fds)

    def _take_answers(self, fds: list[int], read: list[bytes]) -> Reads:
        """Handle what belongs to connections in flight; return what does not."""
        if self._are_plain_answers(fds, read):
            self._open(fds)
            self._accounts.received(len(fds), len(read[0]) * len(read))
            return [], []
        others: Reads = ([], [])
        for fd, data in zip(fds, read, strict=True):
            if fd not in self.in_flight:
                others[0].append(fd)
                others[1].append(data)
            elif self._are_plain_answers([fd], [data]):
                self._open([fd])
                self._accounts.received(1, len(data))
            else:
                self._answer(fd, data)
                if len(data) == READ_SIZE:
                    self._unread.append(fd)
        return others

    def _are_plain_answers(self, fds: list[int], read: list[bytes]) -> bool:
        """Whether all of them are whole answers like one before, of connections in flight: compared in one go."""
        if not fds or not self._partial.keys().isdisjoint(fds) or not all(map(self.in_flight.__contains__, fds)):
            return False
        users = self._users[fds].tolist()
        digits = len(str(min(users)))
        known = self._answers.get(digits)
        return known is not None and digits == len(str(max(users))) and read == list(map(known.__mod__, users))

    def _open(self, fds: list[int]) -> None:
        for fd in fds:
            del self.in_flight[fd]
        self._accounts.opened(self._users[fds])

    def _answer(self, fd: int, data: bytes) -> None:
        """Parse an answer that is not like the ones before it."""
        whole = self._partial.pop(fd, b"") + data
        user = b"%d" % self._user_of[fd]
        if not data:
            self._end(fd, END_OF_STREAM)
            return
        try:
            rest = after_welcome(whole, user)
        except NotOpened as error:
            self._end(fd, error.code)
            return
        if rest is None:
            self._partial[fd] = whole
        else:
            if not rest and len(whole) < READ_SIZE:
                *_, last = _whole_number(user, whole)  # in the welcome: nothing comes behind it
                self._answers[len(user)] = http.numbered(whole[: last.start()], whole[last.end() :])
            self._open([fd])
            self._accounts.received(1, len(whole) - len(rest))
            if rest:
                self._receive(rest, [fd])

    def _receive(self, data: bytes, fds: list[int]) -> None:
        """Account for the same bytes read from each of the descriptors, all open."""
        if not data:
            self._end_all(fds, END_OF_STREAM)
            return
        self._accounts.received(0, len(data) * len(fds))
        if self._partial:
            begun = [fd for fd in fds if fd in self._partial]
            fds = [fd for fd in fds if fd not in self._partial]
            for fd in begun:
                self._consume(self._partial.pop(fd) + data, [fd])
        if fds:
            self._consume(data, fds)

    def _consume(self, data: bytes, fds: list[int]) -> None:
        messages = read_messages(data)
        if messages.count:
            self._accounts.received(messages.count * len(fds), 0)
        if messages.numbers:
            self._check_sequence(messages, fds)
        for number in messages.ticks:
            self._tick_deliveries[number] += len(fds)
        if messages.broken or messages.ended:
            self._end_all(fds, errno.EPROTO if messages.broken else END_OF_STREAM)
        elif messages.rest:
            self._partial.update(zip(fds, repeat(messages.rest), strict=False))

    def _check_sequence(self, messages: Messages, fds: list[int]) -> None:
        members = np.array(fds)
        if messages.consecutive and (self._numbers[members] == messages.numbers[0] - 1).all():
            self._numbers[members] = messages.numbers[-1]
            return
        missing = repeated = 0
        for fd in fds:
            for number in messages.numbers:
                step = number - self._number_of[fd]
                missing += max(0, step - 1)
                repeated += step < 1
                self._number_of[fd] = max(number, self._number_of[fd])
        self._accounts.out_of_sequence(missing, repeated)

    def _read_on(self, fd: int) -> None:
        """Read a descriptor until nothing is left, but `READS` times at the most: the others have their turn."""
        for _ in range(READS):
            if not self._user_of[fd]:
                return  # what was read before ended it
            try:
                data = os.read(fd, MORE)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._end(fd, error.errno or errno.EIO)
                return
            if fd in self.in_flight:
                self._answer(fd, data)
            else:
                self._receive(data, [fd])
        self._unread.append(fd)

    def _write_request(self, fd: int) -> None:
        request = self.unsent[fd]
        try:
            written = os.write(fd, request)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._end(fd, error.errno or errno.EIO)
            return
        if written < len(request):
            self.unsent[fd] = request[written:]
        else:
            del self.unsent[fd]
            self._readiness.modify(fd, READ)

    def _count_ticks(self) -> None:
        for number, deliveries in self._tick_deliveries.items():
            self._accounts.ticks.count(number, deliveries, self._read_first_ns, self._read_last_ns)
        self._tick_deliveries.clear()

    def _end_all(self, fds: list[int], code: int) -> None:
        for fd in fds:
            self._end(fd, code)

    def _end(self, fd: int, code: int) -> None:
        """Close a connection that ended by itself, and account for it."""
        user = self._user_of[fd]
        if self.in_flight.pop(fd, None) is None:
            self._accounts.closed_early(user, code)
        else:
            self._accounts.failed(user, self._phase(fd, code), code)
        self._partial.pop(fd, None)
        self.unsent.pop(fd, None)
        self._user_of[fd] = 0
        os.close(fd)

    def _phase(self, fd: int, code: int) -> Phase:
        """How far a connection in flight had got; a peer can only break what was connected."""
        if fd not in self.unsent:
            return Phase.RESPONSE
        return Phase.REQUEST if code in (errno.EPIPE, errno.ECONNRESET, END_OF_STREAM) else Phase.CONNECT
