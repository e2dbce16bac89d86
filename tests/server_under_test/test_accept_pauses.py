"""Fronts of both models that get no descriptor for a client: they try to accept once a pause, and sleep in between."""

import os
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import islice

import pytest
import trio
from trio.testing import MockClock

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import FILES_RESERVE
from floodtest.flyweight.processes.channel import Channel
from floodtest.server_under_test.fronts import orders
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.columns import Front
from floodtest.server_under_test.fronts.worker import Shared
from floodtest.server_under_test.limits import PAUSE, Limits
from floodtest.server_under_test.models import MODELS, Model
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from tests.rigs.server import FILES, MAX_USERS

PAUSES = 10
MOST_TURNS = 10 * PAUSES
"""A front of columns that sleeps in each pause takes fewer turns by far."""

Parent = Channel[orders.FromWorker]
Figures = Callable[[], tuple[int, int]]
Scene = Callable[[Parent, Figures], Awaitable[None]]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Have the kernel give this process so many more descriptors within the block, and then EMFILE."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (number for number in range(limits[0]) if not os.path.lexists(f"/proc/self/fd/{number}"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(islice(free, count, None)), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def count_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """End a front of columns that takes more turns than one that sleeps."""
    turn, turns = Front.turn, 0

    def counted(front: Front) -> bool:
        nonlocal turns
        turns += 1
        assert turns < MOST_TURNS, "the front does not sleep"
        return turn(front)

    monkeypatch.setattr(Front, "turn", counted)


@pytest.fixture
def play(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Play a scene with one front of a model by a virtual clock; two clients are in the queue of its listener.

    The scene is given the parent's end of the front's channel, and a function that returns how often nobody could be
    accepted and how many clients have been welcomed.
    """
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        for user in (1, 2):
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.sendall(b"GET /test/%d HTTP/1.1\r\nHost: here\r\n\r\n" % user)
        ledger, whereabouts, bus = Ledger(FRONT_LEDGER, 1), SharedWhereabouts(MAX_USERS, 1, FILES), SharedBus(1)
        for memory in (ledger, whereabouts, bus):
            stack.callback(os.close, memory.descriptor)
        channel = Channel[orders.ToWorker](theirs, orders.ToWorker)
        spec = orders.Specification(0, 1, MAX_USERS, Limits(), None)

        def figures() -> tuple[int, int]:
            return int(ledger.total("accept_errors")), int(ledger.total("logins"))

        def play(scene: Scene, capacity: int) -> None:
            files = FILES_RESERVE + capacity
            shared = Shared(spec, channel, files, ledger.row(0), listener, whereabouts.of_front(0), bus)

            async def main() -> None:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(import_module(MODELS[model].worker).run, shared)
                    parent = Parent(ours, orders.FromWorker)
                    assert isinstance(await parent.receive(), orders.Ready)
                    await scene(parent, figures)
                    await parent.send(orders.Stop())

            clock = MockClock(autojump_threshold=0)
            monkeypatch.setattr(time, "monotonic", clock.current_time)
            count_turns(monkeypatch)
            trio.run(main, clock=clock)

        yield play


def test_a_front_without_descriptors_tries_once_a_pause(play: Callable[..., None]) -> None:
    async def scene(parent: Parent, figures: Figures) -> None:
        with descriptors_left(0):
            await parent.send(orders.Accept())
            await trio.sleep((PAUSES - 0.5) * PAUSE)
            assert figures() == (PAUSES, 0)
        await trio.sleep(PAUSE)
        assert figures() == (PAUSES, 2)

    play(scene, capacity=100)


def test_a_front_that_is_full_accepts_nobody_after_a_pause(play: Callable[..., None]) -> None:
    """The pause and the end of its room come with one batch: columns meet EMFILE behind the client that fills them."""

    async def scene(parent: Parent, figures: Figures) -> None:
        with descriptors_left(1):
            await parent.send(orders.Accept())
            assert isinstance(await parent.receive(), orders.Full)
        await trio.sleep(PAUSES * PAUSE)
        assert figures()[1] == 1

    play(scene, capacity=1)
