"""What a command leaves behind: its processes, known by a mark in their environment, which their children inherit."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MARK = "FLOODTEST_ATTACK"


def marked(mark: str) -> Mapping[str, str]:
    """Return our environment with a mark, for a command that is started."""
    return {**os.environ, MARK: mark}


def processes_with(mark: str) -> list[int]:
    """Return the processes that have the mark in their environment and have not ended."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def left_after(mark: str, seconds: float = 10) -> list[str]:
    """Return the command lines of marked processes that are there so many seconds later still, and end them."""
    until = time.monotonic() + seconds
    while (left := processes_with(mark)) and time.monotonic() < until:
        time.sleep(0.02)
    lines = []
    for pid in left:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            os.kill(pid, signal.SIGKILL)
            lines.append(words.strip())
    return lines
