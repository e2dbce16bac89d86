"""Ids of server-sent events: `LIFE-NUMBER`, by which a client that comes back says how far it had come. Pure.

LIFE is a token that a server chooses when it starts, so that ids of another server, or of this one before a restart,
are told from its own; NUMBER counts the messages that it has taken up since, whatever they are about. What a client
sends back (Last-Event-ID) may be anything: whatever is no id of this life is unknown, and never an error.
"""

import re

UNKNOWN = -1
"""What stands for the number of an id that is none of this life."""

_NUMBER = re.compile(rb"0|[1-9]\d{0,17}")


def event_id(life: bytes, number: int) -> bytes:
    """Return the id of an event; empty where there is no life, and events have no ids."""
    return b"%b-%d" % (life, number) if life else b""


def number_in(life: bytes, last_event: bytes) -> int:
    """Return the number in a Last-Event-ID, or `UNKNOWN`."""
    before, dash, number = last_event.rpartition(b"-")
    is_ours = life and dash and before == life and _NUMBER.fullmatch(number)
    return int(number) if is_ours else UNKNOWN
