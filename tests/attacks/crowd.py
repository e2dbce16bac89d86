"""Attack: a crowd that stalls, pours, trickles and resets, beside one publisher and one listener who behave.

All at once, against a server of each model: clients that never read, resets at any point, heads without end, bytes
without end after a head, heads that stop half-way, heads and bodies of the control API that come byte by byte. Each has
to be ended as docs/comet.md says, and counted; the two who behave must not notice.
"""

import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from random import Random
from typing import Any

import trio

from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.server_under_test.limits import API_SECONDS
from floodtest.server_under_test.models import MODELS
from tests.attacks.order import Order, Tally
from tests.attacks.serving import MIB, PATIENCE, fault, figures, note_growth, serving
from tests.rigs.support import Comet

EACH = 800
"""Of each kind, in all."""

ARRIVALS = 100.0
"""A second, of each kind: what they all send at once would keep both ends busy for longer than `BOUND`."""

PENDING = 65_536
OPTIONS = ("--max-users", "100", "--limit-pending", str(PENDING))
OTHERS = ("400", "404", "501", "503", "505")
"""Statuses that nobody here has to get as a stream."""

BOUND = 0.8 * API_SECONDS
"""Seconds that a message may take, its answer and its delivery alike: who waits for a body to be given up for its
slowness takes longer."""

MOST_GROWTH = 160 * MIB
HEAD = b"GET /test/2 HTTP/1.1\r\nHost: comet\r\n\r\n"
RESET = struct.pack("ii", 1, 0)
LARGE = "x" * 16_000
BODY_BEGUN = b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 250000\r\n\r\n" + b" " * 200_000
"""Of some hundred of these, the memory for bodies is full."""


def publication(subject: int, text: str) -> bytes:
    """Return a request that publishes one message."""
    body = json.dumps({"subject": subject, "message": text})
    return f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Witness:
    """Publishes to itself, one message after another, and measures how long each takes."""

    def __init__(self, server: Comet, tally: Tally) -> None:
        self._server = server
        self._tally = tally
        self._sent: list[float] = []
        self._received = 0
        self.slowest = 0.0
        self.over = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on until told that it is over and all messages have come."""
        stream = await trio.open_tcp_stream("127.0.0.1", self._server.port)
        api = await trio.open_tcp_stream("127.0.0.1", self._server.control)
        async with stream, api, trio.open_nursery() as tasks:
            await stream.send_all(HEAD.replace(b"/2", b"/1"))
            while not (await stream.receive_some(65536)).endswith(b"Welcome, user 1\n\r\n"):
                pass
            task_status.started()
            tasks.start_soon(self._listen, stream)
            while not self.over:
                self._sent.append(time.monotonic())
                await api.send_all(publication(1, f"{len(self._sent)}."))
                answer = await api.receive_some(65536)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    fault(self._tally, f"The publisher that behaves got {bytes(answer)!r}.")
                    tasks.cancel_scope.cancel()
                self._took(self._sent[-1])
                await trio.sleep(0.05)
            with trio.move_on_after(PATIENCE):
                while self._received < len(self._sent):
                    await trio.sleep(0.05)
            if missing := len(self._sent) - self._received:
                fault(self._tally, f"{missing} messages have not come to the client that behaves.")
            tasks.cancel_scope.cancel()

    async def _listen(self, stream: trio.SocketStream) -> None:
        unread, number = b"", 1
        async for data in stream:
            unread += data
            while (mark := b"Recvd msg #%d: %d.\n" % (number, number)) in unread:
                unread = unread.partition(mark)[2]
                self._received = number
                self._took(self._sent[number - 1])
                number += 1
        fault(self._tally, "The stream of the client that behaves has ended.")

    def _took(self, began: float) -> None:
        self.slowest = max(self.slowest, time.monotonic() - began)


class Crowd:
    """Those who misbehave, against one server."""

    def __init__(self, server: Comet, tally: Tally, random: Random, count: int) -> None:
        self.server = server
        self.tally = tally
        self._random = random
        self._count = count

    async def _connect(self, control: bool = False) -> trio.SocketStream:
        port = self.server.control if control else self.server.port
        with trio.fail_after(PATIENCE):
            return await trio.open_tcp_stream("127.0.0.1", port)

    def _saw(self, answer: bytes) -> None:
        self.tally.saw[answer[9:12].decode() if answer else "reset"] += 1

    async def _rest(self, stream: trio.SocketStream) -> bytes:
        """Read until the server closes; what came before a reset may be lost."""
        answer = b""
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                answer += data[:100]
        return answer

    async def _sending(self, stream: trio.SocketStream, piece: bytes, pause: float) -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(piece)
                await trio.sleep(pause)

    async def _until_answered(self, stream: trio.SocketStream, piece: bytes, pause: float) -> None:
        """Send a piece again and again until the server has closed; it has to, in bounded time."""
        async with stream, trio.open_nursery() as tasks:
            tasks.start_soon(self._sending, stream, piece, pause)
            with trio.move_on_after(PATIENCE) as late:
                self._saw(await self._rest(stream))
            if late.cancelled_caught:
                fault(self.tally, f"Who sends {piece[:20]!r} without end is not cut off within {PATIENCE:g} s.")
            tasks.cancel_scope.cancel()

    async def never_reads(self, over: trio.Event) -> None:
        """Ask for a stream and read nothing, with as little room in the kernel as can be had."""
        with trio.socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 300)
            await sock.connect(("127.0.0.1", self.server.port))
            await sock.send(HEAD)
            await over.wait()

    async def resets(self) -> None:
        """Go away by reset in the middle of something."""
        stream = await self._connect()
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all((HEAD + HEAD)[: self._random.randrange(1, 2 * len(HEAD))])
                await trio.sleep(self._random.choice([0, 0.01, 0.1, 1]))
                with trio.move_on_after(0.01):
                    await stream.receive_some(self._random.choice([1, 100]))

    async def endless_head(self) -> None:
        """Send fields without end: 431."""
        stream = await self._connect()
        await stream.send_all(HEAD[:-2])
        await self._until_answered(stream, b"X: %b\r\n" % (b"y" * 3000), 0)

    async def endless_sender(self) -> None:
        """Send without end after a head: cut off."""
        stream = await self._connect()
        await stream.send_all(HEAD)
        await self._until_answered(stream, b"x" * 4096, 0)

    async def half_a_head(self) -> None:
        """Begin a head and say nothing more: 408."""
        stream = await self._connect()
        async with stream:
            await stream.send_all(HEAD[: self._random.randrange(1, len(HEAD))])
            with trio.move_on_after(PATIENCE) as late:
                self._saw(await self._rest(stream))
            if late.cancelled_caught:
                fault(self.tally, f"Half a head is not answered within {PATIENCE:g} s.")

    async def trickled_head(self) -> None:
        """Send a head a byte at a time, too slowly: 408."""
        stream = await self._connect()
        await stream.send_all(HEAD[:-2] + b"X: ")
        await self._until_answered(stream, b"y", 0.5)

    async def trickled_body(self) -> None:
        """Send the end of a large batch a byte at a time: 408, or 503 when others need the room."""
        stream = await self._connect(control=True)
        with suppress(trio.BrokenResourceError):  # it may have to make room before all of it is there
            await stream.send_all(BODY_BEGUN)
        await self._until_answered(stream, b" ", 0.08 if self._random.random() < 0.1 else 0.5)

    async def flood_those_who_do_not_read(self, slow: trio.Event) -> None:
        """Publish until all who never read are cut off."""
        told: dict[str, Any] = {}
        with trio.move_on_after(PATIENCE) as late:
            while (told := await self._figures())["slow"] < self._count:
                async with await self._connect(control=True) as stream:
                    await stream.send_all(publication(2, LARGE))
                    answer = await stream.receive_some(65536)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    fault(self.tally, f"Who publishes to the crowd got {bytes(answer)!r}.")
                self.tally.did["messages to those who do not read"] += 1
        if late.cancelled_caught:
            fault(self.tally, f"Not all of {self._count} who never read were cut off: {told}.")
        slow.set()

    async def _figures(self) -> dict[str, Any]:
        return await trio.to_thread.run_sync(figures, self.server)

    async def run(self) -> None:
        """Let all kinds loose at once; return when each has been dealt with."""
        witness, slow = Witness(self.server, self.tally), trio.Event()
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "never read": lambda: self.never_reads(slow),
            "resets": self.resets,
            "endless heads": self.endless_head,
            "endless senders": self.endless_sender,
            "half-open heads": self.half_a_head,
            "trickled heads": self.trickled_head,
            "trickled bodies": self.trickled_body,
        }
        async with trio.open_nursery() as outer:
            await outer.start(witness.run)
            async with trio.open_nursery() as tasks:
                for _ in range(self._count):
                    for name, kind in kinds.items():
                        tasks.start_soon(kind)
                        self.tally.did[name] += 1
                    await trio.sleep(len(MODELS) / ARRIVALS)
                tasks.start_soon(self.flood_those_who_do_not_read, slow)
            witness.over = True
        self.tally.notes.append(f"slowest message of who behaves: {witness.slowest:.2f} s")
        if witness.slowest > BOUND:
            fault(self.tally, f"A message of who behaves took {witness.slowest:.1f} s, and {BOUND:g} s is the bound.")
        self._check(await trio.to_thread.run_sync(figures, self.server))

    def _check(self, told: dict[str, Any]) -> None:
        """See that each kind was counted, once each."""
        count = self._count
        late, long, others = (sum(told["rejected"].get(one, 0) for one in some) for some in (["408"], ["431"], OTHERS))
        # Who resets, or sends a head without end, may be so slow on a machine with other work that it gets 408.
        is_right = 2 * count <= late and 3 * count <= late + long <= 4 * count and not others
        if (told["slow"], told["excess"]) != (count, count) or not is_right:
            counted = {name: told[name] for name in ("slow", "excess", "rejected")}
            fault(self.tally, f"Of {count} of each kind are counted {counted}.")


def attack(order: Order) -> Tally:
    """Let a crowd loose on a server of each model."""
    tally, random = Tally(), order.random
    raise_files_limit()
    with ExitStack() as stack:
        servers = {model: stack.enter_context(serving(order, tally, "--model", model, *OPTIONS)) for model in MODELS}
        before = {model: figures(server) for model, server in servers.items()}

        async def all_at_once() -> None:
            async with trio.open_nursery() as tasks:
                for server in servers.values():
                    tasks.start_soon(Crowd(server, tally, random, order.count(EACH // len(MODELS))).run)

        trio.run(all_at_once)
        for model, server in servers.items():
            note_growth(tally, f"memory of {model} behind the crowd", before[model], figures(server), MOST_GROWTH)
    return tally
