"""Which grammar messages have: what they say of themselves, as a value that a worker is given. Pure.

Our own server's messages have numbers and stamps (`wire.messages`); those that are published by the API of another
server have marks of their run (`wire.mark`); what another server sends by itself may have times in it (`wire.times`).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from floodtest.wire import times
from floodtest.wire.messages import Said, read_payloads, reader_of_marks

Reader = Callable[[Sequence[bytes]], Said]
"""Reads payloads one by one."""


class Ours(msgspec.Struct, frozen=True, tag="ours"):
    """What our own server sends."""

    is_matrix: ClassVar[bool] = True
    """Whether batches of stamped messages may be read as a matrix."""
    may_overtake: ClassVar[bool] = False
    """Whether a message may come before one of a lower number."""
    names_users: ClassVar[bool] = False
    """Whether messages say whom they are for."""

    def reader(self) -> Reader:
        """Return what reads payloads."""
        return read_payloads


class Marks(msgspec.Struct, frozen=True, tag="marks"):
    """Messages that carry the mark of a run."""

    is_matrix: ClassVar[bool] = False
    may_overtake: ClassVar[bool] = True
    names_users: ClassVar[bool] = True
    run: str

    def reader(self) -> Reader:
        """Return what reads payloads; each may have no mark, one, or several."""
        return reader_of_marks(self.run)


class Times(msgspec.Struct, frozen=True, tag="times"):
    """Messages that say when they were sent: a pattern, and by how many ns their clock is ahead of ours."""

    is_matrix: ClassVar[bool] = False
    may_overtake: ClassVar[bool] = False
    names_users: ClassVar[bool] = False
    pattern: str
    ahead_ns: int = 0

    def reader(self) -> Reader:
        """Return what reads payloads; each may have one time or none."""
        read = times.reader_of(self.pattern, self.ahead_ns)

        def say(payloads: Sequence[bytes]) -> Said:
            sent, unreadable = read(payloads)
            return Said(len(payloads), (), (), (), sent, unreadable)

        return say


Grammar = Ours | Marks | Times
OURS = Ours()
