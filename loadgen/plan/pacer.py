"""The pacer: how many connections are due at a time, by the clock and nothing else.

A ramp is a row of stages, each a rate for a time; the last may have no end, or no rate (as fast as it goes). Connection
j (from 1) of a stage is due (j-1)/rate seconds after the stage's start, however late the ones before it were: a slow
target makes the ramp late, never the plan.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec

from floodtest.flyweight.command.parsers import parse_duration, parse_rate


class Stage(msgspec.Struct, frozen=True):
    """`rate` connections a second (None: no limit) for `seconds` (None: to the end)."""

    rate: float | None
    seconds: float | None = None

    @property
    def capacity(self) -> float:
        """How many connections are due in the stage."""
        if self.seconds is None:
            return math.inf
        assert self.rate is not None
        return math.ceil(round(self.rate * self.seconds, 6))

    def due(self, elapsed: float) -> float:
        """Return how many of them are due `elapsed` seconds after its start."""
        if self.rate is None:
            return math.inf
        return min(elapsed * self.rate + 1, self.capacity)

    def time_of(self, connection: float) -> float:
        """Return the seconds from its start at which a connection of it (from 1) is due."""
        return (connection - 1) / self.rate if self.rate else 0.0


@dataclass(frozen=True)
class Pacer:
    """The stages of a ramp, one after the other."""

    stages: tuple[Stage, ...]

    @cached_property
    def _begins(self) -> list[tuple[float, float, Stage]]:
        """When each stage begins, and how many connections are due before it."""
        begins, start, before = [], 0.0, 0.0
        for stage in self.stages:
            begins.append((start, before, stage))
            start, before = start + (stage.seconds or 0.0), before + stage.capacity
        return begins

    @property
    def capacity(self) -> float:
        """How many connections the stages bring in all."""
        return sum(stage.capacity for stage in self.stages)

    def due(self, elapsed: float, connections: int) -> int:
        """Return how many of the first `connections` are due `elapsed` seconds after the start."""
        due = 0.0
        for start, before, stage in self._begins:
            if elapsed < start:
                break
            due = before + stage.due(elapsed - start)
        return int(min(due, connections))

    def time_of(self, connection: int) -> float:
        """Return the seconds from the start at which a connection (from 1) is due; infinity if it never is."""
        for start, before, stage in self._begins:
            if connection <= before + stage.capacity:
                return start + stage.time_of(connection - before)
        return math.inf


def steady(rate: float | None) -> Pacer:
    """Return the pacer of one rate, or of none: as fast as it goes."""
    return Pacer((Stage(rate),))


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read "1000/s:30s,5000/s:60s,max"; ValueError where that makes no sense.

    All but the last have a time. The last is a rate, with or without a time, or `max`. A rate of 0 is a pause.
    """
    stages = tuple(map(_parse_stage, text.split(",")))
    if not are_sound(stages):
        raise ValueError(text)
    return stages


def are_sound(stages: tuple[Stage, ...]) -> bool:
    """Whether stages make a ramp, as `parse_stages` says."""
    if any(stage.seconds is None for stage in stages[:-1]) or not any(stage.rate != 0 for stage in stages):
        return False
    return all(map(_is_sound, stages))


def _is_sound(stage: Stage) -> bool:
    if stage.rate is None:
        return stage.seconds is None
    if stage.seconds is None:
        return 0 < stage.rate < math.inf
    return 0 <= stage.rate < math.inf and 0 < stage.seconds < math.inf


def _parse_stage(text: str) -> Stage:
    words = text.strip()
    if words == "max":
        return Stage(None)
    rate, colon, seconds = words.partition(":")
    return Stage(parse_rate(rate), parse_duration(seconds) if colon else None)
