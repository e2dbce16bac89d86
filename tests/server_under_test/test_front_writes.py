"""server_under_test.fronts.senders: what a front writes of a turn, to whom, and what it counts."""

import numpy as np
import pytest

from floodtest.server_under_test.routing.bus import Deliver
from floodtest.server_under_test.routing.progress import NEVER
from tests.rigs.router import chunks
from tests.rigs.server import ServerRig


class Writer:
    """A front's messages: what the router would put on the bus, in its order, and the slices that it is written in."""

    def __init__(self, rig: ServerRig) -> None:
        self._rig = rig
        self._bus = rig.bus
        self._turn = 0
        self.sender = rig.messages

    def begin(self, texts: list[bytes], *deliveries: tuple[int, int, int]) -> None:
        """Order a turn, of (user whose descriptor it is, user it is for, index of the text)."""
        in_order = sorted((self._rig.descriptors[at], which, user) for at, user, which in deliveries)
        fds, which, users = (np.array(column, np.uint32) for column in zip(*in_order, strict=True))
        self._turn = self._bus.write(fds, users, which, texts, np.array([0, len(fds)]))
        self.sender.begin(Deliver(self._turn))

    def send(self, most: int, *deliveries: tuple[int, int, int]) -> int:
        """Have a turn of the texts a, b and c written; return in how many slices it was."""
        self.begin([b"a", b"b", b"c"], *deliveries)
        slices = 0
        while self._rig.figure("turn") == self._turn - 1:
            self.sender.send_some(most)
            slices += 1
        assert self._rig.figure("turn") == self._turn
        self.sender.send_some(most)
        assert not self.sender.under_way
        return slices

    def overwrite(self) -> None:
        """Do what the router does to the memory of a front that was given up: use it for something else."""
        self._bus.forget(NEVER)
        self._bus._memory[: 1 << 16] = b"\xff" * (1 << 16)


@pytest.fixture
def writer(front: ServerRig) -> Writer:
    return Writer(front)


def test_each_connection_has_its_own_numbers(front: ServerRig, writer: Writer) -> None:
    for user in (1, 2):
        front.login(user)
    writer.send(100, (1, 1, 0), (1, 1, 2), (2, 2, 2))
    writer.send(100, (1, 1, 1), (2, 2, 1))
    assert front.read(1) == chunks(b"Recvd msg #1: a\n", b"Recvd msg #2: c\n", b"Recvd msg #3: b\n")
    assert front.read(2) == chunks(b"Recvd msg #1: c\n", b"Recvd msg #2: b\n")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (5, 0)


def test_ticks_and_messages_share_the_numbers(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    front.send(b"tick 1")
    writer.send(100, (1, 1, 0))
    assert front.read(1) == chunks(b"Recvd msg #1: tick 1\n", b"Recvd msg #2: a\n")


def test_http_1_0_gets_messages_without_framing(front: ServerRig, writer: Writer) -> None:
    front.login_unchunked(1)
    writer.send(100, (1, 1, 0), (1, 1, 1))
    assert front.read(1) == b"Recvd msg #1: a\nRecvd msg #2: b\n"


def test_a_text_cannot_pass_for_two_messages_where_there_is_no_framing(front: ServerRig, writer: Writer) -> None:
    front.login_unchunked(1)
    writer.begin([b"a\r\nRecvd msg #9: b\n"], (1, 1, 0))
    writer.sender.send_some(100)
    assert front.read(1) == b"Recvd msg #1: a Recvd msg #9: b \n"


@pytest.mark.parametrize(("size", "slices"), [(100, 1), (50_000, 3), (70_000, 6), (200_000, 6)])
def test_a_slice_is_bounded_in_bytes_even_of_one_connection(
    size: int, slices: int, front: ServerRig, writer: Writer
) -> None:
    for user in (1, 2):
        front.login(user)
    writer.begin([b"x" * size], *[(user, user, 0) for user in (1, 2)] * 3)
    got = {1: b"", 2: b""}
    taken = 0
    while front.figure("turn") == 0:
        writer.sender.send_some(100)
        taken += 1
        for user in got:
            got[user] += front.read_to_the_end(user)
    assert taken == slices
    for user in got:
        assert got[user] == chunks(*(b"Recvd msg #%d: %b\n" % (n, b"x" * size) for n in (1, 2, 3)))


def test_what_a_stream_is_given_up_over_is_not_delivered(front: ServerRig, writer: Writer) -> None:
    front.login(1, buffer=2048)
    front.login(2)
    writer.begin([b"x" * 50_000], (1, 1, 0), (2, 2, 0))
    writer.sender.send_some(100)
    assert (front.figure("slow"), front.figure("deliveries"), front.figure("undeliverable")) == (1, 1, 1)


def test_a_descriptor_that_is_another_users_by_now_gets_nothing(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    fd = front.descriptors[1]
    front.clients[1].close()
    front.turn()
    front.login(2)
    assert front.descriptors[2] == fd
    writer.send(100, (1, 1, 0), (2, 2, 1))
    assert front.read(2) == chunks(b"Recvd msg #1: b\n")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (1, 1)


def test_a_user_who_left_is_counted_undeliverable(front: ServerRig, writer: Writer) -> None:
    front.login(1)
    front.clients[1].close()
    front.turn()
    writer.send(100, (1, 1, 0))
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (0, 1)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_slices_do_not_part_what_goes_to_one_connection(most: int, front: ServerRig, writer: Writer) -> None:
    deliveries = [(user, user, text) for user in range(1, 6) for text in range(3)]
    for user in range(1, 6):
        front.login(user)
    slices = writer.send(most, *deliveries)
    assert slices == {1: 5, 2: 5, 3: 5, 7: 2, 100: 1}[most]
    for user in range(1, 6):
        assert front.read(user) == chunks(*(b"Recvd msg #%d: %c\n" % (n + 1, b"abc"[n]) for n in range(3)))


def test_a_front_that_was_given_up_goes_on_when_its_turn_is_overwritten(front: ServerRig, writer: Writer) -> None:
    for user in (1, 2):
        front.login(user)
    writer.begin([b"a", b"b", b"c"], (1, 1, 0), (2, 2, 1), (2, 2, 2))
    writer.sender.send_some(1)
    writer.overwrite()
    while writer.sender.under_way:
        writer.sender.send_some(1)
    assert (front.read(1), front.read(2)) == (chunks(b"Recvd msg #1: a\n"), b"")
    assert (front.figure("deliveries"), front.figure("undeliverable")) == (1, 2)
    writer.send(100, (2, 2, 0))
    assert front.read(2) == chunks(b"Recvd msg #1: a\n")


def test_one_that_does_not_read_is_cut_off_and_the_others_get_theirs(front: ServerRig, writer: Writer) -> None:
    front.login(1, buffer=2048)
    front.login(2)
    got = b""
    for _ in range(59):
        writer.begin([b"x" * 1000], (1, 1, 0), (2, 2, 0))
        writer.sender.send_some(100)
        got += front.read(2) or b""
    assert got.count(b"Recvd msg #") == 59
    assert front.figure("slow") == 1
    assert front.figure("deliveries") + front.figure("undeliverable") == 118
    assert front.figure("undeliverable") > 0
