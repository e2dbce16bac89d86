"""A link to a bus: what it takes to say something in channels of a Valkey server and to hear others, for good.

In: an address, the channels to hear, `hear` for the messages that came, a batch at a time, and `joined` for whatever is
to be said first, once the channels are heard. Out: `publish`. The library is coredis, on trio; two connections, since
one that hears gives no answers. Both are made anew when either is lost, which costs the messages that came meanwhile,
as Pub/Sub keeps none; whoever speaks over a link counts them.

Bounded: coredis puts what it has read into a queue without bounds, so a link does not let it read on (by its
`processing_budget`) before what was read is dealt with, and has its parser forget what is parsed. Whoever is slow to
hear leaves messages to the kernel and then to the server, which others than this link must keep small: by windows of
acknowledged frames. Fails: Refused where the server can't be reached at the start; later that is told to `notice`, and
tried again each `RETRY` seconds.
"""

import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from io import BytesIO
from typing import Any

import anyio
import trio
from coredis.connection import (
    BaseConnection,
    TCPConnection,
    TCPLocation,
    UnixDomainSocketConnection,
    UnixDomainSocketLocation,
)
from coredis.exceptions import RedisError

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.bus_options import BusAddress

RETRY = 0.5
"""Seconds between two attempts to connect."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""Within which the server answers; past it the link is taken for lost. A link that is made anew loses what it has not
read, so that this is longer than a process may well stand still itself."""

KEEPALIVE: dict[int, int | bytes] = {
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 2,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 10_000,
}
"""A server whose machine is gone is noticed within some 10 seconds."""

PARSED = 1 << 20
"""Bytes that a parser may keep of what it has parsed."""

BATCH = 256
"""Messages that are handed over at a time."""

Messages = list[tuple[str, bytes]]
"""What came: the channel of each, and what was said."""

LOST = (RedisError, OSError, TimeoutError, trio.TooSlowError)
"""What a connection that can't be had or is lost raises."""

logging.getLogger("coredis").propagate = False  # it logs tracebacks of lost connections; a link says what is lost
logging.getLogger("coredis").addHandler(logging.NullHandler())


class Link:
    """A link to one server."""

    def __init__(
        self,
        address: BusAddress,
        channels: Sequence[str],
        hear: Callable[[Messages], Awaitable[None]],
        joined: Callable[[], Awaitable[None]],
        notice: Callable[[str], None],
    ) -> None:
        self._address = address
        self._channels = channels
        self._hear = hear
        self._joined = joined
        self._notice = notice
        self._tls = _tls_of(address)
        self._speaker: BaseConnection | None = None
        self._starting: trio.TaskStatus[None] | None = None
        self._times_lost = 0

    async def publish(self, channel: str, message: bytes) -> int | None:
        """Say something; return how many heard it, or None where that is not known, as the link was lost over it."""
        speaker = self._speaker
        if speaker is None:
            await trio.lowlevel.checkpoint()
            return 0
        try:
            answer = await speaker.create_request(b"PUBLISH", channel, message, timeout=ANSWER_SECONDS)
        except LOST:
            speaker.invalidate("it does not answer")
            return None
        return answer if isinstance(answer, int) else None

    async def answers(self) -> bool:
        """Return whether the server answers."""
        if self._speaker is None:
            return False
        try:
            await self._speaker.create_request(b"PING", timeout=ANSWER_SECONDS)
        except LOST:
            return False
        return True

    async def count_subscribers(self, channel: str) -> int:
        """Return how many hear a channel; 0 while the link is lost."""
        if self._speaker is None:
            return 0
        try:
            answer: Any = await self._speaker.create_request(b"PUBSUB", b"NUMSUB", channel, timeout=ANSWER_SECONDS)
        except LOST:
            return 0
        return int(next(iter(answer.values())) if isinstance(answer, dict) else answer[1])

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link until cancelled; started when it is up for the first time, and Refused if it can't be had."""
        self._starting = task_status
        while True:
            why = await self._be_linked()
            if self._starting is not None and why is not None:
                raise Refused(
                    f"The bus {self._address} can't be had: {why}. Start a Valkey server there, or name another --bus."
                )
            await trio.sleep(RETRY)

    async def _be_linked(self) -> str | None:
        """Be linked once; return why there was no link, None if there was one that is lost."""
        budget = anyio.CapacityLimiter(1)
        was_up = False
        try:
            async with trio.open_nursery() as tasks:
                listener, speaker = self._make_connection(budget), self._make_connection(anyio.CapacityLimiter(1))
                for connection in (listener, speaker):
                    await tasks.start(_run_until_lost, connection, tasks.cancel_scope)
                heard = await self._subscribe(listener)
                self._speaker, was_up = speaker, True
                if self._times_lost:
                    self._notice(f"the bus {self._address} is there again")
                await self._joined()
                if self._starting is not None:
                    self._starting.started()
                    self._starting = None
                await self._hear_on(listener, heard, budget)
        except BaseExceptionGroup as group:
            lost, others = group.split(LOST)
            if others is not None:
                raise others from None
            if not was_up and lost is not None:
                return _why(lost)
        finally:
            self._speaker = None
        self._times_lost += 1
        if was_up:
            self._notice(f"the bus {self._address} is lost; it is tried again until it is there")
        return None

    def _make_connection(self, budget: anyio.CapacityLimiter) -> BaseConnection:
        address = self._address
        options: dict[str, Any] = {
            "username": address.user,
            "password": address.password,
            "connect_timeout": CONNECT_SECONDS,
            "processing_budget": budget,
        }
        if address.path is not None:
            return UnixDomainSocketConnection(UnixDomainSocketLocation(address.path), **options)
        return TCPConnection(
            TCPLocation(address.host, address.port),
            socket_keepalive=True,
            socket_keepalive_options=KEEPALIVE,
            ssl_context=self._tls,
            **options,
        )

    async def _subscribe(self, listener: BaseConnection) -> AsyncGenerator[list[Any], None]:
        """Ask for the channels; return what comes, once the server has said that they are heard."""
        heard: AsyncGenerator[list[Any], None] = listener.push_messages
        listener.send_command(b"SUBSCRIBE", *self._channels)
        with trio.fail_after(ANSWER_SECONDS):
            for _ in self._channels:
                await anext(heard)
        return heard

    async def _hear_on(
        self, listener: BaseConnection, heard: AsyncGenerator[list[Any], None], budget: anyio.CapacityLimiter
    ) -> None:
        """Hand over what comes, until the connection is lost."""
        while True:
            messages = [await anext(heard)]
            async with budget:  # nothing more is read before what has been read is dealt with
                while messages:
                    while len(messages) < BATCH and listener.usable and not listener.reusable:
                        messages.append(await anext(heard))
                    await self._hear([(bytes(m[1]).decode(), bytes(m[2])) for m in messages if m[0] == b"message"])
                    messages = [await anext(heard)] if listener.usable and not listener.reusable else []
                _drop_what_was_read(listener)


def _drop_what_was_read(listener: BaseConnection) -> None:
    """Have the parser of a connection keep only what it has not parsed.

    By itself it keeps all that it has read until it has parsed all of it, which with a stream of large messages, whose
    ends are never those of a read, is never: it grew by as much as came. It has no call for this, and parses nothing
    while we have its budget.
    """
    parser = listener._parser
    if parser.bytes_read > PARSED:
        rest = parser.localbuffer.getvalue()[parser.bytes_read : parser.bytes_written]
        parser.localbuffer = BytesIO(rest)
        parser.bytes_read, parser.bytes_written = 0, len(rest)


async def _run_until_lost(
    connection: BaseConnection,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a connection, and end all that needs it when it is lost."""
    await connection.run(task_status=task_status)
    scope.cancel()


def _tls_of(address: BusAddress) -> ssl.SSLContext | None:
    """Return by what a connection is encrypted; Refused where a file can't be read."""
    if not address.has_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.cafile)
        if address.cert is not None:
            context.load_cert_chain(address.cert, address.key)
    except OSError as error:
        raise Refused(f"A certificate or key of the bus {address} can't be read: {error.strerror or error}.") from error
    return context


def _why(group: BaseExceptionGroup[BaseException]) -> str:
    """Return the reason that lies deepest, as others say only that there was one."""
    error: BaseException = group
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return str(error) or type(error).__name__
