"""What is done in each stage of a run: a function a stage, which takes what it needs and can be cancelled at any point.

In: the values of a scenario (`loadgen.plan.scenario`), the sites, the server. Out: `Progress`, which is true at any
moment, so that a stage that is cut short has told what there was to tell. Nothing here touches a connection: sites do
that. Fails: what the server's side and `take_sample` raise.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import trio

from floodtest.analysis.record.format import STATES_FILE
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.scenario import Hold, Ramp, ScenarioStage, SendMessages
from floodtest.loadgen.run.message_processes import generate, publish
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.server_side import ServerSide
from floodtest.loadgen.run.site import Detail, Sites
from floodtest.wire.control import Generated, Stats
from floodtest.wire.tls.settings import ClientTls

DRAIN_SECONDS = 60.0
"""The longest wait for what the server has sent, and that has not arrived."""

QUIET_SECONDS = 2.0
"""Nothing that has been sent arrives any more when nothing has for so long."""

DRAIN_LOOK_SECONDS = 0.05


@dataclass
class Progress:
    """How far a run has come."""

    stage: Stage = Stage.START
    is_under_way: bool = False
    """Whether the ramp has begun: what goes wrong from then on is no refusal any more."""
    ramp_began: float = 0.0
    """By time.monotonic, as `ramp_ended`."""
    ramp_ended: float = 0.0
    repeated_before: int = 0
    """Repeated messages from before the first one was published."""
    generated: Generated | None = None
    """What the generator of messages said in the end."""

    def note_generated(self, said: Generated | None) -> None:
        """Note what a generator said."""
        self.generated = said


@dataclass(frozen=True)
class StageContext:
    """What the stages of a run have to work with."""

    sites: Sites
    server: ServerSide
    progress: Progress
    take_sample: Callable[[], Awaitable[None]]
    """Takes a sample that reads everything."""
    folder: Path
    """Of the run record."""
    first_user: int
    users: int
    marks: str | None = None
    """The run whose marks published messages have, where the server is not ours (`wire.mark`)."""
    tls_of_publishing: ClientTls | None = None


async def perform(stage: ScenarioStage, context: StageContext) -> None:
    """Do what a stage of the scenario is for."""
    match stage:
        case Ramp():
            await ramp(context.sites, context.progress, context.take_sample)
        case Hold():
            await hold(stage, context.sites, context.server, context.take_sample)
        case SendMessages():
            await send_messages(stage, context)
        case _:
            assert_never(stage)


async def ramp(sites: Sites, progress: Progress, take_sample: Callable[[], Awaitable[None]]) -> None:
    """Open all connections, as soon as all sites can begin at one time."""
    progress.is_under_way = True
    progress.ramp_began = progress.ramp_ended = time.monotonic() + sites.lead
    try:
        await sites.ramp(progress.ramp_began)
    finally:
        progress.ramp_ended = time.monotonic()
    await take_sample()


async def hold(stage: Hold, sites: Sites, server: ServerSide, take_sample: Callable[[], Awaitable[None]]) -> None:
    """Hold what is open, until nothing is left to hold; have the bundled server send ticks meanwhile."""
    await take_sample()
    ticking = server.ours if stage.tick is not None else None
    if ticking is not None and not await ticking.set_tick(stage.tick):
        server.reasons.append("ticks: the bundled server did not take the order to send them")
    with trio.move_on_after(stage.seconds):
        await sites.wait_until_empty()
    if ticking is not None:
        await end_ticks(sites, server)
    await take_sample()


async def send_messages(stage: SendMessages, context: StageContext) -> None:
    """Have the generator publish messages, and wait until they have arrived; none where nobody is there to get them."""
    progress, folder, ours = context.progress, context.folder, context.server.ours
    reading = await context.sites.read(Detail.ACCOUNTS)
    progress.repeated_before = reading.counters.repeated
    await context.take_sample()
    if not reading.states.open:
        progress.generated = _unpublished(stage.messages, "no connection was open any more to get them")
        return
    if ours is not None:
        progress.generated = await generate(stage.messages, context.users, ours.control_url, ours.token, folder)
    elif context.marks is not None:
        states = folder / STATES_FILE
        order = stage.messages.order(context.marks, context.first_user, states, context.tls_of_publishing)
        await publish(order, folder, progress.note_generated)
    await drain_messages(context)


def _unpublished(messages: MessageOptions, why: str) -> Generated:
    return Generated(
        planned=messages.planned, published=0, deliveries=0, late=0, most_behind=0.0, seconds=0.0, error=why
    )


async def end_ticks(sites: Sites, server: ServerSide) -> None:
    """Have the bundled server send no more ticks, and wait until those that it has sent have arrived."""
    if server.ours is None:
        return
    if not await server.ours.set_tick(None) and not server.has_ended:
        server.reasons.append("ticks: the bundled server did not take the order to end them")
    await drain(left_at(sites, server, _ticks_on_their_way))


async def drain_messages(context: StageContext) -> None:
    """Wait until the messages that were published have arrived."""
    if context.server.ours is None:
        await drain(lambda: _expected(context))
    else:
        await drain(left_at(context.sites, context.server, _messages_on_their_way))
    await context.take_sample()


_MANY = 1 << 60
"""More than ever arrive."""


async def _expected(context: StageContext) -> int:
    """Return how many of the messages that the publisher expects have not arrived; it may not have said."""
    said, counters = context.progress.generated, (await context.sites.read(Detail.ACCOUNTS)).counters
    arrived = counters.messages - (counters.repeated - context.progress.repeated_before)
    return (_MANY if said is None else said.deliveries) - arrived


def _ticks_on_their_way(figures: Stats, reading: Reading) -> int:
    sent = sum(tick.sent for tick in figures.ticks)
    left = sent - sum(tick.count for tick in reading.ticks.values())
    return abs(left) + 1 if figures.ticking else left  # fronts count what they write a batch later


def _messages_on_their_way(figures: Stats, reading: Reading) -> int:
    return figures.routed - figures.undeliverable - reading.counters.messages


def left_at(
    sites: Sites, server: ServerSide, on_their_way: Callable[[Stats, Reading], int]
) -> Callable[[], Awaitable[int]]:
    """Return what asks our server and the sites how much is on its way; nothing where the server does not answer."""

    async def look() -> int:
        figures = await server.ask()
        return 0 if figures is None else on_their_way(figures, await sites.read(Detail.ACCOUNTS))

    return look


async def drain(look: Callable[[], Awaitable[int]]) -> None:
    """Wait until nothing is left of what was sent, as `look` says, or nothing has come for two seconds."""
    last, since = -1, trio.current_time()
    with trio.move_on_after(DRAIN_SECONDS):
        while trio.current_time() - since < QUIET_SECONDS:
            left = await look()
            if left <= 0:
                return
            if left != last:
                last, since = left, trio.current_time()
            await trio.sleep(DRAIN_LOOK_SECONDS)
