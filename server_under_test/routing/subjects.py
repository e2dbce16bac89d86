"""What a message is about, and who subscribes to it: a user's id, or a name. Pure."""

from floodtest.flyweight.errors import UsageError

Subject = int | str
"""A user's id, or the name of anything else."""

MAX_USER = 2**32 - 1
MAX_NAME = 255
"""Bytes of UTF-8."""


class BadSubject(UsageError):
    """What was given can't be a subject, or can't be a user."""


def as_user(value: object) -> int:
    """Return a user's id; BadSubject unless it is a whole number from 1 to 4,294,967,295."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_USER)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_USER:
        raise BadSubject(f"A user is a whole number from 1 to {MAX_USER:,}, not {_shown(value)}.")
    return value


def as_subject(value: object) -> Subject:
    """Return a subject: digits are a user's id, in a string as well; any other text of up to 255 bytes is a name."""
    if isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdigit()):
        return as_user(value)
    if not isinstance(value, str) or not 1 <= len(_utf8(value)) <= MAX_NAME:
        raise BadSubject(f"A subject is a user's id, or a name of 1 to {MAX_NAME} bytes, not {_shown(value)}.")
    return value


def _utf8(text: str) -> bytes:
    """Encode; a surrogate, which no text may have, makes it too long."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b"?" * (MAX_NAME + 1)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
