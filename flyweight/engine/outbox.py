"""Writing to many descriptors, none of which may hold up the others.

Writes are swept and never wait. What a full socket does not take is kept in `pending` (empty when all clients read),
up to `limit` bytes a connection; past it the connection is given up. In: descriptors and as many byte strings. Out: the
descriptors that are gone (they went away, or they were too slow); the caller logs them out.
"""

import errno
import os
from collections.abc import Callable, Iterable
from itertools import repeat

from floodtest.flyweight.engine.readiness import READ, WRITE
from floodtest.flyweight.engine.sweep import sweep, without


class Outbox:
    """What is still to be written, by descriptor."""

    def __init__(self, limit: int, modify: Callable[[int, int], None]) -> None:
        self._limit = limit
        self._modify = modify
        self._pending: dict[int, bytes] = {}
        self.slow = 0
        """Connections given up because they did not read."""
        self.written = 0
        """Bytes the kernel has taken."""

    def write(self, fds: list[int], data: list[bytes]) -> list[int]:
        """Write each string to its descriptor, after what is pending there; return who is gone."""
        gone: list[int] = []
        if self._pending:
            behind = {index for index, fd in enumerate(fds) if fd in self._pending}
            for index in behind:
                self._keep(fds[index], self._pending[fds[index]] + data[index], gone)
            fds, data = without(behind, fds, data)
        taken, failed = sweep(os.write, fds, data)
        if failed or taken != list(map(len, data)):
            self._settle(fds, data, taken, failed, gone)
            taken = [count or 0 for count in taken]
        self.written += sum(taken)
        return gone

    def write_to_all(self, fds: list[int], data: bytes) -> list[int]:
        """Write the same bytes to each descriptor; return who is gone."""
        if self._pending:
            return self.write(fds, [data] * len(fds))
        gone: list[int] = []
        taken, failed = sweep(os.write, fds, repeat(data))
        if failed or taken.count(len(data)) != len(taken):
            self._settle(fds, [data] * len(fds), taken, failed, gone)
            taken = [count or 0 for count in taken]
        self.written += sum(taken)
        return gone

    def _settle(
        self, fds: list[int], data: list[bytes], taken: list[int], failed: dict[int, int], gone: list[int]
    ) -> None:
        for index, (fd, text) in enumerate(zip(fds, data, strict=True)):
            if index in failed and failed[index] != errno.EAGAIN:
                gone.append(fd)
            elif taken[index] != len(text):
                self._modify(fd, WRITE)
                self._keep(fd, text[taken[index] or 0 :], gone)

    def _keep(self, fd: int, data: bytes, gone: list[int]) -> None:
        if len(data) > self._limit:
            self.slow += 1
            gone.append(fd)
        else:
            self._pending[fd] = data

    def flush(self, fds: Iterable[int]) -> list[int]:
        """Write what is pending for descriptors that may have room again; return who is gone."""
        gone: list[int] = []
        for fd in fds:
            data = self._pending.get(fd)
            if data is None:
                continue
            try:
                taken = os.write(fd, data)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    gone.append(fd)
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
