"""What the numbers of a connection's messages (`#n`, from 1) show: what is missing, repeated, or can't be right. Pure.

In: the number that a connection has come to (0: none yet), and the next one that was read. Out: the number that the one
after that is held against, and counts in an `OutOfSequence`. Each message adds to one count at the most.
"""

from dataclasses import dataclass

MAX_STEP = 1 << 16
"""The largest step from one number of a connection to the next that is taken for missing messages.

A peer can write any number, but what it can have sent is bounded by time: this is more than a minute of the fastest
ticks of our server (one a millisecond), all of them lost by a connection that lives on. RTP takes 3,000 packets for
this (RFC 3550, appendix A.1)."""


@dataclass
class OutOfSequence:
    """Counts of what is out of sequence."""

    missing: int = 0
    """Messages that a step passes over."""
    repeated: int = 0
    """Messages whose number is not above the one before."""
    jumps: int = 0
    """Messages whose number is more than `MAX_STEP` above the one before."""

    def follow(self, before: int, number: int) -> int:
        """Count what `number` behind `before` shows; return what the next number is held against.

        That stays where it was after a jump: if it moved, one forged number would make all later messages of its
        connection repeated ones. A peer that really goes on from there has each of its messages counted as a jump.
        """
        step = number - before
        if step > MAX_STEP:
            self.jumps += 1
            return before
        if step < 1:
            self.repeated += 1
            return before
        self.missing += step - 1
        return number
