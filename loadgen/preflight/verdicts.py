"""What a check of the machine is, and what it found.

A row is data: how its value is read, how much of it is needed for a `Demand`, in what relation they must stand, whether
a run fails without it (`stops`) or is only slower or less tidy, the reason and its source, and the sysctl that changes
it, if one does. A value of None means that this machine, or this network namespace, has no such thing.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from floodtest.loadgen.preflight.demand import Demand
from floodtest.loadgen.preflight.machine import Machine

Value = int | str | None
Relation = Literal[">=", "<=", "=="]
_HOLDS: dict[Relation, Callable[[Any, Any], bool]] = {">=": operator.ge, "<=": operator.le, "==": operator.eq}


@dataclass(frozen=True)
class Setting:
    """The sysctl behind a check: its key as a path below /proc/sys, and which of its numbers it is."""

    key: str
    field: int = 0

    @property
    def name(self) -> str:
        return self.key.replace("/", ".")


@dataclass(frozen=True)
class Check:
    """A row of the table."""

    name: str
    value: Callable[[Machine, Demand], Value]
    needed: Callable[[Machine, Demand], Value]
    reason: str
    source: str
    relation: Relation = ">="
    stops: bool = False
    unit: str = ""
    setting: Setting | None = None
    of_network: bool = False
    """Whether each network namespace has its own, so that an isolated run brings its own."""
    of_tcp: bool = False
    """Whether it is no matter where the target is a Unix socket."""


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    check: Check
    value: Value
    needed: Value

    @property
    def ok(self) -> bool:
        return _HOLDS[self.check.relation](self.value, self.needed)

    @property
    def stops(self) -> bool:
        """Whether a run would fail for it."""
        return self.check.stops and not self.ok

    def sentence(self) -> str:
        """Say what is short."""
        check = self.check
        bound = {">=": "at least ", "<=": "at most ", "==": ""}[check.relation]
        value, needed = show(self.value, check.unit), show(self.needed, check.unit)
        return f"{check.name}: {value}, and {bound}{needed} needed ({check.reason})"


def show(value: Value, unit: str = "") -> str:
    """Write a value for a person."""
    if not isinstance(value, int):
        return str(value)
    if unit == "MiB":
        return f"{value >> 20:,} MiB"
    return f"{value:,}{unit}"
