"""How connections poll, as the options of a run say it; `wire.polls` does it. Pure, and light to import."""

import re

import msgspec


class Polling(msgspec.Struct, frozen=True):
    """How connections poll; times in seconds."""

    held: float
    """How long a first poll has to be unanswered to count as held."""
    pause: float
    """Before the next poll, where an answer has no message and came sooner than this."""
    cursor: str | None = None
    """A regular expression whose first group is the cursor; None: headers have it."""
    first_cursor: str = ""
    """What a first poll says where others say the cursor."""


def problem_of(cursor: str) -> str | None:
    """Return what is wrong with a pattern, None if nothing is."""
    try:
        groups = re.compile(cursor.encode()).groups
    except (re.error, OverflowError, UnicodeEncodeError) as error:
        return f"it is no regular expression: {error}"
    return None if groups == 1 else f"it needs one group, which is the cursor, and has {groups}"
