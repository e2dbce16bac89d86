"""Outgoing: what a worker has for its servers, and to which of them it can't be written any more.

In: requests on their way, what users send first, replies. Out: whose bytes have gone out, and codes of those that have
to end: at once if their server does not read (`TOO_SLOW`), or when all has been read that a server has sent which
takes no more, such as why it does not. Cost: nothing for a connection to which nothing is pending.
"""

from collections.abc import Iterable, Sequence

from floodtest.flyweight.engine.intake import END, Intake
from floodtest.flyweight.engine.layer import Layer
from floodtest.flyweight.engine.outbox import TOO_SLOW, Gone, Outbox
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.engine.sweep import without
from floodtest.loadgen.client.accounts import Phase
from floodtest.loadgen.client.opening import BROKEN

MOST_UNSENT = 1 << 24
"""Bytes of a request that are kept while its connection comes about: far more than any request has."""


class Outgoing:
    """What is on its way out by the descriptors of one worker."""

    def __init__(self, intake: Intake, readiness: Readiness, layer: Layer | None = None) -> None:
        self._intake = intake
        self.outbox = Outbox(MOST_UNSENT, readiness.modify, layer)
        """What is still to be written of requests, and of replies to what servers ask on open streams."""
        self._connecting: set[int] = set()
        """Descriptors in flight whose handshake is not known to be over."""
        self._unwritable: dict[int, int] = {}
        """Descriptors that can't be written any more, each with the errno that says why."""

    def begin(self, connecting: Iterable[int], unwritable: Gone) -> None:
        """Take over descriptors whose handshake is not over, and such that can't be written."""
        self._connecting.update(connecting)
        if unwritable:
            self._end(unwritable)

    def flush(self, events: Sequence[tuple[int, int]]) -> tuple[list[int], set[int]]:
        """Write what is pending for descriptors that have events; return those to which it could be written, and which
        of them had not been known to be connected.
        """
        fds = [fd for fd, _ in events if fd in self.outbox]
        gone = self.outbox.flush(fds)
        connected = self._connecting & set(fds) - gone.keys()
        self._connecting -= connected
        self._end(gone)
        return [fd for fd in fds if fd not in gone], connected

    def write(self, fds: list[int], data: list[bytes]) -> None:
        """Write to descriptors, behind what is pending there."""
        self._end(self.outbox.write(fds, data))

    def write_sealed(self, fds: list[int], data: list[bytes]) -> Gone:
        """Write what the layer has to say itself, such as an update of keys; nobody is gone by that: who takes no more
        is read to its end.
        """
        self._end(self.outbox.write_sealed(fds, data))
        return {}

    def write_new(self, fds: list[int], data: list[bytes]) -> Gone:
        """Write to connections from whose outbox everything has to be gone by now; return those where it is not."""
        slow = {fd: TOO_SLOW for fd in fds if fd in self.outbox} if self.outbox else {}
        if slow or self._unwritable:
            left_out = {index for index, fd in enumerate(fds) if fd in slow or fd in self._unwritable}
            fds, data = without(left_out, fds, data)
        self.write(fds, data)
        return slow

    def _end(self, gone: Gone) -> None:
        """Write no more to these descriptors, and have them read to their end."""
        for fd in gone:
            self.outbox.forget(fd)
        self._unwritable |= gone
        self._intake.read_again(gone)

    def has_written(self, fd: int) -> bool:
        """Whether all that was for a descriptor has been written."""
        return fd not in self.outbox and fd not in self._unwritable

    def over(self) -> list[tuple[int, int]]:
        """Return the descriptors that can't be written and have been read to their end, each with its errno."""
        return [(fd, code) for fd, code in self._unwritable.items() if not self._intake.is_unread(fd)]

    def why(self, fd: int, code: int) -> int:
        """Return why a descriptor ended for which reading found an errno, or `END`: what its writing found first."""
        return self._unwritable.get(fd, code)

    def phase(self, fd: int, code: int) -> Phase:
        """How far a connection in flight without an answer had got; a peer can only break what was connected."""
        if fd in self._connecting:
            return Phase.REQUEST if code in BROKEN or code == END else Phase.CONNECT
        return Phase.RESPONSE if self.has_written(fd) else Phase.REQUEST

    def forget(self, fd: int) -> None:
        """Have nothing to write to a descriptor that is closed."""
        self._connecting.discard(fd)
        self._unwritable.pop(fd, None)
        self.outbox.forget(fd)
