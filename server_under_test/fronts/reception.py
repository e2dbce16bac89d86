"""Reception: from the listener to an open stream, or to a refusal.

Accepts by the batch; the request is usually there already (TCP_DEFER_ACCEPT), so that reading, answering and handing
over to the streams is one sweep each. Heads that come in pieces wait in a dict, each until a deadline; all wait equally
long, so that the first in the dict is the first that is due, and a turn costs nothing for those that wait. A refused
client may read its answer before the connection is closed (`fronts.partings`). When the kernel has no descriptor or
memory to give, the listener is not watched for `PAUSE` seconds: it stays readable, and a front that watched it would
never sleep. In: a listener to watch or not. Out: logins; refusals are counted by status.

With TLS the way has a handshake before the head: what is accepted is registered and read in the next turn, by the layer
(`wire.tls.tls_layer`), which hands on what was said behind handshakes. Requests are then taken by the batch of a turn.
A handshake has the time of a head, and no answer past it, as none can be read. While as many are under way as the layer
has room for, the listener is not watched.
"""

import os
import socket
import time
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from floodtest.flyweight.engine.intake import Intake
from floodtest.flyweight.engine.ledger import Counter
from floodtest.flyweight.engine.outbox import Outbox
from floodtest.flyweight.engine.readiness import LEVEL, READ, Readiness
from floodtest.flyweight.engine.sweep import drain, sweep
from floodtest.server_under_test.fronts.listener import probe_when_idle
from floodtest.server_under_test.fronts.partings import Partings, overdue
from floodtest.server_under_test.fronts.streams import Streams
from floodtest.server_under_test.limits import OUT_OF_DESCRIPTORS, PAUSE, Limits
from floodtest.wire import answers
from floodtest.wire.causes import Cause
from floodtest.wire.requests import Refuse, Requests, too_late, without_tls

if TYPE_CHECKING:
    from floodtest.wire.tls.tls_layer import TlsLayer

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
        outbox: Outbox,
        streams: Streams,
        partings: Partings,
        requests: Requests,
        limits: Limits,
        row: npt.NDArray[Any],
        layer: "TlsLayer | None" = None,
    ) -> None:
        self._listener = listener
        self._readiness = readiness
        self._intake = intake
        self._outbox = outbox
        self._streams = streams
        self._partings = partings
        self._requests = requests
        self._limits = limits
        self._layer = layer
        self._accept_errors = Counter(row, "accept_errors")
        self._late = Counter(row, "tls_late")
        self._rejected = row["rejected"][0]
        self._watching = False
        self._watches_again_at = float("inf")
        """By time.monotonic(); infinity: there is no pause."""
        self._waits_for_room = False
        """Whether the listener is to be watched once another handshake may begin."""
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
        """Begin or stop to watch the listener, which all fronts share; a pause ends.

        Where no handshake may begin now, it is watched from when one may.
        """
        self._waits_for_room = on and self._room == 0
        on = on and not self._waits_for_room
        if on and not self._watching:
            self._readiness.register(self._listener.fileno(), LEVEL)
        elif self._watching and not on:
            self._readiness.unregister(self._listener.fileno())
        self._watching = on
        self._watches_again_at = float("inf")

    @property
    def _room(self) -> int:
        """How many connections may be accepted in one go."""
        return ACCEPTS if self._layer is None else min(ACCEPTS, self._layer.room)

    def accept(self) -> None:
        """Accept what is waiting, up to a batch."""
        # accept() would make a socket object of each connection; _accept gives its number, and has no type in typeshed.
        accepted, error = drain(Socket._accept, self._listener, self._room)  # type: ignore[attr-defined]
        if error in OUT_OF_DESCRIPTORS:
            self._accept_errors.add(1)
            self.watch(False)
            self._watches_again_at = time.monotonic() + PAUSE
        if accepted:
            fds = [fd for fd, _ in accepted]
            sweep(os.set_blocking, fds, repeat(False))
            for fd, address in accepted:
                probe_when_idle(fd, address)
            if self._layer is None:
                self._receive(fds)
            else:
                self._begin_handshakes(fds, self._layer)

    def _begin_handshakes(self, fds: list[int], layer: "TlsLayer") -> None:
        """Let new connections say who they are, which is read in the next turn."""
        _, unwatched = sweep(self._readiness.register, fds, repeat(READ))
        layer.begin(fds)
        for fd in fds:
            self._wait_for_head(fd)
        for index in unwatched:
            self._close(fds[index])
        if not layer.has_room and self._watching:
            self.watch(True)  # once there is room

    def _wait_for_head(self, fd: int) -> None:
        self._heads[fd] = b""
        self._head_deadlines[fd] = time.monotonic() + self._limits.head_seconds

    def _receive(self, fds: list[int]) -> None:
        """Read what new connections have sent already, and welcome or refuse those whose request is whole."""
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
                self._wait_for_head(fd)
                self._read_head(fd, read.get(fd, b""))
        self.end(over)  # after what they said before that: who sends a request and shuts down is answered
        self._streams.end(over)

    def _welcome(self, fds: list[int], read: list[bytes]) -> bool:
        """Log in clients that sent what has been seen before; False when one of them did not."""
        common = self._requests.common(read)
        if common is None:
            return False
        for fd in fds if self._heads else ():
            self._forget_head(fd)
        self._streams.login(fds, *common)
        return True

    def take(self, fds: list[int], data: list[bytes]) -> tuple[list[int], list[bytes]]:
        """Take what came for descriptors that are waiting here; return the rows of the others."""
        if not self:
            return fds, data
        others: tuple[list[int], list[bytes]] = ([], [])
        first: tuple[list[int], list[bytes]] = ([], [])
        for fd, read in zip(fds, data, strict=True):
            head = self._heads.get(fd)
            if head is None and fd in self._partings:
                self._partings.drop(fd, len(read))
            elif head:
                self._read_head(fd, read)
            else:
                rows = others if head is None else first
                rows[0].append(fd)
                rows[1].append(read)
        if first[0]:
            self._take_first(*first)
        return others

    def _take_first(self, fds: list[int], read: list[bytes]) -> None:
        """Take the first that came of some heads: all at once where they are alike, otherwise by halves."""
        if self._welcome(fds, read):
            return
        if len(fds) == 1:
            self._read_head(fds[0], read[0])
            return
        half = len(fds) // 2
        self._take_first(fds[:half], read[:half])
        self._take_first(fds[half:], read[half:])

    def end(self, over: list[tuple[int, int]]) -> None:
        """Close descriptors that were waiting here and have come to an end; those of streams are no matter of this.

        Who has spoken something else than TLS is told so.
        """
        for fd, code in over:
            if code == Cause.TLS_PLAIN and fd in self._heads and self._layer is not None:
                self._layer.let_pass(fd)
                self._refuse(fd, without_tls())
            elif fd in self:
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
        if fd in self._outbox:  # it does not even read the flights of its handshake
            self._close(fd)
            return
        self._forget_head(fd)
        self._partings.begin(fd, answer)

    def expire(self, now: float) -> None:
        """Answer 408 to heads that took too long; close what was told its last long enough ago; end a pause."""
        for fd in overdue(self._head_deadlines, now):
            if self._layer is not None and fd in self._layer.handshakes:
                self._late.add(1)
                self._close(fd)
            else:
                self._refuse(fd, too_late(self._limits.head_seconds))
        self._partings.expire(now)
        if now >= self._watches_again_at or (self._waits_for_room and self._room > 0):
            self.watch(True)

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
        self._outbox.forget(fd)
        self._intake.forget([fd])
        os.close(fd)

    def close(self) -> None:
        """Close whatever is not a stream."""
        self.watch(False)
        self._partings.close_all()
        for fd in list(self._heads):
            self._close(fd)
