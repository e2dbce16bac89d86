"""The stamp that opens a generated message: when it was planned, and how late it was published.

`@PLANNED+LATE ` in digits of fixed width: nanoseconds of CLOCK_MONOTONIC, and microseconds. Whoever reads it on the
same machine has the latency from the plan, which forgives nothing, and from the publishing, which shows what a closed
loop would have claimed.

A planned time begins with a digit of at most `FIRST_DIGIT`. Text that breaks this rule is no stamp, and its message is
one without a stamp: whoever reads stamps, by `PATTERN` or by comparing bytes, applies it.
"""

import re

PLANNED_DIGITS = 19
LATE_DIGITS = 8

FIRST_DIGIT = 8
"""So every planned time is below 9·10^18. An int64 holds it (2^63 is 9.2·10^18), and its difference from any time of
this machine: CLOCK_MONOTONIC, which counts from the boot, gets that far in 285 years."""

END_NS = (FIRST_DIGIT + 1) * 10 ** (PLANNED_DIGITS - 1)
"""No time that a peer says is at or after this."""

FORMAT = b"@%%0%dd+%%0%dd " % (PLANNED_DIGITS, LATE_DIGITS)
SIZE = len(FORMAT % (0, 0))
MAX_LATE_US = 10**LATE_DIGITS - 1

MAX_TEXT = 1 << 16
"""Bytes of one message's text, stamp included."""

PATTERN = re.compile(rb"@([0-%d]\d{%d})\+(\d{%d}) " % (FIRST_DIGIT, PLANNED_DIGITS - 1, LATE_DIGITS))
