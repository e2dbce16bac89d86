"""Clients that come to a `comet serve` and go again, and one that publishes to them and changes who subscribes.

In: the addresses of a server and a source of random numbers. Out: counts of what was done, and faults: a message that
did not reach a visitor who was there from before it was published until after it was due, one that reached somebody
whom it was not for, one that came twice or out of order. Publishing and subscribing are done by one task, so that for
each message it is known who has to get it: whoever had been welcomed by then, and waits for it before going.
"""

import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import trio

USERS = 60
TOPICS = 20
VISITORS = 24
"""Clients at a time; some have the id of another."""

PATIENCE = 60.0
"""Seconds within which whatever is waited for must come, on a machine that is busy with other attacks."""

_MESSAGE = re.compile(rb"Recvd msg #(\d+): (\S+) (\d+) x*\n")

WAYS = ("close", "reset", "half-close", "close unread")


@dataclass(eq=False)
class Visit:
    """A connection: what it has to get, and what it has got."""

    user: int
    stays: bool = False
    """Whether what is published now has to reach it."""
    due: set[int] = field(default_factory=set)
    """Messages by number that have to arrive still."""
    last: int = 0
    """The number of the last message that arrived."""
    count: int = 0
    arrived: trio.Event = field(default_factory=trio.Event)


class Visitors:
    """All visitors of a server."""

    def __init__(self, name: str, port: int, control: int, random: Random) -> None:
        self._name = name
        self._port = port
        self._control = control
        self._random = random
        self._visits: set[Visit] = set()
        self._subscribed: dict[str, set[int]] = {}
        self._ever: dict[str, set[int]] = {}
        self._published = 0
        self.did: Counter[str] = Counter()
        self.faults: list[str] = []

    async def come_and_go(self, seconds: float) -> None:
        """Let visitors come and go, and messages be published, for so many seconds; return when all have gone."""
        async with trio.open_nursery() as publishing:
            publishing.start_soon(self._publish_on)
            until = trio.current_time() + seconds
            async with trio.open_nursery() as visiting:
                for _ in range(VISITORS):
                    visiting.start_soon(self._visit_on, until)
            publishing.cancel_scope.cancel()

    def _fault(self, text: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(f"{self._name}: {text}.")

    # Who publishes.

    async def _publish_on(self) -> None:
        base = f"http://127.0.0.1:{self._control}"
        async with httpx.AsyncClient(base_url=base, timeout=PATIENCE, trust_env=False) as api:
            while True:
                await trio.sleep(self._random.uniform(0.0, 0.1))
                with trio.CancelScope(shield=True):
                    await (self._publish(api) if self._random.random() < 0.8 else self._subscribe(api))

    async def _publish(self, api: httpx.AsyncClient) -> None:
        lines = []
        for _ in range(self._random.randint(1, 20)):
            self._published += 1
            subject = self._subject()
            users = {int(subject)} if subject.isdigit() else self._subscribed.get(subject, set())
            for visit in self._visits:
                if visit.stays and visit.user in users:
                    visit.due.add(self._published)
            size = self._random.choice((0, 10, 1_000))
            lines.append({"subject": subject, "message": f"{subject} {self._published} {'x' * size}"})
        self.did["messages"] += len(lines)
        await self._call(api, "POST", "/publish", lines)

    async def _subscribe(self, api: httpx.AsyncClient) -> None:
        """Add or remove subscriptions; who is being subscribed or removed may get a message, and need not."""
        subject = f"topic:{self._random.randrange(TOPICS)}"
        subscribed = self._subscribed.setdefault(subject, set())
        users = {self._random.randint(1, USERS) for _ in range(self._random.randint(1, 5))}
        pairs = [{"subscriber": user, "subject": subject} for user in users]
        if self._random.random() < 0.25:  # so that there are more and more of them
            subscribed -= users
            await self._call(api, "DELETE", "/subscriptions", pairs)
            self.did["subscriptions removed"] += len(pairs)
        else:
            self._ever.setdefault(subject, set()).update(users)
            await self._call(api, "POST", "/subscriptions", pairs)
            subscribed |= users
            self.did["subscriptions added"] += len(pairs)

    def _subject(self) -> str:
        if self._random.random() < 0.5:
            return str(self._random.randint(1, USERS))
        return f"topic:{self._random.randrange(TOPICS)}"

    async def _call(self, api: httpx.AsyncClient, method: str, path: str, lines: list[dict[str, Any]]) -> None:
        body = b"\n".join(httpx.Request("POST", "http://a", json=line).content for line in lines)
        try:
            answer = await api.request(method, path, content=body)
        except httpx.HTTPError as error:
            self._fault(f"{method} {path} had no answer: {error!r}")
            return
        if answer.status_code != 200:
            self._fault(f"{method} {path} was answered {answer.status_code}: {answer.text[:200]}")

    # Who visits.

    async def _visit_on(self, until: float) -> None:
        while trio.current_time() < until:
            await self._visit(until)

    async def _visit(self, until: float) -> None:
        """Come, stay for a while, wait for what is due, and go in one of several ways."""
        way, visit = self._random.choice(WAYS), Visit(self._random.randint(1, USERS))
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with stream:
                with trio.fail_after(PATIENCE):
                    await stream.send_all(b"GET /test/%d HTTP/1.1\r\nHost: a\r\n\r\n" % visit.user)
                    left = await self._welcomed(stream, visit)
                async with trio.open_nursery() as reading:
                    visit.stays = way != "close unread"
                    self._visits.add(visit)
                    if visit.stays:
                        reading.start_soon(self._read, stream, visit, left)
                    stay = min(self._random.expovariate(1.0), until - trio.current_time())
                    await trio.sleep(max(0.0, stay))
                    visit.stays = False
                    await self._get_what_is_due(visit)
                    reading.cancel_scope.cancel()
                await self._go(stream, way)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            self._fault(f"a visit that was to end by {way} broke off: {error!r}")
        finally:
            self._visits.discard(visit)
        self.did[f"ended by {way}"] += 1

    async def _welcomed(self, stream: trio.SocketStream, visit: Visit) -> bytes:
        """Wait until the server has welcomed a visitor; return what came behind that."""
        welcome, data = b"Welcome, user %d\n\r\n" % visit.user, b""
        while welcome not in data:
            more = await stream.receive_some()
            if not more:
                raise OSError(f"the stream ended after {data!r}")
            data += more
        return data.partition(welcome)[2]

    async def _read(self, stream: trio.SocketStream, visit: Visit, data: bytes) -> None:
        while True:
            end = 0
            for found in _MESSAGE.finditer(data):
                self._arrive(visit, int(found[1]), found[2].decode(), int(found[3]))
                end = found.end()
            data = data[end:]
            more = await stream.receive_some(65536)
            if not more:
                raise OSError("the server ended the stream")
            data += more

    def _arrive(self, visit: Visit, count: int, subject: str, number: int) -> None:
        visit.count += 1
        if count != visit.count:
            self._fault(f"user {visit.user} got #{count} as message {visit.count}")
            visit.count = count
        if number <= visit.last:
            self._fault(f"user {visit.user} got message {number} after {visit.last}")
        if subject != str(visit.user) and visit.user not in self._ever.get(subject, ()):
            self._fault(f"user {visit.user} got a message about {subject}, to which it never subscribed")
        visit.last = number
        visit.due.discard(number)
        visit.arrived.set()
        self.did["deliveries"] += 1

    async def _get_what_is_due(self, visit: Visit) -> None:
        with trio.move_on_after(PATIENCE):
            while visit.due:
                visit.arrived = trio.Event()
                await visit.arrived.wait()
        if visit.due:
            self._fault(f"user {visit.user} did not get messages {sorted(visit.due)[:5]} in {PATIENCE:g} s")

    async def _go(self, stream: trio.SocketStream, way: str) -> None:
        if way == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way == "half-close":
            await stream.send_eof()
            with trio.fail_after(PATIENCE):
                while await stream.receive_some(65536):
                    pass
