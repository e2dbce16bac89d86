"""A host of a run as its controller has it: what was said last, and whether it is still there.

In: a function that carries bytes to it, and the bytes that come. Out: answers to orders, readings, and pieces of
columns as they come. Who is silent for `SILENCE` seconds, has ended or says what can't be understood is lost, and stays
so: nothing that comes of it later is heard, and nobody waits for it any more.
"""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster.packets import Unpacker, pack
from floodtest.loadgen.run.reading import Reading

A = TypeVar("A", bound=messages.FromHost)


class RemoteHost:
    """One of them; `carry` brings bytes on their way and waits no longer than that takes."""

    def __init__(self, address: str, name: str, carry: Callable[[bytes], Awaitable[None]]) -> None:
        self.address = address
        self.name = name
        self._carry = carry
        self._unpacker = Unpacker()
        self._heard = -math.inf
        self._answers: dict[object, messages.FromHost] = {}
        self._changed = trio.Event()
        self._fetches = 0
        self.why_lost: str | None = None
        """Why it is not heard any more, a part of a sentence; None: it is."""
        self.lost = trio.Event()
        self.reading: Reading | None = None
        """What it said last."""
        self.take_piece: Callable[[messages.Column], None] = lambda piece: None
        """What is done with a piece of a column."""

    async def send(self, order: messages.ToHost) -> None:
        """Send an order, if the host is still there."""
        if self.why_lost is None:
            await self._carry(pack(messages.encode(order)))

    async def ask(self, order: messages.ToHost, answer: type[A]) -> A:
        """Send an order and return its answer; Refused where the host refuses or is lost, WorkerFault if that fails."""
        self._answers.pop(answer, None)
        await self.send(order)
        return await self.expect(answer)

    async def expect(self, answer: type[A]) -> A:
        """Return the answer of a kind, as soon as there is one; fails as `ask` does."""
        found = await self._expect(answer)
        assert isinstance(found, answer)
        return found

    async def _expect(self, key: object) -> messages.FromHost:
        while True:
            if (found := self._answers.get(key)) is not None:
                return found
            unable = self._answers.get(messages.Unable)
            if isinstance(unable, messages.Unable):
                raise (Refused if unable.is_refusal else WorkerFault)(f"{self.name}: {unable.why}")
            if self.why_lost is not None:
                raise Refused(f"The host {self.name} ({self.address}) can't take part: {self.why_lost}.")
            await self._changed.wait()

    async def expect_done(self, order: messages.Order) -> None:
        """Return when an order has been carried out; fails as `ask` does."""
        await self._expect((messages.Done, order))

    async def wait_for_done(self, order: messages.Order) -> None:
        """Return when an order has been carried out, or the host is lost."""
        await self._wait_for((messages.Done, order))

    async def fetch_columns(self) -> None:
        """Have both columns sent, and return when all of them has been taken, or the host is lost."""
        self._fetches += 1
        number = self._fetches
        await self.send(messages.SendColumns(number))
        await self._wait_for((messages.ColumnsSent, number))

    async def _wait_for(self, key: object) -> None:
        while key not in self._answers and self.why_lost is None:
            await self._changed.wait()

    @property
    def is_short(self) -> bool:
        """Whether it has said that memory runs short."""
        return messages.Short in self._answers

    async def wait_for_change(self) -> None:
        """Return when it has said something, or is lost."""
        await self._changed.wait()

    def hear(self, data: bytes) -> None:
        """Take bytes that have come of it."""
        if self.why_lost is not None:
            return
        self._heard = trio.current_time()
        try:
            for packet in self._unpacker.feed(data):
                self._take(messages.decode_answer(packet))
        except (WorkerFault, msgspec.DecodeError) as error:
            self.lose(f"what it says can't be understood: {error}")

    def _take(self, message: messages.FromHost) -> None:
        key: object = type(message)
        match message:
            case messages.Column():
                self.take_piece(message)
                return
            case messages.ColumnsSent(number=number):
                key = (messages.ColumnsSent, number)
            case messages.Done(order=order, reading=reading):
                key = (messages.Done, order)
                self.reading = reading
            case messages.Said(reading=reading) | messages.Short(reading=reading):
                self.reading = reading
        self._answers[key] = message
        self._wake()

    def lose(self, why: str) -> None:
        """Take it for gone."""
        if self.why_lost is None:
            self.why_lost = why
            self.lost.set()
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def keep_in_touch(self) -> None:
        """Send a sign of life each second, and take it for lost when none has come for too long; until it is lost."""
        self._heard = trio.current_time()
        while self.why_lost is None:
            await self.send(messages.Alive())
            await trio.sleep(messages.BEAT)
            if (silent := trio.current_time() - self._heard) > messages.SILENCE:
                self.lose(f"nothing was heard of it for {silent:.0f} s")
