"""Store, whereabouts, router, bus, senders and streams together, held against plain dictionaries."""

import os
import tempfile
from pathlib import Path

import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from floodtest.server_under_test.fronts.senders import MessageSender
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.progress import Progress
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.turn_writer import TurnWriter
from floodtest.wire.protocols import CHUNKED
from tests.rigs.router import chunks
from tests.rigs.server import ServerRig


class GroundTruth(RuleBasedStateMachine):
    """Everything but processes: store, whereabouts, router, bus, senders and streams, against dictionaries."""

    PEOPLE = range(1, 7)
    NAMES = ("a", "photo:7")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "db", create=True)
        self.rig = ServerRig()
        self.bus = SharedBus(1)
        self.sender = MessageSender(self.rig.streams, self.bus, 0, self.rig.ledger.row(0))
        rows = self.rig.ledger.rows
        progress = Progress(rows["turn"], lambda: rows["deliveries"] + rows["undeliverable"])
        self.router = Router(self.rig.whereabouts, self.store, TurnWriter(self.bus, self._tell, progress))
        self.waiting: list[Deliver] = []
        self.connections = 0
        self.user_of: dict[int, int] = {}
        self.had: dict[int, int] = {}  # the last user of each descriptor
        self.expected: dict[int, list[bytes]] = {}
        self.received: dict[int, bytes] = {}
        self.subscriptions: set[tuple[int, Subject]] = set()
        self.messages = 0

    def _tell(self, front: int, order: Deliver) -> None:
        assert front == 0
        self.waiting.append(order)

    @rule(user=st.sampled_from(PEOPLE))
    def login(self, user: int) -> None:
        self.connections += 1
        name = self.connections
        self.user_of[name], self.expected[name], self.received[name] = user, [], b""
        server = self.rig.accept(name)
        if self.had.get(server) == user:
            self.write()  # or the new connection would get what is on its way to the one before it of this user
        self.had[server] = user
        self.rig.streams.login([server], [user], CHUNKED)
        self.rig.read(name)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.user_of:
            name = data.draw(st.sampled_from(sorted(self.user_of)))
            self._read(name)
            self.rig.clients.pop(name).close()
            self.rig.turn()
            del self.user_of[name], self.expected[name], self.received[name]

    @rule(pairs=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*PEOPLE, *NAMES])), max_size=5))
    def subscribe(self, pairs: list[tuple[int, Subject]]) -> None:
        self.store.add_subscriptions(pairs)
        self.subscriptions |= set(pairs)

    @rule(pairs=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*PEOPLE, *NAMES])), max_size=5))
    def unsubscribe(self, pairs: list[tuple[int, Subject]]) -> None:
        self.store.remove_subscriptions(pairs)
        self.subscriptions -= set(pairs)

    @rule(subjects=st.lists(st.sampled_from([*PEOPLE, *NAMES, 99]), min_size=1, max_size=6))
    def publish(self, subjects: list[Subject]) -> None:
        texts = []
        deliveries = 0
        for subject in subjects:
            self.messages += 1
            text = b"message %d" % self.messages
            texts.append(text)
            for name, user in self.user_of.items():
                if user == subject or (user, subject) in self.subscriptions:
                    self.expected[name].append(text)
                    deliveries += 1
        counted = trio.run(self._publish, subjects, texts, clock=trio.testing.MockClock(autojump_threshold=0))
        assert counted == deliveries

    async def _publish(self, subjects: list[Subject], texts: list[bytes]) -> int:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self.router.run)
            if len(self.waiting) == 2:
                self.write()  # a third turn would wait for the first
            deliveries = await self.router.publish(subjects, texts)
            tasks.cancel_scope.cancel()
        return deliveries

    @rule()
    def write(self) -> None:
        """The front gets round to what it was told."""
        while self.waiting:
            self.sender.begin(self.waiting.pop(0))
        while self.sender.under_way:
            self.sender.send_some(2)

    def _read(self, name: int) -> None:
        self.received[name] += self.rig.read(name) or b""

    @invariant()
    def everybody_got_theirs_and_nobody_anything_else(self) -> None:
        for name in self.user_of:
            self._read(name)
            numbered = (b"Recvd msg #%d: %b\n" % (n, text) for n, text in enumerate(self.expected[name], 1))
            whole = chunks(*numbered)
            if self.waiting or self.sender.under_way:
                assert whole.startswith(self.received[name])
            else:
                assert self.received[name] == whole

    def teardown(self) -> None:
        self.rig.end()
        self.store.close()
        os.close(self.bus.descriptor)
        self.folder.cleanup()


TestGroundTruth = GroundTruth.TestCase
TestGroundTruth.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
