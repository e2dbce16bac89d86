"""Running a command: the one place where errors become words on stderr and an exit code.

Modules that declare commands (with typer) import what declaring and checking options takes, and no more: help, a
mistyped option, and `floodtest run` before it starts itself anew in a network of its own need no array and no event
loop. What a command does is in a module that its function imports once the options are checked.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from copy import copy
from functools import wraps
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer
from typer.models import CommandInfo, TyperInfo

from floodtest.flyweight.command.interrupt import raise_it
from floodtest.flyweight.command.stdio import Output, display
from floodtest.flyweight.errors import ExitCode, FloodtestError, Refused
from floodtest.flyweight.machine.reasons import reason_of_memory


def known_error(error: BaseException) -> FloodtestError | None:
    """Return the first error of ours in what was raised (trio wraps it in groups), or None if there is another kind.

    Memory that can't be had is one of them, and refused: what has begun by then says so (`memory_is_a_fault`).
    """
    if isinstance(error, FloodtestError):
        return error
    if isinstance(error, MemoryError):
        return Refused(reason_of_memory(error))
    if isinstance(error, BaseExceptionGroup):
        ours, others = error.split((FloodtestError, MemoryError))
        if ours is not None and others is None:
            return known_error(ours.exceptions[0])
    return None


def print_json(value: Any) -> None:
    """Print structs, mappings and lists as one line of JSON, in ASCII: no encoding of standard output can break it."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(value)))


HELP_NAMES = {"help_option_names": ["--help", "-h"]}
"""For `context_settings` of a command, from which its subcommands have them."""


def add_version(name: str, app: typer.Typer) -> None:
    """Give a command and each of its subcommands the option --version."""

    def show(is_asked: bool) -> None:
        if is_asked:
            from importlib.metadata import version

            print(f"{name} {version('floodtest')}")
            raise typer.Exit

    text = "Show the version and exit."
    kind = Annotated[bool, typer.Option("--version", callback=show, is_eager=True, help=text)]
    option = inspect.Parameter("show_version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
    for each in (app.registered_callback, *app.registered_commands):
        if each is not None and each.callback is not None:
            each.callback = _taking(each.callback, option)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_version(name, group.typer_instance)


def _taking(call: Callable[..., Any], option: inspect.Parameter) -> Callable[..., Any]:
    """Return a function with one option more, which it passes over."""

    @wraps(call)
    def take(*arguments: Any, **given: Any) -> Any:
        del given[option.name]
        return call(*arguments, **given)

    signature = inspect.signature(call)
    take.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    return take


def only_asked_for(app: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """Return an application in which no command has options but the one that a command line asks for.

    Help shows of the others what they are called and what they do. Making the options of a command takes typer some
    10 ms, of which a run, a plan and a probe have ninety each.
    """
    asked = next((word for word in words if not word.startswith("-")), None)
    lean = copy(app)
    lean.registered_commands = [one if one.name == asked else _bare(one) for one in app.registered_commands]
    lean.registered_groups = [_lean_group(one, words) for one in app.registered_groups]
    return lean


def _bare(command: CommandInfo) -> CommandInfo:
    """Return a command without its options."""
    assert command.callback is not None

    def told_of() -> None:
        raise AssertionError("it is not what the command line asks for")

    bare = copy(command)
    told_of.__name__, told_of.__doc__ = command.callback.__name__, command.callback.__doc__
    bare.callback = told_of
    return bare


def _lean_group(group: TyperInfo, words: Sequence[str]) -> TyperInfo:
    """Return a group of commands, lean if they stand beside those of the application; one with a name is small."""
    if group.typer_instance is None or isinstance(group.name, str):
        return group
    lean = copy(group)
    lean.typer_instance = only_asked_for(group.typer_instance, words)
    return lean


def run_command(name: str, app: Callable[[], None]) -> NoReturn:
    """Call a typer application; print errors of ours as they are, and exit with their code."""
    raise_it()
    display()
    stream = sys.stdout
    output = Output(stream or open(os.devnull, "w"))  # noqa: SIM115 (there is none if it was closed before we began)
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
    except (FloodtestError, MemoryError, BaseExceptionGroup) as error:
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
