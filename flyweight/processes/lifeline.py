"""`python -m flyweight.processes.lifeline FOLDER`: removes a folder when the processes that use it have ended, however
they did.

Its stdin is a lifeline: a pipe or socket whose other end those processes hold; the kernel closes that end with the last
of them. What can't be removed is said on stderr, and ends it with status 1.
"""

import select
import shutil
import sys
from pathlib import Path

from floodtest.flyweight.command.stdio import display
from floodtest.flyweight.errors import ExitCode


def remove(folder: Path) -> ExitCode:
    """Remove a folder with all that is in it, if it is there; say on stderr what can't be."""
    gone = folder.with_name(f"{folder.name}.gone")
    try:
        folder.rename(gone)  # first: now nobody opens a file in it while it is being emptied
        shutil.rmtree(gone)
    except FileNotFoundError:
        pass  # it was never made, or somebody else removed it
    except OSError as error:
        print(f"{folder} could not be removed ({error.strerror}). Remove it.", file=sys.stderr)
        return ExitCode.FAULT
    return ExitCode.OK


if __name__ == "__main__":
    display()
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    poll.poll()
    sys.exit(remove(Path(sys.argv[1])))
