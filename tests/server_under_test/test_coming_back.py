"""Clients of events that come back: all from the store to the streams, held against a list of all messages."""

import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from floodtest.server_under_test.limits import HistoryBounds
from floodtest.server_under_test.routing import router as router_module
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.history import History
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.replays import Asked, Replays
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from floodtest.wire.event_ids import UNKNOWN, number_in
from floodtest.wire.framing import chunked
from floodtest.wire.protocols import EVENTS, UNTIL_CLOSE, Served
from tests.rigs.server import ServerRig

LIFE = "0badcafe"
COUNT = 3
"""Messages kept of each subject."""

PEOPLE = range(1, 4)
ALL = "all"
SUBSCRIPTIONS: list[tuple[int, Subject]] = [*((user, ALL) for user in PEOPLE), (1, 2), (3, "few"), (1, 1)]
WHO = (1, 1, 2, 3)
"""Users of those who listen."""


MANY = st.lists(st.sampled_from([1, 2, ALL, ALL, "few", 99]), max_size=6)


class Recorder(History):
    """A history that tells in which order the router has taken up messages, of two batches as it likes."""

    def __init__(self) -> None:
        super().__init__(HistoryBounds(count=COUNT), 1 << 20, lambda: 0.0)
        self.published: list[tuple[Subject, bytes]] = []  # message n is the one of place n - 1

    def add(self, subjects: Sequence[Subject], texts: Sequence[bytes]) -> None:
        super().add(subjects, texts)
        self.published += zip(subjects, texts, strict=True)
        assert len(self.published) == self.last


class Listener:
    """A client that comes and goes: what it has heard, and what it should have."""

    def __init__(self, user: int, protocol: Served) -> None:
        self.user = user
        self.protocol = protocol
        self.last_event = b""
        self.heard: list[int] = []
        self.expected: list[int] = []
        self.losses = 0
        self.expected_losses = 0
        self.connection: int | None = None
        self.asks_since: int | None = None
        """The number that it has come back with, until the router has answered."""
        self._data = b""
        self._number = 0

    def connect(self, connection: int) -> None:
        self.connection, self._data, self._number = connection, b"", 0

    def hear(self, data: bytes, published: list[tuple[Subject, bytes]]) -> None:
        """Take in what has come, all of which is whole."""
        if not self._data:
            data = data.partition(b"\r\n\r\n")[2]
        if self.protocol is EVENTS:
            decoded = chunked.decode(data)
            assert not decoded.rest
            data = b"".join(decoded.payloads)
        self._data += data or b" "
        for event in data.split(b"\n\n")[:-1]:
            fields = dict(line.split(b": ", 1) for line in event.split(b"\n"))
            self.last_event = fields.get(b"id", self.last_event)
            if b"event" in fields:
                assert fields[b"event"] == b"lost"
                assert self._number == 0
                self.losses += 1
            elif not fields[b"data"].startswith(b"Welcome"):
                self._number += 1
                number = number_in(LIFE.encode(), fields[b"id"])
                assert fields[b"data"] == b"Recvd msg #%d: %b" % (self._number, published[number - 1][1])
                self.heard.append(number)


class ComingBack(RuleBasedStateMachine):
    """Nothing is heard twice or out of order, and nothing is missed but what its ring had dropped, which is told."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "db", create=True)
        self.store.add_subscriptions(SUBSCRIPTIONS)
        self.rig = ServerRig(LIFE)
        rows = self.rig.ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        self.history = history = Recorder()
        replays = Replays(history, self.store, 1 << 20)
        self.router = Router(
            self.rig.whereabouts, self.store, TurnWriter(self.rig.bus, self._tell, progress), history, replays
        )
        self.waiting: list[Deliver] = []
        self.had: dict[int, int] = {}  # the last user of each descriptor
        self.texts = count(1)
        self.connections = 0
        protocols = (EVENTS, UNTIL_CLOSE["events"])
        self.listeners = [Listener(user, protocols[number % 2]) for number, user in enumerate(WHO)]
        for listener in self.listeners:
            self._connect(listener, None)

    def _tell(self, front: int, order: Deliver) -> None:
        self.waiting.append(order)
        if len(self.waiting) == 2:
            self.write()  # a third turn would wait for the first

    def _is_for(self, number: int, user: int) -> bool:
        subject, _ = self.history.published[number - 1]
        return subject == user or (user, subject) in SUBSCRIPTIONS

    def _for(self, user: int, since: int) -> list[int]:
        return [number for number in range(since + 1, self.history.last + 1) if self._is_for(number, user)]

    def _is_kept(self, number: int) -> bool:
        subjects = [subject for subject, _ in self.history.published[number - 1 :]]
        return subjects.count(subjects[0]) <= COUNT

    def _connect(self, listener: Listener, last_event: bytes | None) -> None:
        self.connections += 1
        server = self.rig.accept(self.connections)
        if last_event is None and self.had.get(server) == listener.user:
            self.write()  # or the new connection would get what is on its way to the one before it of this user
        self.had[server] = listener.user
        listener.connect(self.connections)
        self.rig.streams.login([server], [listener.user], listener.protocol, last_event=last_event)

    @rule(
        which=st.integers(0, len(WHO) - 1), other=st.sampled_from([None] * 4 + [b"0badcafe-9999", b"dead-1", b"\xff"])
    )
    def go_or_come(self, which: int, other: bytes | None) -> None:
        """Somebody goes, or comes back, perhaps with what nobody has been told."""
        listener = self.listeners[which]
        if listener.connection is not None:
            self._leave(listener)
            return
        if other is not None:  # what it has had is nothing to the server
            listener.heard, listener.expected = [], []
        listener.asks_since = UNKNOWN if other is not None else number_in(LIFE.encode(), listener.last_event)
        assert (listener.asks_since == UNKNOWN) is (other is not None)
        self._connect(listener, other or listener.last_event)

    @rule(which=st.integers(0, len(WHO) - 1), away=MANY, waiting=MANY, is_slow=st.booleans(), is_told=st.booleans())
    def come_back(self, which: int, away: list[Subject], waiting: list[Subject], is_slow: bool, is_told: bool) -> None:
        """Somebody is away for a while, and waits for what was published then while more is published."""
        if self.listeners[which].connection is not None:
            self.go_or_come(which, None)
        self._publish_all(away)
        self.go_or_come(which, None)
        self._publish_all(waiting)
        if is_slow:
            self.write_some()
        if is_told:
            self.answer()

    @rule(which=st.integers(0, len(WHO) - 1))
    def begin_anew(self, which: int) -> None:
        listener = self.listeners[which]
        if listener.connection is None:
            self.listeners[which] = Listener(listener.user, listener.protocol)
            self._connect(self.listeners[which], None)

    def _leave(self, listener: Listener) -> None:
        assert listener.connection is not None
        listener.hear(self.rig.read(listener.connection) or b"", self.history.published)
        self.rig.clients.pop(listener.connection).close()
        self.rig.turn()
        listener.connection = listener.asks_since = None
        listener.expected, listener.expected_losses = list(listener.heard), listener.losses

    @rule()
    def answer(self) -> None:
        """The router gets round to what it was asked."""
        asked = [Asked(0, *one) for resume in self.rig.resuming.requests() for one in resume.asked]
        if asked:
            self._run(asked, [])
        for listener in self.listeners:
            if listener.connection is not None and listener.asks_since is not None:
                missed = self._for(listener.user, max(0, listener.asks_since))
                kept = list(filter(self._is_kept, missed))
                listener.expected += kept
                listener.expected_losses += kept != missed or listener.asks_since == UNKNOWN
            listener.asks_since = None

    @rule(subjects=MANY)
    def publish(self, subjects: list[Subject]) -> None:
        self._publish_all(subjects)

    def _publish_all(self, subjects: list[Subject]) -> None:
        before = self.history.last
        self._run([], [(subject, b"message %d" % next(self.texts)) for subject in subjects])
        for listener in self.listeners:
            if listener.connection is not None and listener.asks_since is None:
                listener.expected += self._for(listener.user, before)

    def _run(self, asked: list[Asked], messages: list[tuple[Subject, bytes]]) -> None:
        async def main() -> None:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self.router.run)
                if asked:
                    await self.router.replay(asked)
                    await trio.testing.wait_all_tasks_blocked()
                if messages:
                    half = (len(messages) + 1) // 2
                    async with trio.open_nursery() as publishers:  # one after the other, of which neither is whole
                        for some in (messages[:half], messages[half:]):
                            publishers.start_soon(self._publish, some)
                            await trio.testing.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    async def _publish(self, messages: list[tuple[Subject, bytes]]) -> None:
        if messages:
            subjects, texts = zip(*messages, strict=True)
            await self.router.publish(subjects, texts)

    @rule()
    def write(self) -> None:
        """The front gets round to all that it was told."""
        while self.waiting:
            self.rig.messages.begin(self.waiting.pop(0))
        while self.rig.messages.under_way:
            self.rig.messages.send_some(2)

    @rule()
    def write_some(self) -> None:
        """The front gets round to some of what it was told."""
        while self.waiting:
            self.rig.messages.begin(self.waiting.pop(0))
        if self.rig.messages.under_way:
            self.rig.messages.send_some(1)

    @invariant()
    def everybody_has_heard_what_came_and_what_was_missed(self) -> None:
        is_written = not (self.waiting or self.rig.messages.under_way)
        for listener in self.listeners:
            if listener.connection is not None:
                listener.hear(self.rig.read(listener.connection) or b"", self.history.published)
            assert listener.heard == listener.expected[: len(listener.heard)]
            assert listener.heard == sorted(set(listener.heard))
            if is_written:
                assert (listener.heard, listener.losses) == (listener.expected, listener.expected_losses)

    def teardown(self) -> None:
        self.rig.end()
        self.store.close()
        self.folder.cleanup()


@pytest.fixture(autouse=True)
def _small_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages to all take several turns."""
    monkeypatch.setattr(router_module, "ROWS", 3)


TestComingBack = ComingBack.TestCase
TestComingBack.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
