"""loadgen.plan.scenario: which stages a run has, as values."""

from typing import get_args

import pytest

from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.scenario import Hold, Ramp, ScenarioStage, SendMessages, scenario

PLAN = Plan(1, 10, "127.0.0.1", 1024, 10)
MESSAGES = MessageOptions(rate=10)


def test_a_run_ramps_and_holds() -> None:
    assert scenario(RunOptions(PLAN, hold=3, tick=0.5)) == (Ramp(), Hold(3, 0.5))


def test_messages_come_after_the_hold() -> None:
    assert scenario(RunOptions(PLAN, messages=MESSAGES)) == (Ramp(), Hold(10), SendMessages(MESSAGES))


def test_messages_are_sent_to_any_server() -> None:
    found = scenario(RunOptions(PLAN, target="http://127.0.0.1/{user}", messages=MESSAGES))
    assert found == (Ramp(), Hold(10), SendMessages(MESSAGES))


@pytest.mark.parametrize("kind", get_args(ScenarioStage))
def test_each_stage_of_a_scenario_has_a_name_of_its_own_in_the_table(kind: type[ScenarioStage]) -> None:
    assert kind.name in Stage
    assert [other for other in get_args(ScenarioStage) if other.name == kind.name] == [kind]
    assert kind.name not in (Stage.START, Stage.CLOSE)
