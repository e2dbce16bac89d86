"""flyweight.processes.channel, and who listens over one: an end that is closed while trio is waking who waits for
it.
"""

import socket
from typing import Any, cast

import trio
import trio.testing

from floodtest.flyweight.processes.channel import Channel, Message
from floodtest.flyweight.processes.workers import Workers

TRIES = 40
"""trio wakes the tasks of one turn in random order: so often, each order has come."""


class News(Message, frozen=True):
    """Something to say."""

    text: str


class Turn:
    """Two sockets that become readable in one turn of trio's: one is the subject, for the other a task waits."""

    def __init__(self) -> None:
        self.subject, self.others_subject = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.signal, self.others_signal = socket.socketpair()

    def __enter__(self) -> "Turn":
        return self

    def __exit__(self, *error: object) -> None:
        for sock in (self.subject, self.others_subject, self.signal, self.others_signal):
            sock.close()


def test_a_channel_may_be_closed_while_its_receiver_is_being_woken() -> None:
    async def main(turn: Turn) -> list[News | None]:
        channel = Channel[News](turn.subject, News)
        heard: list[News | None] = []

        async def receive() -> None:
            heard.append(await channel.receive())

        async def close() -> None:
            await trio.lowlevel.wait_readable(turn.signal)
            channel.close()

        async with trio.open_nursery() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(close)
            await trio.testing.wait_all_tasks_blocked()
            assert Channel[News](turn.others_subject, News).send_nowait(News("something"))
            turn.others_signal.send(b"!")
        return heard

    for _ in range(TRIES):
        with Turn() as turn:
            assert trio.run(main, turn) in ([News("something")], [None])


def test_a_channel_may_be_closed_while_its_sender_is_being_woken() -> None:
    async def main(turn: Turn) -> bool | None:
        channel = Channel[News](turn.subject, News)
        sent: list[bool] = []

        async def send() -> None:
            sent.append(await channel.send(News("one more")))

        async def close() -> None:
            await trio.lowlevel.wait_readable(turn.signal)
            channel.close()

        while channel.send_nowait(News("x" * 10_000)):
            pass
        async with trio.open_nursery() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(close)
            await trio.testing.wait_all_tasks_blocked()
            turn.others_signal.send(b"!")
            while True:
                try:
                    turn.others_subject.recv(1 << 17, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
        return sent[0]

    for _ in range(TRIES):
        with Turn() as turn:
            assert trio.run(main, turn) in (True, False)


class Ending:
    """Stands in for a nursery that ends when its socket does."""

    exit_status = 0

    def __init__(self, signal: socket.socket) -> None:
        self._signal = signal
        self._ended = False

    async def wait(self) -> int:
        if not self._ended:
            await trio.lowlevel.wait_readable(self._signal)
        self._ended = True
        return 0

    def kill(self) -> None:
        pass


def test_workers_are_closed_after_the_end_of_their_nursery_was_heard() -> None:
    async def main(turn: Turn) -> None:
        workers = Workers(turn.subject, cast(Any, Ending(turn.signal)))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(workers.listen)
            tasks.start_soon(workers.close)
            await trio.testing.wait_all_tasks_blocked()
            turn.others_subject.close()
            turn.others_signal.send(b"!")

    for _ in range(TRIES):
        with Turn() as turn:
            trio.run(main, turn)
