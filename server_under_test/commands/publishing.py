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
from floodtest.server_under_test.commands.options import GeneratorOptions
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


def generate(options: GeneratorOptions) -> None:
    """Publish as planned, and say what came of it; exits with SHORTFALL if messages are left over."""
    outcome = trio.run(_generate, options)
    if options.as_json:
        print_json({**msgspec.to_builtins(outcome), "unpublished": outcome.unpublished})
    _report(outcome)
    if outcome.error is not None:
        print(f"comet: {outcome.error}", file=sys.stderr)
    if outcome.error is not None or outcome.unpublished:
        raise SystemExit(ExitCode.SHORTFALL)


async def _generate(options: GeneratorOptions) -> Generated:
    # One generator of random numbers each: the schedule is asked when there is time for it, and the subjects do not
    # depend on that.
    seed = secrets.randbits(64) if options.seed is None else options.seed
    times, subjects = np.random.default_rng(seed).spawn(2)
    async with ControlClient(options.control, options.token) as control:
        generator = Generator(control, _schedule(options, times), options.users, options.size, subjects)
        return await generator.run(options.seconds, _report)


def _schedule(options: GeneratorOptions, times: np.random.Generator) -> Schedule:
    """Return the schedule of a rate, or of producers."""
    if options.rate is not None:
        return EvenSchedule(options.rate)
    return ProducerSchedule(options.producers, options.interval, times)


def _report(outcome: Generated) -> None:
    planned, deliveries = counted(outcome.planned, "messages"), counted(outcome.deliveries, "deliveries")
    print(
        f"published {outcome.published:,} of {planned}, {deliveries}; "
        f"{outcome.late:,} late, {outcome.most_behind:.3f} s behind at the most",
        file=sys.stderr,
        flush=True,
    )
