"""What `comet publish` and `comet msggen` do: they send messages to a server that runs."""

import json
import secrets
import sys

import msgspec
import numpy as np
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import ExitCode
from floodtest.server_under_test.generator.msggen import Generator
from floodtest.server_under_test.generator.schedule import EvenSchedule, ProducerSchedule, Schedule
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.wire.control import Generated, Publication, Published
from floodtest.wire.control_client import ControlClient


def publish(url: str, token: str | None, subject: Subject, message: str) -> None:
    """Publish one message, and say to how many connections it went; Refused when no server takes it."""
    line = json.dumps(msgspec.to_builtins(Publication(subject, message)))
    answer = trio.run(_publish, url, token, line.encode())
    print(f"The message went to {counted(answer.deliveries, 'connections')}.")


async def _publish(url: str, token: str | None, line: bytes) -> Published:
    async with ControlClient(url, token) as control:
        return await control.publish(line, 1)


def schedule_of(
    rate: float | None, producers: int, interval: float, seed: int | None
) -> tuple[Schedule, np.random.Generator]:
    """Return the schedule of a rate, or of producers, and what draws subjects."""
    # One each: the schedule is asked when there is time for it, and the subjects do not depend on that.
    times, subjects = np.random.default_rng(secrets.randbits(64) if seed is None else seed).spawn(2)
    return ProducerSchedule(producers, interval, times) if rate is None else EvenSchedule(rate), subjects


def generate(
    url: str,
    token: str | None,
    schedule: Schedule,
    users: int,
    size: int,
    subjects: np.random.Generator,
    seconds: float,
    as_json: bool,
) -> None:
    """Publish as the schedule says, and say what came of it; exits with SHORTFALL if messages are left over."""
    outcome = trio.run(_generate, url, token, schedule, users, size, subjects, seconds)
    if as_json:
        print_json({**msgspec.to_builtins(outcome), "unpublished": outcome.unpublished})
    _report(outcome)
    if outcome.error is not None:
        print(f"comet: {outcome.error}", file=sys.stderr)
    if outcome.error is not None or outcome.unpublished:
        raise SystemExit(ExitCode.SHORTFALL)


async def _generate(
    url: str,
    token: str | None,
    schedule: Schedule,
    users: int,
    size: int,
    random: np.random.Generator,
    seconds: float,
) -> Generated:
    async with ControlClient(url, token) as control:
        return await Generator(control, schedule, users, size, random).run(seconds, _report)


def _report(outcome: Generated) -> None:
    planned, deliveries = counted(outcome.planned, "messages"), counted(outcome.deliveries, "deliveries")
    print(
        f"published {outcome.published:,} of {planned}, {deliveries}; "
        f"{outcome.late:,} late, {outcome.most_behind:.3f} s behind at the most",
        file=sys.stderr,
        flush=True,
    )
