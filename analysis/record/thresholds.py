"""Thresholds: conditions over the numbers of a summary under which a run has fallen short. Pure.

    opened < 1000000          latency.p99 > 50ms          kernel_bytes_per_connection > 9KiB

A condition is KEY OPERATOR VALUE. A key is a path of the summary (`messages.latency_ms.p99`), or its end as far as only
one key ends so (`latency_ms.p99`), with or without the unit in its name (`latency.p99`). Operators are < <= > >= == !=.
A value is a number, thousands separators allowed, with a unit of the key's kind: ms s m h for times, B KiB MiB GiB for
sizes, % for shares; without one it is in the key's own unit. A key with several numbers stands for their sum where they
are named (`failed`) and holds for any of them where they are a list (`ticks.received`).
"""

import operator
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

import msgspec

from floodtest.analysis.record.summary import Summary, Threshold
from floodtest.flyweight.command.parsers import ungrouped
from floodtest.flyweight.errors import UsageError

_CONDITION = re.compile(r"\s*([A-Za-z][\w.]*)\s*(<=|>=|==|!=|<|>)\s*(-?[\d.,_]+)\s*([A-Za-z%]*)\s*")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS = {
    "time": {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0},
    "size": {"B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3},
    "share": {"%": 0.01},
    "number": {},
}
_ONE_OF = ("messages", "server_times")
"""Parts of which a run has one at the most: a key that ends alike in both means that of the one there is."""

_NOT_NUMBERS = {"format", "thresholds", "prediction", "causes"}


@dataclass(frozen=True)
class Condition:
    """A condition that was read: the key's paths, the operator, and the value in the key's own unit."""

    text: str
    paths: tuple[tuple[str, ...], ...]
    operator: str
    value: float

    def judge(self, summary: Summary) -> Threshold:
        """Say whether a summary fulfils the condition, which is then what fell short."""
        parts = msgspec.to_builtins(summary)
        there = [path for path in self.paths if len(self.paths) == 1 or parts[path[0]] is not None]
        found = [value for path in there for value in _values(parts, path)]
        known = [value for value in found if value is not None]
        holding = [value for value in known if _OPERATORS[self.operator](value, self.value)]
        if holding or (known and known == found):
            return Threshold(self.text, (holding or known)[0], failed=bool(holding))
        return Threshold(self.text, None, failed=True)  # what was not measured may have been anything


def parse(text: str) -> Condition:
    """Read a condition; UsageError says what is wrong with it."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--fail-if takes a condition such as 'opened < 1000000' or 'latency.p99 > 50ms', not {text!r}."
        )
    key, sign, number, unit = match.groups()
    paths = _find(key, text)
    path = paths[0]
    kind, own = _kind(path)
    try:
        value = float(ungrouped(number))
    except ValueError as error:
        raise UsageError(f"--fail-if {text!r}: {number!r} is no number.") from error
    if unit and unit not in _UNITS[kind]:
        known = ", ".join(_UNITS[kind]) or "none"
        raise UsageError(f"--fail-if {text!r}: {'.'.join(path)} is a {kind}; units of those: {known}; not {unit!r}.")
    return Condition(text.strip(), paths, sign, round(value * _UNITS[kind][unit] / own, 9) if unit else value)


def _find(key: str, text: str) -> tuple[tuple[str, ...], ...]:
    """Return the path that a key stands for, or those of which a run has one at the most."""
    asked = tuple(key.split("."))
    found = [path for path in paths() if asked in (path[-len(asked) :], tuple(map(_without_unit, path))[-len(asked) :])]
    exact = [path for path in found if path == asked] or found
    if not exact:
        raise UsageError(f"--fail-if {text!r}: the summary has no {key}; its keys are in docs/run-record.md.")
    ends = {path[1:] for path in exact}
    if len(exact) > 1 and not (len(ends) == 1 and {path[0] for path in exact} == set(_ONE_OF)):
        several = ", ".join(".".join(path) for path in exact)
        raise UsageError(f"--fail-if {text!r}: {key} may be any of {several}; name one of them.")
    return tuple(exact)


def _without_unit(name: str) -> str:
    return name.removesuffix("_ms").removesuffix("_seconds").removesuffix("_share")


def _kind(path: tuple[str, ...]) -> tuple[str, float]:
    """Return what a key measures, and its own unit in the base unit of that."""
    for name in path:
        if name.endswith("_ms"):
            return "time", 0.001
        if name.endswith("seconds"):
            return "time", 1.0
    last = path[-1]
    if last.endswith("_share"):
        return "share", 1.0
    return ("size" if "bytes" in last else "number"), 1.0


@cache
def paths() -> tuple[tuple[str, ...], ...]:
    """Return the paths of all numbers of a summary."""
    return tuple(_paths(Summary, ()))


def _paths(kind: Any, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for field in msgspec.structs.fields(kind):
        if field.name in _NOT_NUMBERS:
            continue
        at = (*before, field.name)
        for inner in _unwrapped(field.type):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from _paths(inner, at)
            elif inner in (int, float) or get_origin(inner) is dict:
                yield at


def _unwrapped(kind: Any) -> Iterator[Any]:
    """Yield what a type may hold: the parts of a union, the items of a list."""
    if isinstance(kind, types.UnionType):
        for part in get_args(kind):
            yield from _unwrapped(part)
    elif get_origin(kind) is list:
        yield from _unwrapped(get_args(kind)[0])
    else:
        yield kind


def _values(found: Any, path: tuple[str, ...]) -> Iterator[float | None]:
    if isinstance(found, list):
        for item in found:
            yield from _values(item, path)
    elif path and isinstance(found, dict):
        yield from _values(found.get(path[0]), path[1:])
    elif isinstance(found, dict):
        yield sum(found.values())
    else:
        yield found if isinstance(found, int | float) else None
