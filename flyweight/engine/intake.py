"""Intake: the one way to read a column of sockets, at both ends.

In: the events of a poll, or descriptors that may have something to read. Out: `Sweep`s, columns of descriptors and of
what each had, with the time; and which of the descriptors have come to an end, and by what. A descriptor stands in
one row at the most, and what was read of it before its end is in that row.

A first read of `READ_SIZE` bytes, swept over all descriptors, empties most of them. Two kinds are read on: those
whose first read was full, and those whose events say that an end or an error may hide behind their data. Of one
descriptor `READS` further reads are made in a turn, and once `TURN_BYTES` have been read on, none of any descriptor:
one peer's data then never delays all others. What is left unread is queued for the next turn, since the kernel does
not announce it again.

Of some descriptors, which are watched, the kernel is asked when their data arrived (SO_TIMESTAMPNS), so that an
arrival is known however late it is read. TCP tells one time a read: that of the last segment with a byte in it.
Segments that wait together are merged, and keep the time of the last of them, however few bytes are read at a time. So
the last bytes of a read arrived then, and those before it then or earlier. A descriptor whose sockets have no such
times, as Unix sockets have none, is read like any other.

Cost: one system call a descriptor; nothing is kept for one that was emptied. A watched one has a socket object, and
its read costs a recvmsg in place of a read, half as much again. It is made in its turn: a sample that waits longer than
others would show more of this program's own waiting than there is. To find the watched ones among the descriptors of a
batch costs 17 ns for each of these.
"""

import errno
import os
import socket
import struct
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import compress, count, filterfalse, repeat
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.layer import Layer, Over, Sweep
from floodtest.flyweight.engine.readiness import PLAIN
from floodtest.flyweight.engine.sweep import sweep, without

READ_SIZE = 448
"""Bytes of a first read: a small bytes object comes from Python's own allocator (512 at most) and is the cheapest."""

MORE = 1 << 16
"""Bytes of each further read of a descriptor that had more."""

READS = 16
"""Further reads of one descriptor before the others have their turn."""

TURN_BYTES = 1 << 18
"""Bytes after which no descriptor is read on in a turn. With the first reads, and one more read of `MORE`, it bounds
what a turn has in hand, however much peers send at once."""

END = 0
"""How a descriptor has come to an end whose peer closed in order; otherwise that is an errno."""


_TIMESTAMPNS = 35
"""SO_TIMESTAMPNS of asm-generic/socket.h, which names the message that it asks for as well; Python does not have it."""

_TIMESPEC = struct.Struct("@ll")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)


Ints = npt.NDArray[np.int64]


class Reads:
    """Sweeps that were put aside, in order: descriptors, and what each had; a descriptor may stand in several rows."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.data: list[bytes] = []
        self.size = 0
        """Bytes."""
        self.arrived: dict[int, int] = {}
        """Rows of which the kernel says when they had arrived (CLOCK_REALTIME, ns)."""
        self._sweeps: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self.fds)

    def add(
        self,
        fds: list[int],
        data: list[bytes],
        began: int,
        ended: int,
        arrived: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Add what one sweep read, one descriptor after another, between two times; `arrived` is by descriptor."""
        if fds:
            if arrived:
                first = len(self.fds)
                self.arrived.update((first + row, arrived[fds[row]]) for row in _rows_in(arrived, fds))
            self.fds += fds
            self.data += data
            self.size += sum(map(len, data))
            self._sweeps.append((len(fds), began, ended))

    @property
    def first(self) -> int:
        """When the first sweep began (CLOCK_MONOTONIC, ns); there has to be one."""
        return self._sweeps[0][1]

    @property
    def last(self) -> int:
        """When the last sweep ended."""
        return self._sweeps[-1][2]

    def times(self) -> Ints:
        """Return when each row was read: rows of a sweep take equally long."""
        counts, began, ended = np.array(self._sweeps).T
        taken = np.repeat(ended - began, counts)
        row = np.arange(1, len(self) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
        found: Ints = np.repeat(began, counts) + taken * row // np.repeat(counts, counts)
        return found

    def ends(self) -> Ints:
        """Return when the sweep of each row ended: no row was read later."""
        return np.repeat([ended for _, _, ended in self._sweeps], [count for count, _, _ in self._sweeps])


def _rows_in(some: Container[int], fds: list[int]) -> list[int]:
    """Return the rows of those descriptors that are in `some`."""
    return list(compress(count(), map(some.__contains__, fds)))


class _Watched(socket.SocketType):
    """A socket object of a descriptor that is somebody else's to close.

    It closes nothing when it is collected, which any thread may do, with other files of that number
    (`flyweight.processes.nursery`).
    """

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


class Intake:
    """Reads the descriptors of one worker."""

    def __init__(self, layer: Layer | None = None) -> None:
        """`layer`: what stands between the sockets and what is said on them, if anything does."""
        self._layer = layer
        self._unread: dict[int, None] = {}  # descriptors that have more to read, in the order of their turns
        self._budget = 0  # bytes that may still be read on in this turn
        self._watched: dict[int, _Watched] = {}
        self.arrived: dict[int, int] = {}
        """When what the last turn read of watched descriptors had arrived (CLOCK_REALTIME, ns), where that is known."""

    def watch(self, fd: int) -> bool:
        """Ask the kernel from now on when data of a descriptor arrive; return False where it can't tell.

        Whoever closes the descriptor has to say so before (`forget`). The kernel takes the time of every packet of the
        machine while one socket asks for that, and begins a moment after the first one has asked.
        """
        watched = _Watched(-1, -1, -1, fd)
        if watched.family == socket.AF_UNIX:
            return False  # it takes the option, and never tells a time
        try:
            watched.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
        except OSError:
            return False
        self._watched[fd] = watched
        return True

    @property
    def has_unread(self) -> bool:
        """Whether descriptors were left that have more to read and will not be announced again."""
        return bool(self._unread)

    def read(self, events: Sequence[tuple[int, int]]) -> tuple[list[Sweep], Over]:
        """Read the descriptors that the events name, and those that were left unread; return the data, and the
        descriptors that have come to their end, each with `END` or an errno.
        """
        sweeps, over = self._read_announced(events)
        return (sweeps, over) if self._layer is None else self._layer.open(sweeps, over)

    def _read_announced(self, events: Sequence[tuple[int, int]]) -> tuple[list[Sweep], Over]:
        plain = [fd for fd, event in events if event == PLAIN]
        if len(plain) == len(events) and not self._unread:  # nearly always
            return self._read_ready(plain)
        queue, self._unread = self._unread, {}
        if len(plain) < len(events):
            queue.update((fd, None) for fd, event in events if event != PLAIN)
        if queue:
            plain = list(filterfalse(queue.__contains__, plain))
        sweeps, over = self._read_ready(plain)  # which begins the turn
        if queue:
            self._read_queue(list(queue), sweeps, over)
        return sweeps, over

    def read_ready(self, fds: list[int]) -> tuple[list[Sweep], Over]:
        """Read descriptors that may have data; of these, an end that hides behind data is announced by later events."""
        sweeps, over = self._read_ready(fds)
        return (sweeps, over) if self._layer is None else self._layer.open(sweeps, over)

    def _read_ready(self, fds: list[int]) -> tuple[list[Sweep], Over]:
        self._budget = TURN_BYTES
        self.arrived.clear()
        watched = _rows_in(self._watched, fds) if self._watched else ()
        began = time.monotonic_ns()
        data, failed = self._read_some_watched(fds, watched) if watched else sweep(os.read, fds, repeat(READ_SIZE))
        ended = time.monotonic_ns()
        over = [(fds[index], error) for index, error in failed.items() if error != errno.EAGAIN] if failed else []
        if failed:
            fds, data = without(failed, fds, data)
        sizes = set(map(len, data))
        if 0 in sizes:
            ends = {index for index, read in enumerate(data) if not read}
            over += [(fds[index], END) for index in ends]
            fds, data = without(ends, fds, data)
        full = {index for index, read in enumerate(data) if len(read) == READ_SIZE} if READ_SIZE in sizes else ()
        begun = [(fds[index], data[index]) for index in sorted(full)]
        if full:
            fds, data = without(full, fds, data)
        sweeps: list[Sweep] = [(fds, data, began, ended)] if fds else []
        if begun:
            self._read_rest(begun, sweeps, over)
        return sweeps, over

    def _read_some_watched(self, fds: list[int], watched: list[int]) -> tuple[list[bytes], dict[int, int]]:
        """Make the first read of all descriptors, in order, so that `watched` rows wait no longer than others."""
        data: list[bytes] = []
        failed: dict[int, int] = {}
        for row in [*watched, len(fds)]:
            first = len(data)
            plain, codes = sweep(os.read, fds[first:row], repeat(READ_SIZE))
            data += plain
            failed.update((first + at, code) for at, code in codes.items())
            if row < len(fds):
                received, codes = sweep(self._watched[fds[row]].recvmsg, [READ_SIZE], [_ANCILLARY])
                failed.update((row, code) for code in codes.values())
                data.append(b"" if codes else self._note_arrival(fds[row], received[0]))
        return data, failed

    def read_again(self, fds: Iterable[int]) -> None:
        """Have the next turn read descriptors to their end, whether or not the kernel announces them."""
        self._unread.update((fd, None) for fd in fds)

    def is_unread(self, fd: int) -> bool:
        """Whether a descriptor is to be read in the next turn, announced or not."""
        return fd in self._unread

    def forget(self, fds: Sequence[int]) -> None:
        """Leave nothing to be read of descriptors that are closed next."""
        if self._layer is not None:
            self._layer.forget(fds)
        for fd in fds if self._unread else ():
            self._unread.pop(fd, None)
        for fd in self._watched.keys() & set(fds) if self._watched else ():
            del self._watched[fd]
            self.arrived.pop(fd, None)

    def _read_rest(self, begun: list[tuple[int, bytes]], sweeps: list[Sweep], over: list[tuple[int, int]]) -> None:
        """Read on where a first read was full; both parts have the later time."""
        fds: list[int] = []
        whole: list[bytes] = []
        began = time.monotonic_ns()
        for fd, data in begun:
            rest, code = self._read_on(fd, ends_hidden=False)
            fds.append(fd)
            whole.append(data + rest)
            if code is not None:
                over.append((fd, code))
        if fds:
            sweeps.append((fds, whole, began, time.monotonic_ns()))

    def _read_queue(self, fds: list[int], sweeps: list[Sweep], over: list[tuple[int, int]]) -> None:
        """Read on where more is left, and where an end may hide; each has a time of its own, as much may be read."""
        for at, fd in enumerate(fds):
            if self._budget <= 0:
                self._unread = dict.fromkeys(fds[at:]) | self._unread  # ahead of those that were added in this turn
                return
            began = time.monotonic_ns()
            data, code = self._read_on(fd, ends_hidden=True)
            if data:
                sweeps.append(([fd], [data], began, time.monotonic_ns()))
            if code is not None:
                over.append((fd, code))

    def _read_on(self, fd: int, ends_hidden: bool) -> tuple[bytes, int | None]:
        """Read a descriptor until nothing is left, `READS` times, or while the turn's budget lasts; return that, and by
        what it has ended, or None.

        A short read leaves nothing unless an end may hide behind it, which only another read finds out.
        """
        pieces: list[bytes] = []
        for _ in range(READS):
            if self._budget <= 0:
                break
            try:
                watched = self._watched.get(fd)
                if watched is None:
                    data = os.read(fd, MORE)
                else:
                    data = self._note_arrival(fd, watched.recvmsg(MORE, _ANCILLARY))
            except OSError as error:
                return b"".join(pieces), None if error.errno == errno.EAGAIN else error.errno or errno.EIO
            if not data:
                return b"".join(pieces), END
            self._budget -= len(data)
            pieces.append(data)
            if len(data) < MORE and not ends_hidden:
                return b"".join(pieces), None
        self._unread[fd] = None
        return b"".join(pieces), None

    def _note_arrival(self, fd: int, received: tuple[bytes, list[tuple[int, int, bytes]], int, Any]) -> bytes:
        """Return what `recvmsg` read of a watched descriptor, and note when that had arrived, or that it is not known.

        Of a descriptor that is read on it is the arrival of the last of it; an end has none, and alters nothing.
        """
        data, ancillary, _, _ = received
        if data:
            self.arrived.pop(fd, None)
            for _, kind, value in ancillary:
                if kind == _TIMESTAMPNS and len(value) == _TIMESPEC.size:
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    self.arrived[fd] = seconds * 10**9 + nanoseconds
        return data
