"""How connections poll, as the options of a run say it; `wire.poll_requests` does it. Pure, and light to import."""

import re

import msgspec

MAX_CURSOR = 255
"""Bytes of what is remembered of an answer for the next poll."""


class Polling(msgspec.Struct, frozen=True):
    """How connections poll; times in seconds."""

    held: float
    """How long a first poll has to be unanswered to count as held."""
    pause: float
    """Before the next poll, where an answer has no message and came sooner than this."""
    cursor: str | None = None
    """A regular expression whose first group is the cursor; None: headers have it."""
    first_cursor: str = ""
    """What a first poll says where others say the cursor: UTF-8 of `MAX_CURSOR` bytes at the most."""


def problem_of(cursor: str) -> str | None:
    """Return what is wrong with a pattern, None if nothing is."""
    try:
        groups = re.compile(cursor.encode()).groups
    except (re.error, OverflowError, UnicodeEncodeError) as error:
        return f"it is no regular expression: {error}"
    return None if groups == 1 else f"it needs one group, which is the cursor, and has {groups}"
