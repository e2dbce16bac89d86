"""Options of the commands: parsed by the command line, but complained about all at once.

A parser here returns an `Invalid` instead of raising, so that a person who mistyped three options is told of three.
`check` turns the collected ones into one UsageError before anything starts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from floodtest.flyweight.errors import UsageError
from floodtest.flyweight.machine.headroom import parse_reserve

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?")
MAX_RATE = 10_000_000
"""A second: beyond what any machine does, and within what counting it costs."""

MAX_SILENCE = 18 * 3600
"""Seconds. The first probe is sent after half of them, and the kernel takes at most 32,767 for that (tcp(7),
TCP_KEEPIDLE)."""

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Invalid:
    """A value that could not be read, and what was expected."""

    text: str
    expected: str


def parser(parse: Callable[[str], Any], expected: str) -> Callable[[Any], Any]:
    """Make the parser of an option from a function that raises ValueError, and what it expects in words."""

    def read(text: Any) -> Any:
        if not isinstance(text, str):
            return text  # a default
        try:
            return parse(text)
        except ValueError:
            return Invalid(text, expected)

    read.__name__ = expected
    return read


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


def _count(text: str) -> int:
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


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def _columns(text: str) -> tuple[str, str]:
    first, second = (name.strip() for name in text.split(","))
    if not first or not second or first == second:
        raise ValueError(text)
    return first, second


def one_of(*names: str) -> Callable[[Any], Any]:
    """Return a parser that takes these names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return parser(parse, " or ".join(names))


duration = parser(parse_duration, "a duration such as 10, 10s, 500ms or 2m")
positive_duration = parser(_positive_duration, "a duration of more than 0, such as 10, 10s, 500ms or 2m")
silence = parser(_silence, f"a duration of 3 s to {MAX_SILENCE // 3600} h, such as 30s or 5m")
"""The kernel counts probes in whole seconds; three of them fit into 3 s."""
count = parser(_count, "a whole number from 1 on")
rate = parser(_rate, f"a number a second such as 5000, up to {MAX_RATE:,}")
reserve = parser(parse_reserve, "a share such as 10% or a size such as 2GiB")
columns = parser(_columns, "the names or numbers of two columns, such as source,target or 1,2")
port = parser(_port, "a port from 0 to 65535")


def problems(options: dict[str, Any]) -> list[str]:
    """Return a sentence for each option whose value is Invalid; keys are Python names of the options."""
    return [
        f"--{name.replace('_', '-')} takes {value.expected}, not {value.text!r}."
        for name, value in options.items()
        if isinstance(value, Invalid)
    ]


def token_problems(token: str | None) -> list[str]:
    """Return a sentence if a token can't be sent in a header as it is."""
    if token is None or (token and token == token.strip() and token.isascii() and token.isprintable()):
        return []
    return ["--token takes printable ASCII, without spaces around it."]


def check(options: dict[str, Any], *more: str) -> None:
    """Raise a UsageError that names every Invalid option, and `more` problems if there are."""
    found = problems(options) + list(more)
    if found:
        raise UsageError(*found)
