"""A relay: brings the messages of a bus over Valkey to the fronts of this machine.

In: row frames and lines of a router, or of any driver, as they come in the machine's channel. Out: turns on the bus
that this machine's fronts share, each row for a connection that its user has here at that moment; and what came of
the frames: how many were lost on the way, told by their numbers, and how many connections were found more, or fewer,
than the router had counted. Several connections of a user get a row each. A frame is dealt with before the next one is
looked at, so that whoever sends too fast for the fronts waits for them, as a router on this machine would.

Bounded: by one frame, and by lines of as many texts as one turn has. Fails: nothing; what is no frame is counted and
passed over, the last reason is kept in `problem`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import trio

from floodtest.server_under_test.cluster.dialogue import Welcome
from floodtest.server_under_test.cluster.row_frames import MAGIC, BadFrame, RowFrame, read_frame, read_lines
from floodtest.server_under_test.routing.bus import MESSAGES, ROWS, TEXTS
from floodtest.server_under_test.routing.turn_writer import Located, TurnWriter
from floodtest.server_under_test.routing.whereabouts import Whereabouts


class Relay:
    """Takes frames one after another; knows how far it has come with those of one router."""

    def __init__(self, whereabouts: Whereabouts, turns: TurnWriter) -> None:
        self._whereabouts = whereabouts
        self._turns = turns
        self.router = ""
        """The life of the router whose frames are counted; empty: none yet."""
        self.frame = 0
        """The number of the last of them that the fronts have been told of."""
        self._deliveries = 0  # in all of them
        self.gaps = 0
        """Frames that never came."""
        self.missed = 0
        """Deliveries in those, and to users who were not connected any more."""
        self.extra = 0
        """Deliveries to connections that the router did not know of."""
        self.malformed = 0
        self.problem = ""

    def begin(self, welcome: Welcome) -> None:
        """Begin a session: frames up to the one that is named, and that have not come by now, are lost."""
        if welcome.router == self.router:
            self._skip_to(welcome.frame + 1, welcome.deliveries)
        self.router, self.frame, self._deliveries = welcome.router, welcome.frame, welcome.deliveries

    async def take(self, messages: Iterable[bytes]) -> None:
        """Have the fronts deliver frames and lines; returns when they have been told."""
        for frame in self._frames_in(messages):
            if frame.number and frame.number <= self.frame:
                continue  # it was counted as lost when the session began
            if frame.number:
                self._skip_to(frame.number, frame.before)
            found = await self._deliver(frame)
            self.missed += max(0, frame.deliveries - found)
            self.extra += max(0, found - frame.deliveries)
            if frame.number:
                self.frame, self._deliveries = frame.number, frame.before + frame.deliveries

    def _skip_to(self, number: int, before: int) -> None:
        """Count as lost what should have come before the frame of a number."""
        self.gaps += max(0, number - self.frame - 1)
        self.missed += max(0, before - self._deliveries)

    def _frames_in(self, messages: Iterable[bytes]) -> Iterator[RowFrame]:
        """Yield what was sent, lines that follow one another as one frame."""
        lines: list[RowFrame] = []
        for data in messages:
            try:
                frame = (read_frame if data.startswith(MAGIC) else read_lines)(data)
            except BadFrame as error:
                self.malformed += 1
                self.problem = str(error)
                continue
            is_of_lines = not data.startswith(MAGIC)
            if lines and not (is_of_lines and _fit_together(lines, frame)):
                yield _joined(lines)
                lines = []
            if is_of_lines:
                lines.append(frame)
            else:
                yield frame
        if lines:
            yield _joined(lines)

    async def _deliver(self, frame: RowFrame) -> int:
        """Write the rows of a frame as turns, and return how many connections they are for."""
        for _ in self._whereabouts.catch_up():
            await trio.lowlevel.checkpoint()
        row, front, fd = self._whereabouts.find(frame.users)
        rows, which = Located(front, fd, frame.users[row]), frame.which[row].astype(np.intp)
        order = rows.order(which)
        rows, which = rows.at(order), which[order]
        for start in range(0, len(rows), ROWS):
            part = slice(start, start + ROWS)
            await self._turns.wait_for_fronts()
            told = await self._turns.write(rows.at(part), which[part], frame.texts)
            await self._turns.rest(told)
        return len(rows)


def _fit_together(lines: list[RowFrame], more: RowFrame) -> bool:
    """Return whether lines are no more than one turn has room for."""
    frames = [*lines, more]
    size = sum(len(text) for frame in frames for text in frame.texts)
    return size <= TEXTS and sum(map(len, frames)) <= MESSAGES


def _joined(lines: list[RowFrame]) -> RowFrame:
    """Return lines, each of which has a text of its own, as one frame."""
    texts = [text for frame in lines for text in frame.texts]
    users = np.concatenate([frame.users for frame in lines])
    return RowFrame(users, np.arange(len(texts), dtype=np.uint32), texts)
