"""The mark by which a message is known again that another server than ours passes on. Pure.

`ft-RUN-SUBJECT-NUMBER-PLANNED-LATE`: eight hex digits of the run, the user whom the message is for (`EVERYBODY`: each
of them), the running number of that subject's messages from 1 on, when it was planned in ns of CLOCK_MONOTONIC (19
digits) and how late it was published in µs (8 digits). It has letters, digits and hyphens only, so that it survives
JSON, server-sent events, URLs and HTML as it is, and it is found anywhere in what arrives. Marks of another run, such
as those that a server plays back, say nothing.

A planned time begins as that of a stamp does (`wire.stamp`), for the same columns.
"""

import re

from floodtest.wire import stamp

EVERYBODY = 0
"""The subject of messages that each connection should get; users are numbered from 1 on."""

_FORMAT = f"ft-%s-%d-%d-%0{stamp.PLANNED_DIGITS}d-%0{stamp.LATE_DIGITS}d"
_RUN = re.compile(r"[0-9a-f]{8}")


def mark(run: str, subject: int, number: int, planned_ns: int, late_us: int) -> str:
    """Return the mark of a message; `run` is eight hex digits."""
    return _FORMAT % (run, subject, number, planned_ns, min(max(0, late_us), stamp.MAX_LATE_US))


MARK_SIZE = len(mark("0" * 8, 2**32 - 1, 10**9 - 1, 0, 0))
"""Bytes of the longest."""


def pattern_of(run: str) -> re.Pattern[bytes]:
    """Return what finds the marks of a run: subject, number, planned time and lateness; ValueError if that is no run's
    name.
    """
    if not _RUN.fullmatch(run):
        raise ValueError(f"a run is named by eight hex digits, not {run!r}")
    first, rest = stamp.FIRST_DIGIT, stamp.PLANNED_DIGITS - 1
    pattern = rb"ft-%b-(\d{1,10})-(\d{1,9})-([0-%d]\d{%d})-(\d{%d})(?!\d)"
    return re.compile(pattern % (run.encode(), first, rest, stamp.LATE_DIGITS))
