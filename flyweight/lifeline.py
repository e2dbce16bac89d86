"""What is to happen when the process that started another is gone: one that is killed can't say so.

A lifeline is a pipe or socket whose other end is held by whoever is to live; the kernel closes that end with the last
process that has it. In: our end. Out: `end_with` ends the process that calls it; `python -m flyweight.lifeline FOLDER`,
with the lifeline as its stdin, removes a folder and ends. What can't be removed is said on stderr.
"""

import os
import select
import shutil
import sys
import threading
from pathlib import Path

from flyweight.errors import ExitCode
from flyweight.stdio import display


def end_with(descriptor: int) -> None:
    """End this process at once, whatever it is doing, when the other end of a lifeline is closed, or is already."""

    def watch() -> None:
        _wait_for_end(descriptor)
        os._exit(ExitCode.INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()


def _remove(folder: Path) -> None:
    gone = folder.with_name(f"{folder.name}.gone")
    try:
        folder.rename(gone)  # first: now nobody opens a file in it while it is being emptied
        shutil.rmtree(gone)
    except FileNotFoundError:
        pass  # it was never made, or somebody else removed it
    except OSError as error:
        print(f"{folder} could not be removed ({error.strerror}). Remove it.", file=sys.stderr)


if __name__ == "__main__":
    display()
    _wait_for_end(sys.stdin.fileno())
    _remove(Path(sys.argv[1]))
