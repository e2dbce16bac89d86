"""The stages of a run, in their order: the one table of their names, and what is told apart by them. No I/O.

A record has a stage by its name. One that was read may have names that are not in this table (of a newer program, or
made by hand), so a reader compares names with these and never converts them.
"""

from enum import StrEnum


class Stage(StrEnum):
    """A named part of a run."""

    START = "start"
    """Server and workers begin; nothing is open."""
    RAMP = "ramp"
    """Connections are being opened."""
    HOLD = "hold"
    """Connections are held; the server may send ticks."""
    MESSAGES = "messages"
    """Connections are held, and messages are published; only in a run that was asked for them."""
    CLOSE = "close"
    """Connections are being closed."""


OPENING = frozenset({Stage.START, Stage.RAMP})
"""In which all that were planned are not yet open: the figures change fast, so samples are taken more often."""
