"""What flows out to one front machine: the turns that have rows of its users, as row frames within a window.

A router writes turns on a bus of its own memory, as it does for fronts of its own; an outflow is what reads those of
one machine there, in place of a front. In: orders that tell of turns, the beginnings and ends of sessions, and how far
the machine has come. Out: frames in the machine's channel, in their order, each once, and the columns that a `Progress`
looks at: the last turn that the machine has acknowledged, and how many deliveries.

Bounded: at most `WINDOW` bytes of frames are not acknowledged, or one frame; that is what a machine that stands still
may have waiting in the server. Further turns wait on the router's bus, which forgets them when others need its memory:
their rows are counted in `lost`, and so are the rows of frames that a machine never got and never will, since it has
started anew. Frames that were lost on the way are counted by the machine, from its next welcome or frame.
Fails: nothing; while there is no session, nothing is sent.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import trio

from floodtest.server_under_test.cluster.row_frames import RowFrame, encode_frame, frames_of
from floodtest.server_under_test.routing.bus import Deliver, FrontBus
from floodtest.server_under_test.routing.bus_reader import Reader

WINDOW = 1 << 20
"""Bytes of frames that a machine has not acknowledged: eight of the largest."""

_ROW = np.dtype([("turn", "i8"), ("undeliverable", "i8")])
"""What a `Reader` counts: the last turn that was sent, and rows that were gone before they were."""


@dataclass(frozen=True)
class _Sent:
    """A frame that is not acknowledged."""

    number: int
    size: int
    deliveries: int
    turn: int
    """The turn that is sent as a whole with it; 0: it goes on in the next frame."""


class Outflow:
    """The frames of one machine; `publish` says something in its channel, and how many heard it (None: not known)."""

    def __init__(
        self,
        bus: FrontBus,
        machine: int,
        publish: Callable[[bytes], Awaitable[int | None]],
        written: npt.NDArray[np.int64],
        dealt_with: npt.NDArray[np.int64],
    ) -> None:
        """`written` and `dealt_with` are columns with an entry for each machine."""
        self._machine = machine
        self._publish = publish
        self._written, self._dealt_with = written, dealt_with
        self._row: npt.NDArray[Any] = np.zeros(1, _ROW)
        self._reader = Reader(bus, machine, self._row)
        self._sent: deque[_Sent] = deque()
        self._in_window = 0
        self._changed = trio.Event()
        self._has_session = False
        self._lost_with_starts = 0
        self.frames = 0
        """The number of the last frame."""
        self.deliveries = 0
        """Deliveries in all frames until now."""

    @property
    def lost(self) -> int:
        """Rows that were gone from the bus before the machine had room for them."""
        return int(self._row["undeliverable"][0]) + self._lost_with_starts

    @property
    def in_window(self) -> int:
        """Bytes of frames that are not acknowledged."""
        return self._in_window

    def tell(self, order: Deliver) -> None:
        """Take an order that tells of turns."""
        self._reader.begin(order)
        self._change()

    def begin_session(self, knows_frames: bool) -> None:
        """Go on with a machine; it is told what the last frame was.

        One that has counted frames of this router counts as lost what it has not had. One that has not (it has started
        anew) can't, so that this is done here.
        """
        if not knows_frames:
            self._lost_with_starts += sum(sent.deliveries for sent in self._sent)
        self._acknowledge_until(self.frames)
        self._has_session = True
        self._change()

    def end_session(self) -> None:
        """Send nothing before the next session."""
        self._has_session = False

    def acknowledge(self, number: int) -> None:
        """Note that the machine has dealt with all frames up to this one."""
        self._acknowledge_until(number)
        self._change()

    async def run(self) -> None:
        """Send what there is to send, until cancelled."""
        while True:
            await self._wait_for(lambda: self._reader.under_way)
            while (turn := self._reader.next()) is not None:
                frames = list(frames_of(turn.rows, self.frames + 1, self.deliveries))
                for frame in frames:
                    await self._send(frame, turn.number if frame is frames[-1] else 0)
                self._reader.deal_with(len(turn.rows.fds))
                self._reader.finish(turn)

    async def _send(self, frame: RowFrame, turn: int) -> None:
        data = encode_frame(frame)
        while True:
            await self._wait_for(lambda: self._has_session and self._has_room(len(data)))
            # Counted before it is on its way, since its acknowledgement may be here first.
            self._sent.append(_Sent(frame.number, len(data), frame.deliveries, turn))
            self._in_window += len(data)
            self.frames, self.deliveries = frame.number, frame.before + frame.deliveries
            if await self._publish(data) != 0 or not self._take_back(frame):
                return

    def _take_back(self, frame: RowFrame) -> bool:
        """Take a frame back that nobody heard, so that it is sent when the machine is there again.

        False if the machine was told of it meanwhile, as it said hello, and has counted it as lost.
        """
        if not self._sent or self._sent[-1].number != frame.number:
            return False
        self._has_session = False
        self._in_window -= self._sent.pop().size
        self.frames, self.deliveries = frame.number - 1, frame.before
        return True

    def _has_room(self, size: int) -> bool:
        return not self._sent or self._in_window + size <= WINDOW

    def _acknowledge_until(self, number: int) -> None:
        while self._sent and self._sent[0].number <= number:
            sent = self._sent.popleft()
            self._in_window -= sent.size
            self._dealt_with[self._machine] += sent.deliveries
            if sent.turn:
                self._written[self._machine] = sent.turn

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
