"""Streams: what comes in on descriptors, from the first byte of an answer to the end of the stream. No trio here.

Reads are swept by the batch and put aside until there is a thousand of them, or nothing else to do;
`loadgen.client.digest` then takes all of them apart at once. An answer is recognised by comparing it with what the last
one of its kind taught (see `wire.http`); whatever differs is parsed in full. Between two chunks a stream keeps nothing
but its entry in two columns (user and last `#n`, 8 bytes); two dicts hold the bytes of the few that stopped in
mid-answer or mid-chunk.
"""

import errno
import os
import socket
import struct
import time
from itertools import repeat

import numpy as np

from floodtest.flyweight.engine.readiness import PLAIN, READ, Readiness
from floodtest.flyweight.engine.sweep import sweep, without
from floodtest.loadgen.client.accounts import Accounts, End, Phase
from floodtest.loadgen.client.digest import Digest, Ints, Reads, digest
from floodtest.wire import http
from floodtest.wire.framing import chunked as chunks
from floodtest.wire.parsing import END_OF_STREAM, NotOpened, after_welcome, parse_messages, whole_number
from floodtest.wire.sequence import OutOfSequence

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

DIGEST_BYTES = 1 << 18
"""The same for their bytes; and the most that is read on of descriptors that had more, before the others have their
turn. It bounds what is put aside, however much a server sends to all connections at once."""

DIGEST_SECONDS = 0.25
"""The longest that a read is put aside; when it was made is noted at once."""


class Streams:
    """All descriptors of a worker, from the request on."""

    def __init__(
        self, accounts: Accounts, readiness: Readiness, files_limit: int, ended: list[End] | None = None
    ) -> None:
        self._accounts = accounts
        self._readiness = readiness
        self._users = np.zeros(files_limit, np.uint32)  # by descriptor; 0 where there is no connection of ours
        self._user_of = self._users.data
        self._numbers = np.zeros(files_limit, np.uint32)  # by descriptor; the last message's #n
        self._number_of = self._numbers.data
        self._begun_answers: dict[int, bytes] = {}
        self._begun_chunks: dict[int, chunks.Beginning] = {}
        self._unread: dict[int, None] = {}  # descriptors that have more to read, in the order of their turns
        self._reads = Reads()  # from open connections, in order, and not digested yet
        self._answers: dict[int, bytes] = {}  # by digits of the id: the whole answer, with %d for the id
        self.unsent: dict[int, bytes] = {}
        """What is still to be written of a request."""
        self.in_flight: dict[int, float] = {}
        """Deadline (`time.monotonic`) of each connection that is not open yet, oldest first."""
        self._ended = ended
        """Users whose connection has ended by itself, for who opens them again; None: nobody does."""

    def add(self, fds: list[int], users: list[int], deadline: float) -> None:
        """Take over descriptors whose request is on its way, or in `unsent`."""
        self._users[fds] = users
        self._numbers[fds] = 0
        self.in_flight.update(zip(fds, repeat(deadline), strict=False))

    def handle(self, events: list[tuple[int, int]]) -> None:
        """Read what the events announce. It is on the accounts after the next `digest`, which comes by itself when
        enough has been read.
        """
        if self.unsent:
            for fd, _ in events:
                if fd in self.unsent:
                    self._write_request(fd)
        unread, self._unread = self._unread, {}
        fds = [fd for fd, event in events if event == PLAIN]
        if len(fds) < len(events):
            unread.update((fd, None) for fd, event in events if event != PLAIN)
        began = time.monotonic_ns()
        read, failed = sweep(os.read, fds, repeat(READ_SIZE))
        ended = time.monotonic_ns()
        broken = [(fds[index], error) for index, error in failed.items() if error != errno.EAGAIN]
        if failed:
            fds, read = without(failed, fds, read)
        if self.in_flight:
            fds, read = self._take_answers(fds, read)
        if READ_SIZE in map(len, read):
            full = {index for index, data in enumerate(read) if len(data) == READ_SIZE}
            short_fds, short = without(full, fds, read)
            self._reads.add(short_fds, short, began, ended)
            broken += self._read_rest([(fds[index], read[index]) for index in full])
        else:
            self._reads.add(fds, read, began, ended)
        if unread:
            broken += self._read_unread(list(unread))
        if broken or len(self._reads) >= DIGEST or self._reads.size >= DIGEST_BYTES:
            self.digest()
        for fd, error in broken:
            if self._user_of[fd]:
                self._end(fd, error)

    def digest(self) -> None:
        """Account for everything that was read."""
        reads, self._reads = self._reads, Reads()
        if not len(reads):
            return
        found = digest(reads, self._begun_chunks.keys())
        over: dict[int, int] = {}
        size = reads.size
        for index in found.left:
            if reads.fds[index] in over:
                size -= len(reads.data[index])  # what was read before ended it
            elif (code := self._consume(reads, index, found)) is not None:
                over[reads.fds[index]] = code
        self._accounts.received(found.chunks, size)
        self._check_sequence(*found.numbered())
        for number, deliveries in found.ticks.items():
            self._accounts.ticks.count(number, deliveries, reads.first, reads.last)
        if found.messages:
            self._accounts.messages(found.messages, reads.first, reads.last)
            index_column, planned, late = found.stamped()
            self._accounts.latencies(reads.times()[index_column], planned, late)
        for fd, code in over.items():
            self._end(fd, code)

    @property
    def digest_due(self) -> float:
        """When `digest` has to be called, by time.monotonic()."""
        return self._reads.first / 1e9 + DIGEST_SECONDS if len(self._reads) else float("inf")

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
        self._accounts.closed(len(fds) - len(self.in_flight.keys() & fds))
        return len(fds)

    def _take_answers(self, fds: list[int], read: list[bytes]) -> tuple[list[int], list[bytes]]:
        """Handle what belongs to connections in flight; return what does not."""
        if self._are_plain_answers(fds, read):
            self._open(fds)
            self._accounts.received(len(fds), len(read[0]) * len(read))
            return [], []
        others: tuple[list[int], list[bytes]] = ([], [])
        for fd, data in zip(fds, read, strict=True):
            if fd not in self.in_flight:
                others[0].append(fd)
                others[1].append(data)
            elif self._are_plain_answers([fd], [data]):
                self._open([fd])
                self._accounts.received(1, len(data))
            else:
                self._answer(fd, data)
                if len(data) == READ_SIZE and self._user_of[fd]:
                    self._unread[fd] = None
        return others

    def _are_plain_answers(self, fds: list[int], read: list[bytes]) -> bool:
        """Whether all of them are whole answers like one before, of connections in flight: compared in one go."""
        if not fds or not self._begun_answers.keys().isdisjoint(fds) or not all(map(self.in_flight.__contains__, fds)):
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
        whole = self._begun_answers.pop(fd, b"") + data
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
            self._begun_answers[fd] = whole
        else:
            if not rest and len(whole) < READ_SIZE:
                *_, last = whole_number(user, whole)  # in the welcome: nothing comes behind it
                self._answers[len(user)] = http.numbered(whole[: last.start()], whole[last.end() :])
            self._open([fd])
            self._accounts.received(1, len(whole) - len(rest))
            if rest:
                now = time.monotonic_ns()
                self._reads.add([fd], [rest], now, now)

    def _consume(self, reads: Reads, index: int, found: Digest) -> int | None:
        """Take apart one read of a connection that is, or gets, in the middle of a chunk.

        Returns what ended it: END_OF_STREAM, EPROTO, or None while it goes on.
        """
        fd, data = reads.fds[index], reads.data[index]
        begun = self._begun_chunks.get(fd)
        if data and begun is not None:
            whole = begun.add(data)
            if whole is None:
                return None
            data = whole
            del self._begun_chunks[fd]
        messages = parse_messages(data)
        found.add(messages, [fd], [index])
        if messages.broken or messages.ended:
            return errno.EPROTO if messages.broken else END_OF_STREAM
        if messages.rest:
            self._begun_chunks[fd] = chunks.Beginning(messages.rest)
        return None

    def _check_sequence(self, fds: Ints, numbers: Ints, order: Ints) -> None:
        """Hold each message's `#n` against the one before it of its connection."""
        by_connection = np.lexsort((order, fds))
        fds, numbers = fds[by_connection], numbers[by_connection]
        before = np.append(0, numbers)[: len(numbers)]
        first = np.append(len(fds) > 0, fds[1:] != fds[:-1])[: len(fds)]
        before[first] = self._numbers[fds[first]]
        if (numbers - before == 1).all():
            self._numbers[fds] = numbers  # of several of a connection the last one stays
            return
        found = OutOfSequence()
        for fd, number in zip(fds.tolist(), numbers.tolist(), strict=True):
            self._number_of[fd] = found.follow(self._number_of[fd], number)
        self._accounts.out_of_sequence(found)

    def _read_rest(self, begun: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
        """Read on where a first read was full, and put both aside with the later time; return whose stream is over.

        Once that is `DIGEST_BYTES`, the others are left for the next turn.
        """
        whole: list[bytes] = []
        broken: list[tuple[int, int]] = []
        size = 0
        began = time.monotonic_ns()
        for fd, data in begun:
            if size < DIGEST_BYTES:
                rest, error = self._read_on(fd, ends_hidden=False)
                size += len(rest)
                data += rest
                if error is not None:
                    broken.append((fd, error))
            else:
                self._unread[fd] = None
            whole.append(data)
        self._reads.add([fd for fd, _ in begun], whole, began, time.monotonic_ns())
        return broken

    def _read_unread(self, fds: list[int]) -> list[tuple[int, int]]:
        """Read on where more is left, and where an end may hide, up to `DIGEST_BYTES`; return whose stream is over."""
        broken: list[tuple[int, int]] = []
        enough = self._reads.size + DIGEST_BYTES
        for at, fd in enumerate(fds):
            if self._reads.size >= enough:
                self._unread = dict.fromkeys(fds[at:]) | self._unread  # ahead of those that were added in this turn
                break
            if not self._user_of[fd]:
                continue  # it ended in this turn
            began = time.monotonic_ns()
            data, error = self._read_on(fd, ends_hidden=True)
            self._reads.add([fd] if data else [], [data], began, time.monotonic_ns())
            if error is not None:
                broken.append((fd, error))
        return broken

    def _read_on(self, fd: int, ends_hidden: bool) -> tuple[bytes, int | None]:
        """Read a descriptor until nothing is left, but `READS` times at the most: the others have their turn.

        An end may hide behind the data, unless the events say that there is none. Returns what an open connection got,
        and how it ended: END_OF_STREAM, an errno, or None.
        """
        pieces: list[bytes] = []
        for _ in range(READS):
            try:
                data = os.read(fd, MORE)
            except OSError as error:
                return b"".join(pieces), None if error.errno == errno.EAGAIN else error.errno or errno.EIO
            if fd in self.in_flight:
                self._answer(fd, data)
                if not self._user_of[fd]:
                    return b"", None  # that ended it
            elif not data:
                return b"".join(pieces), END_OF_STREAM
            else:
                pieces.append(data)
                if len(data) < MORE and not ends_hidden:
                    return b"".join(pieces), None
        self._unread[fd] = None
        return b"".join(pieces), None

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

    def _end(self, fd: int, code: int) -> None:
        """Close a connection that ended by itself, and account for it."""
        user = self._user_of[fd]
        phase = Phase.OPEN if self.in_flight.pop(fd, None) is None else self._phase(fd, code)
        if phase == Phase.OPEN:
            self._accounts.closed_early(user, code)
        else:
            self._accounts.failed(user, phase, code)
        if self._ended is not None:
            self._ended.append(End(user, phase, code))
        self._begun_answers.pop(fd, None)
        self._begun_chunks.pop(fd, None)
        self.unsent.pop(fd, None)
        self._unread.pop(fd, None)
        self._user_of[fd] = 0
        os.close(fd)

    def _phase(self, fd: int, code: int) -> Phase:
        """How far a connection in flight had got; a peer can only break what was connected."""
        if fd not in self.unsent:
            return Phase.RESPONSE
        return Phase.REQUEST if code in (errno.EPIPE, errno.ECONNRESET, END_OF_STREAM) else Phase.CONNECT
