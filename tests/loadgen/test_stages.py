"""loadgen.run.stages: what each stage waits for, and what is known of it when it is cut short; by a virtual clock."""

from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import pytest
import trio
import trio.testing

from floodtest.loadgen.plan.scenario import Hold
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.server_side import ServerSide
from floodtest.loadgen.run.site import Detail, Sites
from floodtest.loadgen.run.stages import DRAIN_SECONDS, QUIET_SECONDS, Progress, drain, hold, left_at, ramp
from floodtest.wire.control import Stats
from tests.loadgen.test_sites import TARGET, Scripted
from tests.rigs.figures import reading, stats


class Server:
    """A bundled server that is still there for so many questions, and notes the ticks it is asked for."""

    def __init__(self, answers: int = 10**6, takes_orders: bool = True) -> None:
        self._answers = answers
        self._takes_orders = takes_orders
        self.ours = self
        self.has_ended = False
        self.reasons: list[str] = []
        self.ticks: list[float | None] = []

    async def ask(self) -> Stats | None:
        await trio.lowlevel.checkpoint()
        self._answers -= 1
        return stats() if self._answers >= 0 else None

    async def set_tick(self, seconds: float | None) -> bool:
        self.ticks.append(seconds)
        return self._takes_orders


class Answering(Scripted):
    """A site that answers at once, however long orders take it."""

    async def read(self, detail: Detail) -> Reading:
        return reading()


def site(seconds: float = 0) -> Sites:
    """One site that takes so many seconds for each order."""
    return Sites([Answering(seconds, [], reading())])


def seconds_of(work: Callable[[], Awaitable[None]]) -> float:
    """Return how long something takes."""

    async def main() -> float:
        began = trio.current_time()
        await work()
        return trio.current_time() - began

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def nothing() -> None:
    """Take no sample."""


def on_their_way(counts: Iterator[int]) -> Callable[[Stats, Reading], int]:
    return lambda figures, said: next(counts)


@pytest.mark.parametrize(
    ("counts", "answers", "seconds"),
    [
        ([0], 10, 0),
        ([-3], 10, 0),
        ([3, 2, 1, 0], 10, 0.15),
        ([5] * 1000, 10**6, QUIET_SECONDS),
        ([9] * 20 + [8] * 1000, 10**6, 1 + QUIET_SECONDS),
        (range(10**6, 1, -1), 10**6, DRAIN_SECONDS),
        ([5] * 1000, 4, 0.2),
    ],
)
def test_draining_lasts_as_long_as_something_still_arrives(counts: list[int], answers: int, seconds: float) -> None:
    server = cast(ServerSide, Server(answers))
    took = seconds_of(lambda: drain(left_at(site(), server, on_their_way(iter(counts)))))
    assert took == pytest.approx(seconds, abs=0.051)


@pytest.mark.parametrize(("empty_after", "seconds"), [(3, 3), (30, 10)])
def test_a_hold_ends_when_nothing_is_left_to_hold(empty_after: float, seconds: float) -> None:
    server = cast(ServerSide, Server())
    assert seconds_of(lambda: hold(Hold(10), site(empty_after), server, nothing)) == pytest.approx(seconds)


def test_ticks_are_sent_in_the_hold_only() -> None:
    server = Server()
    seconds_of(lambda: hold(Hold(10, 0.5), site(30), cast(ServerSide, server), nothing))
    assert (server.ticks, server.reasons) == ([0.5, None], [])


def test_ticks_that_the_server_was_not_told_of_are_a_reason() -> None:
    server = Server(takes_orders=False)
    seconds_of(lambda: hold(Hold(10, 0.5), site(30), cast(ServerSide, server), nothing))
    assert server.reasons == [
        "ticks: the bundled server did not take the order to send them",
        "ticks: the bundled server did not take the order to end them",
    ]


def test_a_ramp_that_is_cut_short_has_an_end() -> None:
    progress = Progress()

    async def interrupt() -> None:
        with trio.move_on_after(5):
            await ramp(site(60), progress, nothing)
            pytest.fail("it should not come so far")

    assert seconds_of(interrupt) == pytest.approx(5)
    assert progress.is_under_way
    assert progress.ramp_ended > progress.ramp_began > 0


def test_a_ramp_is_sampled_when_it_is_over() -> None:
    samples: list[float] = []

    async def sample() -> None:
        samples.append(trio.current_time())

    async def main() -> None:
        sites, began = site(7), trio.current_time()
        await sites.open(TARGET, True)
        await ramp(sites, Progress(), sample)
        assert samples == [pytest.approx(began + 14)]

    seconds_of(main)
