"""Options as fields: a dataclass that a command takes declares each of its options once, as one of its fields.

    @dataclass(frozen=True)
    class Ramp:
        rate: float | None = option(None, parsers.rate, "N", "Connections a second.")
        out: Path = field(metadata=required(parsers.path, "FOLDER", "Where it goes."))

A field carries its parser, its metavar and its help; `flyweight.command.command_line` makes the command line of them.
The class is a plain dataclass: a program makes one without a command line, and what it declares imports no typer.
mypy holds the field's type, its default and its parser against each other. A field that is a `part` stands for the
options of another such class.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TypeVar

from floodtest.flyweight.command.parsers import Parser, one_of

T = TypeVar("T")
Name = TypeVar("Name", bound=str)

_OPTION = "option"
_PART = "part"


@dataclass(frozen=True)
class Option:
    """How a field stands on the command line."""

    parser: Parser[object] | None
    """None: the option takes no text, and is given or not."""
    metavar: str | None
    """What stands for the text in the help; None where there is no text."""
    text: str
    """The help text; the default value is appended, unless the text states it already."""
    names: tuple[str, ...] = ()
    """As they are written, the one that complaints name last; empty: the field's name with dashes."""
    variable: str | None = None
    """Of the environment, in which the option is looked for as well."""
    is_argument: bool = False
    is_repeatable: bool = False


@dataclass(frozen=True)
class Declared:
    """An option of a class: its field, what it is called, and its default."""

    field: str
    option: Option
    default: object
    """`MISSING` if there is none."""
    is_required: bool

    @property
    def names(self) -> tuple[str, ...]:
        if self.option.is_argument and self.option.metavar:
            return (self.option.metavar,)
        return self.option.names or (f"--{self.field.replace('_', '-')}",)

    @property
    def key(self) -> str:
        """The name without dashes, as Python has names."""
        return self.field if self.option.is_argument else self.names[-1].strip("-").replace("-", "_")


def option(default: T, parser: Parser[T], metavar: str, text: str, *names: str, variable: str | None = None) -> T:
    """Return a field that is an option with a default."""
    return field(default=default, metadata={_OPTION: Option(parser, metavar, text, names, variable)})


def choice(default: Name, among: Collection[Name], text: str) -> Name:
    """Return a field that is an option with a few answers."""
    return option(default, one_of(tuple(among)), "|".join(among), text)


def flag(text: str, *names: str) -> bool:
    """Return a field that is true where its option is given."""
    return field(default=False, metadata={_OPTION: Option(None, None, text, names)})


def repeatable(parser: Parser[T], metavar: str, text: str, *names: str) -> tuple[T, ...]:
    """Return a field that is an option which may be given several times."""
    return field(default=(), metadata={_OPTION: Option(parser, metavar, text, names, is_repeatable=True)})


def required(parser: Parser[object], metavar: str, text: str, *names: str) -> Mapping[str, Option]:
    """Return the metadata of a field that is an option without a default."""
    return {_OPTION: Option(parser, metavar, text, names)}


def argument(parser: Parser[object], metavar: str, text: str) -> Mapping[str, Option]:
    """Return the metadata of a field that stands on the command line without a name."""
    return {_OPTION: Option(parser, metavar, text, is_argument=True)}


def arguments(parser: Parser[T], metavar: str, text: str) -> tuple[T, ...]:
    """Return a field that takes all that stands on the command line without a name, be it nothing."""
    how = Option(parser, metavar, text, is_argument=True, is_repeatable=True)
    return field(default=(), metadata={_OPTION: how})


def part(kind: type) -> Mapping[str, type]:
    """Return the metadata of a field that is made of the options of another class.

    They stand in its place on the command line. Where the field has a default, all of them may be left out, and it has
    that default unless those are given that have none. A field without a default is made by the command itself.
    """
    return {_PART: kind}


def options_of(kind: type, is_optional: bool = False) -> Iterator[Declared]:
    """Yield the options of a class in the order of its fields, those of its parts among them."""
    for one in fields(kind):
        if _PART in one.metadata:
            yield from options_of(one.metadata[_PART], not _is_required(one))
        elif _OPTION in one.metadata:
            yield _declared(one, is_optional)


def own_options_of(kind: type) -> Iterator[Declared]:
    """Yield the options of a class without those of its parts."""
    return (_declared(one) for one in fields(kind) if _OPTION in one.metadata)


def parts_of(kind: type) -> Iterator[tuple[str, type]]:
    """Yield the parts of a class: each field's name, and the class whose options it is made of."""
    return ((one.name, one.metadata[_PART]) for one in fields(kind) if _PART in one.metadata)


def _declared(one: "Field[object]", is_optional: bool = False) -> Declared:
    return Declared(one.name, one.metadata[_OPTION], one.default, not is_optional and _is_required(one))


def _is_required(one: "Field[object]") -> bool:
    return one.default is MISSING and one.default_factory is MISSING
