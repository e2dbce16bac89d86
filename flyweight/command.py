"""Running a command: the one place where errors become words on stderr and an exit code."""

import sys
from collections.abc import Callable

from flyweight.errors import ExitCode, FloodtestError
from flyweight.interrupt import raise_it


def known_error(error: BaseException) -> FloodtestError | None:
    """Return the first error of ours in what was raised (trio wraps it in groups), or None if there is another kind."""
    if isinstance(error, FloodtestError):
        return error
    if isinstance(error, BaseExceptionGroup):
        ours, others = error.split(FloodtestError)
        if ours is not None and others is None:
            return known_error(ours.exceptions[0])
    return None


def run_command(name: str, app: Callable[[], None]) -> None:
    """Call a typer application; print errors of ours as they are, and exit with their code."""
    raise_it()
    try:
        app()
    except (FloodtestError, BaseExceptionGroup) as error:
        ours = known_error(error)
        if ours is None:
            if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
                sys.exit(ExitCode.INTERRUPTED)
            raise
        for line in str(ours).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        sys.exit(ours.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
