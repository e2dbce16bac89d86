"""The stamp that opens a generated message: when it was planned, and how late it was published.

`@PLANNED+LATE ` in digits of fixed width: nanoseconds of CLOCK_MONOTONIC, and microseconds. Whoever reads it on the
same machine has the latency from the plan, which forgives nothing, and from the publishing, which shows what a closed
loop would have claimed.
"""

import re

FORMAT = b"@%019d+%08d "
SIZE = len(FORMAT % (0, 0))
MAX_LATE_US = 10**8 - 1

MAX_TEXT = 1 << 16
"""Bytes of one message's text, stamp included."""

PATTERN = re.compile(rb"@(\d{19})\+(\d{8}) ")
