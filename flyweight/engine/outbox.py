"""Outbox: the one way to write a column of sockets, at both ends; none of them may hold up the others.

Writes are swept and never wait. What a full socket does not take, or one that is not connected yet, is kept (nothing
is when all peers read), up to `limit` bytes a connection; past it the connection is given up. In: descriptors,
registered for `READ` or about to be, and as many byte strings. Out: the descriptors that are gone, each with the
errno that says why: what the write raised, or `TOO_SLOW`. The caller closes them, and has the outbox forget them.
"""

import errno
import os
from collections.abc import Callable, Iterable
from itertools import repeat

from floodtest.flyweight.engine.layer import Layer
from floodtest.flyweight.engine.readiness import READ, WRITE
from floodtest.flyweight.engine.sweep import sweep, without

TOO_SLOW = errno.ENOBUFS
"""Why a connection is given up for which more than the limit would have to be kept."""

Gone = dict[int, int]
"""Descriptors that are gone, and the errno of each."""


class Outbox:
    """What is still to be written, by descriptor."""

    def __init__(self, limit: int, modify: Callable[[int, int], None], layer: Layer | None = None) -> None:
        """`layer`: what stands between the sockets and what is said on them, if anything does."""
        self._limit = limit
        self._modify = modify
        self._layer = layer
        self._pending: dict[int, bytes] = {}
        self.slow = 0
        """Connections given up because their peers did not read."""
        self.written = 0
        """Bytes the kernel has taken."""

    def __bool__(self) -> bool:
        """Whether anything is pending."""
        return bool(self._pending)

    def __contains__(self, fd: int) -> bool:
        """Whether something is pending for a descriptor."""
        return fd in self._pending

    def pending(self, fd: int) -> int:
        """Return how many bytes are pending for a descriptor."""
        return len(self._pending.get(fd, b""))

    def write(self, fds: list[int], data: list[bytes], are_registered: bool = True) -> Gone:
        """Write each byte string to its descriptor, behind what is pending there; return the descriptors that are gone.

        Descriptors that are not registered yet have to be so afterwards: for `WRITE` where something is pending.
        """
        return self.write_sealed(fds, data if self._layer is None else self._layer.seal(fds, data), are_registered)

    def write_sealed(self, fds: list[int], data: list[bytes], are_registered: bool = True) -> Gone:
        """Write, as `write` does, what no layer has to seal."""
        gone: Gone = {}
        if self._pending:
            behind = {index for index, fd in enumerate(fds) if fd in self._pending}
            for index in behind:
                self._keep(fds[index], self._pending[fds[index]] + data[index], gone)
            fds, data = without(behind, fds, data)
        taken, failed = sweep(os.write, fds, data)
        if failed or taken != list(map(len, data)):
            self._settle(fds, data, taken, failed, gone, are_registered)
            taken = [count or 0 for count in taken]
        self.written += sum(taken)
        return gone

    def write_to_all(self, fds: list[int], data: bytes) -> Gone:
        """Write these bytes to each of the descriptors; return the descriptors that are gone."""
        if self._pending or self._layer is not None:
            return self.write(fds, [data] * len(fds))
        gone: Gone = {}
        taken, failed = sweep(os.write, fds, repeat(data))
        if failed or taken.count(len(data)) != len(taken):
            self._settle(fds, [data] * len(fds), taken, failed, gone, are_registered=True)
            taken = [count or 0 for count in taken]
        self.written += sum(taken)
        return gone

    def write_last(self, fds: list[int], data: list[bytes]) -> dict[int, int]:
        """Write what is said last to descriptors for which nothing is pending, as far as the kernel takes it at once;
        return the rows that failed, each with its errno.
        """
        if self._layer is not None:
            data = self._layer.seal_last(fds, data)
        return sweep(os.write, fds, data)[1]

    def say_nothing_follows(self, fds: list[int]) -> None:
        """Have the layer, if there is one, tell descriptors that nothing follows; not those that are behind."""
        if self._layer is not None:
            fds = [fd for fd in fds if fd not in self._pending]
            self.write_last(fds, [b""] * len(fds))

    def _settle(
        self,
        fds: list[int],
        data: list[bytes],
        taken: list[int],
        failed: dict[int, int],
        gone: Gone,
        are_registered: bool,
    ) -> None:
        for index, (fd, text) in enumerate(zip(fds, data, strict=True)):
            if index in failed and failed[index] != errno.EAGAIN:
                gone[fd] = failed[index]
            elif taken[index] != len(text):
                if are_registered:
                    self._modify(fd, WRITE)
                self._keep(fd, text[taken[index] or 0 :], gone)

    def _keep(self, fd: int, data: bytes, gone: Gone) -> None:
        if len(data) > self._limit:
            self.slow += 1
            gone[fd] = TOO_SLOW
        else:
            self._pending[fd] = data

    def flush(self, fds: Iterable[int]) -> Gone:
        """Write what is pending for descriptors that may have room now; return the descriptors that are gone."""
        gone: Gone = {}
        for fd in fds:
            data = self._pending.get(fd)
            if data is None:
                continue
            try:
                taken = os.write(fd, data)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    gone[fd] = error.errno or errno.EIO
                continue
            self.written += taken
            if taken == len(data):
                del self._pending[fd]
                self._modify(fd, READ)
            else:
                self._pending[fd] = data[taken:]
        return gone

    def forget(self, fd: int) -> None:
        self._pending.pop(fd, None)
