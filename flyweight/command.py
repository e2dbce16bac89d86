"""Running a command: the one place where errors become words on stderr and an exit code."""

import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, cast

from flyweight.errors import ExitCode, FloodtestError, Refused, Unread
from flyweight.interrupt import raise_it


class Output:
    """Standard output that raises errors of ours: Unread where a pipe's reader has gone, Refused for a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: FloodtestError | None = None
        """What was raised, since who writes may have passed over it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or keep it until there is more."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Write what was kept."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def finish(self) -> None:
        """Write what was kept; raise what went wrong, be it long ago."""
        self.flush()
        if self.lost is not None:
            raise self.lost

    def _give_up(self, error: OSError) -> NoReturn:
        with open(os.devnull, "wb") as nowhere:  # for what is still kept: the interpreter writes it when it ends
            os.dup2(nowhere.fileno(), self._stream.fileno())
        words = f"Can't write to standard output: {error.strerror}. Send it elsewhere, or make room."
        self.lost = Unread() if isinstance(error, BrokenPipeError) else Refused(words)
        raise self.lost from error


def known_error(error: BaseException) -> FloodtestError | None:
    """Return the first error of ours in what was raised (trio wraps it in groups), or None if there is another kind."""
    if isinstance(error, FloodtestError):
        return error
    if isinstance(error, BaseExceptionGroup):
        ours, others = error.split(FloodtestError)
        if ours is not None and others is None:
            return known_error(ours.exceptions[0])
    return None


def run_command(name: str, app: Callable[[], None]) -> NoReturn:
    """Call a typer application; print errors of ours as they are, and exit with their code."""
    raise_it()
    stream = sys.stdout
    output = Output(stream or io.StringIO())  # there is none if it was closed before we began
    sys.stdout = cast(TextIO, output)
    try:
        code = _code_of(name, app)
        if output.lost is None or not code:  # otherwise it has been said
            unwritten = _code_of(name, output.finish)
            code = code or unwritten
    finally:
        sys.stdout = stream
    sys.exit(code)


def _code_of(name: str, call: Callable[[], None]) -> Any:
    """Call something; return the exit code that it ended with, having said why."""
    try:
        call()
    except SystemExit as end:
        return end.code
    except (FloodtestError, BaseExceptionGroup) as error:
        ours = known_error(error)
        if ours is None:
            if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
                return ExitCode.INTERRUPTED
            raise
        for line in str(ours).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        return ours.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK
