"""Parsers of options: from the text on a command line to a value, and what was expected where that fails.

A parser is a function that raises ValueError, with words for what it takes. Pure. `flyweight.command.command_line` asks
it, and tells of all texts that could not be read at once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from floodtest.flyweight.machine.headroom import parse_reserve

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?")
_NAME = re.compile(r"\w[\w.+=@-]{0,59}")
MAX_RATE = 10_000_000
"""A second: beyond what any machine does, and within what counting it costs."""

MAX_SILENCE = 18 * 3600
"""Seconds. The first probe is sent after half of them, and the kernel takes at most 32,767 for that (tcp(7),
TCP_KEEPIDLE)."""

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}

Name = TypeVar("Name", bound=str)
Value_co = TypeVar("Value_co", covariant=True)


@dataclass(frozen=True)
class Parser(Generic[Value_co]):
    """A function that reads a text or raises ValueError, and what it expects in words."""

    parse: Callable[[str], Value_co]
    expected: str
    is_secret: bool = False
    """Whether the text must not be shown."""

    def complaint(self, option: str, text: str) -> str:
        """Say that a text is not what an option takes."""
        return f"{option} takes {self.expected}{'' if self.is_secret else f', not {text!r}'}."


def parse_duration(text: str) -> float:
    """Read 10, 10s, 500ms, 2m or 1h as seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return float(match[1]) * _UNITS[match[2]]


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(text)
    return seconds


def _silence(text: str) -> float:
    seconds = parse_duration(text)
    if not 3 <= seconds <= MAX_SILENCE:
        raise ValueError(text)
    return seconds


def parse_count(text: str) -> int:
    """Read 1000, 1,000 or 1_000, from 1 on."""
    number = int(ungrouped(text))
    if number < 1:
        raise ValueError(text)
    return number


def ungrouped(number: str) -> str:
    """Return a number without commas between its thousands; ValueError for any other comma, such as that of 1,5."""
    if "," in number and not _GROUPED.fullmatch(number):
        raise ValueError(number)
    return number.replace(",", "")


def parse_rate(text: str) -> float:
    """Read 5000, 5,000 or 5000/s, from 0 to MAX_RATE."""
    number = float(ungrouped(text.removesuffix("/s")))
    if not 0 <= number <= MAX_RATE:
        raise ValueError(text)
    return number


def _rate(text: str) -> float:
    number = parse_rate(text)
    if number == 0:
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def is_name(text: str) -> bool:
    """Return whether a file can be called so, with a number behind it, without harm to shells and terminals."""
    return _NAME.fullmatch(text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(text)
    return text


def _columns(text: str) -> tuple[str, str]:
    first, second = (name.strip() for name in text.split(","))
    if not first or not second or first == second:
        raise ValueError(text)
    return first, second


def one_of(names: tuple[Name, ...]) -> Parser[Name]:
    """Return a parser that takes two or more names."""

    def parse(text: str) -> Name:
        for name in names:
            if text == name:
                return name
        raise ValueError(text)

    return Parser(parse, f"{', '.join(names[:-1])} or {names[-1]}")


duration = Parser(parse_duration, "a duration such as 10, 10s, 500ms or 2m")
positive_duration = Parser(_positive_duration, "a duration of more than 0, such as 10, 10s, 500ms or 2m")
silence = Parser(_silence, f"a duration of 3 s to {MAX_SILENCE // 3600} h, such as 30s or 5m")
"""The kernel counts probes in whole seconds; three of them fit into 3 s."""
count = Parser(parse_count, "a whole number from 1 on")
natural = Parser(_natural, "a whole number from 0 on")
whole = Parser(int, "a whole number")
rate = Parser(_rate, f"a number a second such as 5000, up to {MAX_RATE:,}")
reserve = Parser(parse_reserve, "a share such as 10% or a size such as 2GiB")
columns = Parser(_columns, "the names or numbers of two columns, such as source,target or 1,2")
share = Parser(_share, "a share from 0 to 1, or one such as 50%")
port = Parser(_port, "a port from 0 to 65535")
name = Parser(_name, "a name of up to 60 letters, digits and . _ + = @ -, such as columns-2")
text = Parser(str, "a text")
path = Parser(Path, "a path")
