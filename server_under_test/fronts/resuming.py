"""Clients of event streams that come back: what a front tells them, and which of them wait for what they have missed.

A client that says which event it had last (Last-Event-ID) gets everything that came later in one piece, which the
router makes (`server_under_test.routing.replays`). It is written before anything else but the welcome: messages that
the front has to write to it earlier are passed over, as the replay has them. A server without a history has nothing to
replay, and says at once that messages were lost.

In: connections whose clients come back. Out: `Resume`, which asks the router, and once that has answered, the bytes of
a replay. Only while a replay is waited for two numbers a connection are kept here. Fails: nothing here does; who waits
for a replay that was lost with a turn of the bus has to be closed, and comes back.
"""

from dataclasses import dataclass

import numpy as np

from floodtest.flyweight.processes.channel import decoder
from floodtest.server_under_test.fronts.orders import Resume
from floodtest.server_under_test.routing.bus import UNNUMBERED, Column, FrontBus, Replay, Rows
from floodtest.wire.event_ids import event_id, number_in
from floodtest.wire.protocols import Served

COMMENT = b":\n\n"
"""What an event stream is sent from time to time so that it is not taken for dead."""

REQUESTS = 1024
"""Requests of one message to the router."""


@dataclass(frozen=True)
class Missed:
    """A replay for a connection that waits for it."""

    life: bytes
    replay: Replay

    def frames(self, protocol: Served, number: int) -> tuple[int, bytes]:
        """Return the `#n` of the last message, and all of it as it travels behind message `number`."""
        texts, last = self.replay.texts, number + len(self.replay.texts)
        lost = protocol.lost(event_id(self.life, self.replay.before)) if self.replay.is_lost else b""
        ids = [event_id(self.life, each) for each in self.replay.numbers]
        return last, lost + b"".join(protocol.frames(np.arange(number + 1, last + 1, dtype=np.uint32), texts, ids))


class Resuming:
    """What one front has to do with clients that come back; false as long as nobody waits for a replay."""

    def __init__(self, bus: FrontBus, life: str = "", retry: float | None = None) -> None:
        """`life` is empty where there is no history; `retry` is when clients are to come back, in seconds."""
        self._bus = bus
        self._life = life.encode()
        self._retry = b"" if retry is None else b"retry: %d\n" % max(1, round(1000 * retry))
        self._decoder = decoder(Replay)
        self._waiting: dict[int, int] = {}  # by descriptor, the token of its request
        self._last_token = 0
        self._asked: list[tuple[int, int, int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, fd: int) -> bool:
        return fd in self._waiting

    @property
    def waiting(self) -> list[int]:
        """The descriptors that wait for a replay."""
        return list(self._waiting)

    @property
    def has_asked(self) -> bool:
        """Whether there are requests that `requests` has not returned yet."""
        return bool(self._asked)

    def fields(self, last_event: bytes | None) -> bytes:
        """Return the fields of a welcome; to be asked before the connection is told to the router.

        Who begins is behind the last message that there was before. Who comes back stays where it was until it has got
        what it has missed.
        """
        if last_event is not None or not self._life:
            return self._retry
        return self._retry + b"id: %b\n" % event_id(self._life, self._bus.taken_up)

    def begin(self, fd: int, user: int, protocol: Served, last_event: bytes) -> bytes:
        """Ask for what a client has missed; return what is to be written to it without waiting for that."""
        if not self._life:
            return protocol.lost(b"")  # an empty id: the client forgets its own
        self._last_token += 1
        self._waiting[fd] = self._last_token
        self._asked.append((fd, user, number_in(self._life, last_event), self._last_token))
        return b""

    def requests(self) -> list[Resume]:
        """Return what the router is to be asked since this was last called."""
        asked, self._asked = self._asked, []
        return [Resume(asked[first : first + REQUESTS]) for first in range(0, len(asked), REQUESTS)]

    def forget(self, fd: int) -> None:
        """Wait for nothing for a descriptor any more, whose connection is over."""
        self._waiting.pop(fd, None)

    def missed(self, fd: int, text: bytes) -> Missed | None:
        """Take a replay out of a text for a descriptor; None if its connection does not wait for this one."""
        replay: Replay = self._decoder.decode(text)
        if self._waiting.get(fd) != replay.token:
            return None
        del self._waiting[fd]
        return Missed(self._life, replay)

    def ids_of(self, rows: Rows, which: Column) -> list[bytes]:
        """Return the event id of each of these texts of a turn; nothing where events have none."""
        if not self._life or rows.first <= UNNUMBERED:
            return []
        return [event_id(self._life, rows.first + at) for at in which.tolist()]
