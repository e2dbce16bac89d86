"""The scenario of a run: the stages between its start and its close, as values in their order. Pure.

In: `RunOptions`. Out: a row of values, each with the name of its stage and what that stage needs to know. What is done
in a stage is in `loadgen.run.stages`, where each of these types has its function.
"""

from dataclasses import dataclass
from typing import ClassVar

from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions


@dataclass(frozen=True)
class Ramp:
    """Open all planned connections, by the pacer that each site has."""

    name: ClassVar[Stage] = Stage.RAMP


@dataclass(frozen=True)
class Hold:
    """Hold what is open for so many seconds; the bundled server sends a message to all of it each `tick` seconds."""

    name: ClassVar[Stage] = Stage.HOLD
    seconds: float
    tick: float | None = None


@dataclass(frozen=True)
class SendMessages:
    """Publish messages to the bundled server, or to another one by its own API."""

    name: ClassVar[Stage] = Stage.MESSAGES
    messages: MessageOptions


ScenarioStage = Ramp | Hold | SendMessages


def scenario(options: RunOptions) -> tuple[ScenarioStage, ...]:
    """Return the stages of a run, in order."""
    held: tuple[ScenarioStage, ...] = (Ramp(), Hold(options.hold, options.tick))
    return held if options.messages is None else (*held, SendMessages(options.messages))
