"""flyweight.engine.outbox: what a full socket does not take is kept in order, and within a bound."""

import errno
import os

import pytest

from floodtest.flyweight.engine.outbox import TOO_SLOW, Outbox
from floodtest.flyweight.engine.readiness import READ, WRITE
from floodtest.flyweight.engine.sweep import drain
from tests.rigs.server import PENDING, SMALL, ServerRig


def test_the_outbox_asks_for_room_only_while_something_is_pending(front: ServerRig) -> None:
    asked: list[tuple[int, int]] = []
    outbox = Outbox(1 << 20, lambda fd, events: asked.append((fd, events)))
    fd = front.accept(1, SMALL)
    assert outbox.write([fd], [b"x" * 100_000]) == {}
    assert asked == [(fd, WRITE)]
    taken = 0
    for _ in range(1000):
        taken += len(front.read(1) or b"")
        assert outbox.flush([fd]) == {}
    taken += len(front.read(1) or b"")
    assert (taken, outbox.written) == (100_000, 100_000)
    assert asked == [(fd, WRITE), (fd, READ)]


def test_the_outbox_keeps_up_to_its_limit_and_not_a_byte_more(front: ServerRig) -> None:
    outbox = Outbox(PENDING, lambda fd, events: None)
    fds = [front.accept(1, SMALL), front.accept(2, SMALL)]
    drain(lambda fd: os.write(fd, b"x" * 100), fds[0], 10_000)
    assert outbox.write(fds[:1], [b"x" * PENDING]) == {}
    assert outbox.slow == 0
    assert outbox.write(fds, [b"y", b"hello"]) == {fds[0]: TOO_SLOW}
    assert (outbox.slow, front.read(2)) == (1, b"hello")


@pytest.mark.parametrize("to_all", [False, True])
def test_the_outbox_says_who_is_gone_and_serves_the_others(to_all: bool, front: ServerRig) -> None:
    outbox = Outbox(100, lambda fd, events: None)
    fds = [front.accept(user) for user in (1, 2, 3)]
    front.clients[2].close()
    gone = outbox.write_to_all(fds, b"hello") if to_all else outbox.write(fds, [b"hello"] * 3)
    assert gone == {fds[1]: errno.EPIPE}
    assert (front.read(1), front.read(3), outbox.written) == (b"hello", b"hello", 10)
    assert outbox.slow == 0


def test_flushing_tells_who_is_gone(front: ServerRig) -> None:
    outbox = Outbox(1 << 20, lambda fd, events: None)
    fd = front.accept(1, SMALL)
    outbox.write([fd], [b"x" * 100_000])
    front.clients[1].close()
    assert outbox.flush([fd, 4000]) == {fd: errno.EPIPE}
