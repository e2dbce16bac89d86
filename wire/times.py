"""Times in messages of a server that is not ours: when it says that it sent each, by a pattern of a person's. Pure.

In: an expression of Python's `re` with one group named s, ms, us, ns or iso, and payloads. Out: nanoseconds of
CLOCK_REALTIME of this host, one for each payload in which it is found. A number counts from 1970 in the unit that its
group names, and may have a fraction; `iso` is ISO 8601 with a zone (Z or an offset), since a time without one may be
of any. Whatever a server writes is bounded by one rule: a time is from 1970 on and before `stamp.END_NS`, by our own
clock, so that an int64 holds it and its difference from any other. What breaks the rule is counted, and is no time.

Cost: a search of `MAX_SEARCHED` bytes of a message at the most, some microseconds for a simple pattern, and 1 µs for
the value. One that goes back often (`(a+)+`) takes as long as it takes: it is the person's own. Messages that are alike
in many reads are searched once (`wire.incoming`).

Fails: ValueError for what is no such expression, with what is wrong with it.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from floodtest.wire import stamp

MAX_SEARCHED = 1 << 12
"""Bytes of a message in which a time is looked for: its first ones."""

MAX_OFFSET_SECONDS = 86_400
"""By how much another clock may be ahead of ours, or behind it: what differs by more is to be set."""

_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""By group: digits of a unit in nanoseconds."""

GROUPS = (*_DIGITS, "iso")

_NUMBER = re.compile(rb"(\d{1,19})(?:\.(\d{1,18}))?")
_MAX_ISO = 48
"""Bytes of the longest text that is read as ISO 8601."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def pattern_of(text: str) -> tuple[re.Pattern[bytes], str]:
    """Return what finds times, and the name of the group that has them."""
    try:
        pattern = re.compile(text.encode(), re.DOTALL)
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    groups = [name for name in pattern.groupindex if name in GROUPS]
    if len(groups) != 1:
        raise ValueError(f"{text!r} needs one group that is named {', '.join(GROUPS)}")
    return pattern, groups[0]


def reader_of(text: str, ahead_ns: int) -> Callable[[Sequence[bytes]], tuple[tuple[int, ...], int]]:
    """Return what reads payloads: times of our clock, in ns, and how many of what was found were none.

    The clock of the messages is so many nanoseconds ahead of ours.
    """
    return partial(_read, *pattern_of(text), ahead_ns)


def _read(
    pattern: re.Pattern[bytes], group: str, ahead_ns: int, payloads: Sequence[bytes]
) -> tuple[tuple[int, ...], int]:
    matches = [pattern.search(payload, 0, MAX_SEARCHED) for payload in payloads]
    texts = [match[group] for match in matches if match is not None and match[group] is not None]
    found = [nanoseconds(group, text) for text in texts]
    times = tuple(ns - ahead_ns for ns in found if ns is not None and 0 <= ns - ahead_ns < stamp.END_NS)
    return times, len(texts) - len(times)


def nanoseconds(group: str, text: bytes) -> int | None:
    """Return the nanoseconds since 1970 that a text says; None if it is no number, or no time of ISO 8601."""
    if group == "iso":
        return _of_iso(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    digits = _DIGITS[group]
    fraction = (match[2] or b"")[:digits].ljust(digits, b"0")
    return int(match[1] + fraction)


def _of_iso(text: bytes) -> int | None:
    if len(text) > _MAX_ISO:
        return None
    try:
        said = datetime.fromisoformat(text.decode("ascii"))
        return None if said.tzinfo is None else (said - _EPOCH) // _MICROSECOND * 1000
    except (ValueError, OverflowError):
        return None
