"""Command lines made from options that are declared as fields (`flyweight.command.options`), and read into them.

typer cuts a command line into texts and writes its help. The texts are read here, so that a person who mistyped three
options is told of three: what can't be read, and what contradicts itself, is collected and raised as one UsageError.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from functools import wraps
from typing import Annotated, TypeVar, cast

import typer

from floodtest.flyweight.command.options import Declared, options_of, own_options_of, parts_of
from floodtest.flyweight.errors import UsageError

T = TypeVar("T")


class CommandLine:
    """The texts of a command line by option, and what was found wrong with those that have been read."""

    def __init__(self, texts: Mapping[str, object]) -> None:
        self._texts = texts
        self._problems: list[str] = []
        self._unread: set[str] = set()

    def has(self, name: str) -> bool:
        """Return whether an option with a text is given; names are those of `Declared.key`."""
        return self._texts[name] is not None

    def read(self, kind: type[T], **made: object) -> T:
        """Return the options of a class, its parts included; `made` are fields that the caller has.

        An option that can't be read keeps its default; UsageError at once where it has none.
        """
        found = self._read(kind, made)
        if found is None:
            raise UsageError(*self._problems)
        return found

    def make(self, name: str, make: Callable[[], T], *looking_at: str) -> T | None:
        """Return what is made of options, or None where one of them was not read or a UsageError says what is wrong.

        In either case `name` counts as an option that was not read.
        """
        try:
            if self._unread.isdisjoint(looking_at):
                return make()
        except UsageError as error:
            self._problems += error.problems
        self._unread.add(name)
        return None

    def check(self, problems: Iterable[str], *looking_at: str) -> None:
        """Add what is wrong with several options together.

        Where an option of `looking_at` was not read, and has its default instead, `problems` is not iterated over.
        """
        if self._unread.isdisjoint(looking_at):
            self._problems += problems

    def end(self) -> None:
        """Raise a UsageError that names all that was found wrong, if anything was."""
        if self._problems:
            raise UsageError(*self._problems)

    def _read(self, kind: type[T], made: Mapping[str, object]) -> T | None:
        """Return the options of a class; None where one that has no default is not given or can't be read."""
        values, is_whole = dict(made), True
        for one in own_options_of(kind):
            try:
                if (given := self._texts[one.key]) is not None:
                    values[one.field] = _read(one, given)
            except _Unreadable as error:
                self._problems.append(str(error))
                self._unread.add(one.key)
            is_whole = is_whole and not (one.is_required and one.field not in values)
        for name, part in parts_of(kind):
            if name in made:
                continue
            if (found := self._read(part, {})) is not None:
                values[name] = found
            else:
                self._complain_of_lone(part)
        return cast(Callable[..., T], kind)(**values) if is_whole else None

    def _complain_of_lone(self, part: type) -> None:
        """Complain of options that say nothing without another one, which is not given."""
        given = [one for one in own_options_of(part) if self._texts[one.key]]
        missing = [one for one in own_options_of(part) if one.is_required and self._texts[one.key] is None]
        if given and missing:
            lone = " and ".join(one.names[-1] for one in given)
            are = "are" if len(given) > 1 else "is"
            self._problems.append(f"{lone} {are} for {missing[0].names[-1]}: say that as well.")


class _Unreadable(Exception):
    """A text is not what its option takes: a sentence for the person who wrote it."""


def _read(one: Declared, given: object) -> object:
    parser = one.option.parser
    if parser is None:
        return given

    def read(text: str) -> object:
        try:
            return parser.parse(text)
        except ValueError:
            raise _Unreadable(parser.complaint(one.names[-1], text)) from None

    return tuple(map(read, given)) if isinstance(given, list) else read(str(given))


def takes(
    kind: type[T], read: Callable[[CommandLine], T] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take the options of a class, and get them, read, as its first argument.

    `read` reads them where there is more to do than `CommandLine.read` does: fields that are made of several options,
    and checks across options. Parameters that the command has besides are typer's, and come behind them.
    """
    declared = {one.key: one for one in options_of(kind)}
    parameters = [_parameter(key, one) for key, one in declared.items()]

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def call(**given: object) -> None:
            line = CommandLine({key: given.pop(key) for key in declared})
            options = line.read(kind) if read is None else read(line)
            line.end()
            command(options, **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        # typer reads parameters by this attribute, of which the type of a function knows nothing.
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*parameters, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own)]
        )
        return call

    return taking


def _parameter(key: str, one: Declared) -> inspect.Parameter:
    """Return an option as a parameter that typer understands: a text, several of them, or whether it is given."""
    option = one.option
    if option.is_argument and option.is_repeatable:
        argument = typer.Argument(metavar=f"[{option.metavar}]...", help=option.text, show_default=False)
        return _of_typer(key, list[str] | None, argument, None)
    if option.is_argument:
        return _of_typer(key, str, typer.Argument(metavar=option.metavar, help=option.text), inspect.Parameter.empty)
    info = typer.Option(*one.names, metavar=option.metavar, help=_help(one), envvar=option.variable)
    if option.parser is None:
        return _of_typer(key, bool, info, False)
    if option.is_repeatable:
        return _of_typer(key, list[str] | None, info, None)
    if one.is_required:
        return _of_typer(key, str, info, inspect.Parameter.empty)
    return _of_typer(key, str | None, info, None)


def _of_typer(key: str, kind: object, info: object, default: object) -> inspect.Parameter:
    annotation = Annotated[kind, info]  # type: ignore[valid-type]  # a type that is made at run time
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(one: Declared) -> str:
    """Return an option's text with its default, which the text itself may tell."""
    text = one.option.text
    if one.option.parser is None or one.default in (MISSING, None, ()) or "[default: " in text:
        return text
    return f"{text}  [default: {one.default}]"
