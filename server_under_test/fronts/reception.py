"""Reception: from the listener to an open stream, or to a refusal.

Accepts by the batch; the request is usually there already (TCP_DEFER_ACCEPT), so that reading, answering and handing
over to the streams is one sweep each. Heads that come in pieces wait in a dict, each until a deadline; all wait equally
long, so that the first in the dict is the first that is due, and a turn costs nothing for those that wait. A refused
client may read its answer before the connection is closed (`fronts.partings`). When the kernel has no descriptor or
memory to give, the listener is not watched for `PAUSE` seconds: it stays readable, and a front that watched it would
never sleep. In: a listener to watch or not. Out: logins; refusals are counted by status.
"""

import os
import socket
import time
from itertools import repeat
from typing import Any

import numpy.typing as npt

from floodtest.flyweight.engine.intake import Intake
from floodtest.flyweight.engine.ledger import Counter
from floodtest.flyweight.engine.readiness import LEVEL, READ, Readiness
from floodtest.flyweight.engine.sweep import drain, sweep
from floodtest.server_under_test.fronts.partings import Partings, overdue
from floodtest.server_under_test.fronts.streams import Streams
from floodtest.server_under_test.limits import OUT_OF_DESCRIPTORS, PAUSE, Limits
from floodtest.wire import answers
from floodtest.wire.requests import Refuse, Requests, too_late

ACCEPTS = 64
"""Connections accepted in one go; `flyweight.machine.files.FILES_RESERVE` has room for them."""

Socket = socket.SocketType


class Reception:
    """The way in to one front's streams."""

    def __init__(
        self,
        listener: socket.socket,
        readiness: Readiness,
        intake: Intake,
        streams: Streams,
        partings: Partings,
        requests: Requests,
        limits: Limits,
        row: npt.NDArray[Any],
    ) -> None:
        self._listener = listener
        self._readiness = readiness
        self._intake = intake
        self._streams = streams
        self._partings = partings
        self._requests = requests
        self._limits = limits
        self._accept_errors = Counter(row, "accept_errors")
        self._rejected = row["rejected"][0]
        self._watching = False
        self._watches_again_at = float("inf")
        """By time.monotonic(); infinity: there is no pause."""
        self._heads: dict[int, bytes] = {}
        self._head_deadlines: dict[int, float] = {}

    @property
    def watching(self) -> bool:
        return self._watching

    def __contains__(self, fd: int) -> bool:
        """Whether a descriptor is waiting here: with a head that is not whole, or told its last."""
        return fd in self._heads or fd in self._partings

    def __len__(self) -> int:
        return len(self._heads) + len(self._partings)

    def watch(self, on: bool) -> None:
        """Begin or stop to watch the listener, which all fronts share; a pause ends."""
        if on and not self._watching:
            self._readiness.register(self._listener.fileno(), LEVEL)
        elif self._watching and not on:
            self._readiness.unregister(self._listener.fileno())
        self._watching = on
        self._watches_again_at = float("inf")

    def accept(self) -> None:
        """Accept what is waiting, up to a batch."""
        accepted, error = drain(Socket._accept, self._listener, ACCEPTS)  # type: ignore[attr-defined]
        if error in OUT_OF_DESCRIPTORS:
            self._accept_errors.add(1)
            self.watch(False)
            self._watches_again_at = time.monotonic() + PAUSE
        if accepted:
            self._receive([fd for fd, _ in accepted])

    def _receive(self, fds: list[int]) -> None:
        """Read what new connections have sent already, and welcome or refuse those whose request is whole."""
        sweep(os.set_blocking, fds, repeat(False))
        sweeps, over = self._intake.read_ready(fds)
        _, unwatched = sweep(self._readiness.register, fds, repeat(READ))
        if len(sweeps) == 1 and not (over or unwatched):
            whole_fds, whole, _, _ = sweeps[0]
            if len(whole_fds) == len(fds) and self._welcome(fds, whole):
                return
        read = {fd: data for column, datas, *_ in sweeps for fd, data in zip(column, datas, strict=True)}
        for index, fd in enumerate(fds):
            if index in unwatched:
                self._close(fd)
            elif not (fd in read and self._welcome([fd], [read[fd]])):
                self._heads[fd] = b""
                self._head_deadlines[fd] = time.monotonic() + self._limits.head_seconds
                self._read_head(fd, read.get(fd, b""))
        self.end(over)  # after what they said before that: who sends a request and shuts down is answered
        self._streams.end(over)

    def _welcome(self, fds: list[int], read: list[bytes]) -> bool:
        """Log in clients that sent what has been seen before; False when one of them did not."""
        common = self._requests.common(read)
        if common is None:
            return False
        self._streams.login(fds, *common)
        return True

    def take(self, fds: list[int], data: list[bytes]) -> tuple[list[int], list[bytes]]:
        """Take what came for descriptors that are waiting here; return the rows of the others."""
        if not self:
            return fds, data
        others: tuple[list[int], list[bytes]] = ([], [])
        for fd, read in zip(fds, data, strict=True):
            if fd in self._heads:
                self._read_head(fd, read)
            elif fd in self._partings:
                self._partings.drop(fd, len(read))
            else:
                others[0].append(fd)
                others[1].append(read)
        return others

    def end(self, over: list[tuple[int, int]]) -> None:
        """Close descriptors that were waiting here and have come to an end; those of streams are no matter of this."""
        for fd, _ in over:
            if fd in self:
                self._close(fd)

    def _read_head(self, fd: int, data: bytes) -> None:
        """Take the next bytes of a head; log in, refuse, or wait for more."""
        head = self._heads[fd] = self._heads[fd] + data
        if not head:
            return
        try:
            asked = self._requests.parse(head)
        except Refuse as refusal:
            self._refuse(fd, refusal)
            return
        if asked is None:
            return
        if asked.head_only:
            self._finish(fd, asked.protocol.head(close=True, more=self._streams.more_headers))
            return
        self._forget_head(fd)
        self._streams.login([fd], [asked.user], asked.protocol, [asked.key], asked.last_event)
        if asked.extra:
            self._streams.take([fd], [head[-asked.extra :]])

    def _refuse(self, fd: int, refusal: Refuse) -> None:
        self._rejected[refusal.status] += 1
        self._finish(fd, answers.refusal(refusal.status, refusal.text, refusal.head_only, refusal.upgrade))

    def _finish(self, fd: int, answer: bytes) -> None:
        self._forget_head(fd)
        self._partings.begin(fd, answer)

    def expire(self, now: float) -> None:
        """Answer 408 to heads that took too long; close what was told its last long enough ago; end a pause."""
        if now >= self._watches_again_at:
            self.watch(True)
        for fd in overdue(self._head_deadlines, now):
            self._refuse(fd, too_late(self._limits.head_seconds))
        self._partings.expire(now)

    def next_deadline(self) -> float:
        """When `expire` has something to do, by time.monotonic()."""
        heads = next(iter(self._head_deadlines.values()), float("inf"))
        return min(heads, self._partings.next_deadline(), self._watches_again_at)

    def _forget_head(self, fd: int) -> None:
        self._heads.pop(fd, None)
        self._head_deadlines.pop(fd, None)

    def _close(self, fd: int) -> None:
        if fd in self._partings:
            self._partings.close(fd)
            return
        self._forget_head(fd)
        self._intake.forget([fd])
        os.close(fd)

    def close(self) -> None:
        """Close whatever is not a stream."""
        self.watch(False)
        self._partings.close_all()
        for fd in list(self._heads):
            self._close(fd)
