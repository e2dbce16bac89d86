"""The errors a person sees, and the exit codes that scripts see.

Each error says what happened, to what, and what to do about it, in one sentence that is printed as it stands.
Library code raises; only a command's `main` turns an error into an exit code.
"""

import enum


class ExitCode(enum.IntEnum):
    """What `floodtest` and `comet` tell the shell."""

    OK = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    SHORTFALL = 4
    INTERRUPTED = 130
    UNREAD = 141
    """What a shell says of a command that SIGPIPE ended."""


class FloodtestError(Exception):
    """Root of all errors that are raised on purpose; by itself, a fault of ours."""

    exit_code = ExitCode.FAULT


class UsageError(FloodtestError):
    """The options make no sense; `problems` holds a sentence for each of them."""

    exit_code = ExitCode.USAGE

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Refused(FloodtestError):
    """The options are sound, but this machine or its surroundings can't do it; nothing was opened."""

    exit_code = ExitCode.REFUSED


class Unread(FloodtestError):
    """Who read standard output has gone, as `head` does; there is nobody to tell."""

    exit_code = ExitCode.UNREAD


class WorkerFault(FloodtestError):
    """A process of ours ended, or never came up, for a reason of its own."""
