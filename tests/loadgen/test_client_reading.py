"""loadgen.client.streams: a lot to read, a lot to write, and closing, without holding up the others."""

import pytest

from floodtest.flyweight.engine import intake
from floodtest.flyweight.engine.intake import READ_SIZE, Reads
from floodtest.flyweight.engine.readiness import PLAIN
from floodtest.loadgen.client import streams
from floodtest.loadgen.client.accounts import State
from floodtest.wire.incoming import Incoming, Received
from tests.rigs.client import ClientRig, message, welcome
from tests.rigs.support import chunk


@pytest.mark.parametrize("size", [READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 2 * READ_SIZE, 70_000])
@pytest.mark.parametrize("ends", [False, True])
def test_more_than_one_read_holds(size: int, ends: bool, rig: ClientRig) -> None:
    (server,) = rig.open(1)
    payload = size - len(b"%x\r\n\r\n" % size)
    assert len(chunk(b"x" * payload)) == size
    server.sendall(chunk(b"x" * payload))
    if ends:
        server.close()
    rig.settle()
    assert rig.received == (1, size)
    assert rig.closed == ({"cut": 1} if ends else {})
    assert not rig.streams.has_unread


@pytest.mark.parametrize("ends", [False, True])
def test_one_that_has_a_lot_to_say_lets_the_others_have_their_turn(
    ends: bool, rig: ClientRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "READS", 2)
    monkeypatch.setattr(intake, "MORE", 1000)
    first, second = rig.open(1, 2)
    data = b"".join(map(message, range(1, 401)))
    first.sendall(data)
    if ends:
        first.close()
    rig.turn()
    rig.streams.digest()
    assert 0 < rig.received[1] <= READ_SIZE + 2 * 1000 < len(data)
    assert rig.streams.has_unread
    second.sendall(message(1))
    rig.turn()
    rig.streams.digest()
    assert rig.received[1] < len(data)
    assert rig.out_of_sequence == (0, 0)
    rig.settle()
    assert (rig.received, rig.out_of_sequence) == ((401, len(data) + len(message(1))), (0, 0))
    assert rig.closed == ({"cut": 1} if ends else {})
    assert rig.state(2) == State.OPEN


@pytest.mark.parametrize("ends", [False, True])
def test_however_much_comes_at_once_little_of_it_is_put_aside(
    ends: bool, rig: ClientRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    take = Incoming.take

    def measured(incoming: Incoming, reads: Reads) -> Received:
        sizes.append(reads.size)
        return take(incoming, reads)

    monkeypatch.setattr(Incoming, "take", measured)
    monkeypatch.setattr(intake, "READS", 2)
    monkeypatch.setattr(intake, "MORE", 1000)
    monkeypatch.setattr(streams, "DIGEST_BYTES", 5000)
    monkeypatch.setattr(intake, "TURN_BYTES", 5000)
    data = b"".join(map(message, range(1, 801)))
    servers = rig.open(*range(1, 41))
    for server in servers:
        server.sendall(data)
        if ends:
            server.close()
    rig.settle()
    assert (rig.received, rig.out_of_sequence) == ((40 * 800, 40 * len(data)), (0, 0))
    assert rig.closed == ({"cut": 40} if ends else {})
    assert max(sizes) <= 40 * READ_SIZE + 2 * (5000 + 2 * 1000) < 40 * 2000
    assert not rig.streams.has_unread


def test_those_that_have_more_to_say_take_turns(rig: ClientRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "READS", 1)
    monkeypatch.setattr(intake, "MORE", 1000)
    monkeypatch.setattr(streams, "DIGEST_BYTES", 1000)
    monkeypatch.setattr(intake, "TURN_BYTES", 1000)
    servers = rig.open(*range(1, 11))
    for server in servers:
        server.sendall(message(1, b"tick 1") + chunk(b"x" * 5000) + message(2, b"tick 2"))
    for _ in range(11 + 6 * 10):
        rig.turn()
    rig.streams.digest()
    assert rig.ticks == {1: 10, 2: 10}


def test_a_message_that_is_larger_than_is_kept_is_counted_and_passed_over(rig: ClientRig) -> None:
    rig.open(1)
    data = chunk(b"Recvd msg #1: " + b"x" * 1_500_000)
    for at in range(0, len(data), 100_000):
        rig.feed(1, data[at : at + 100_000])
    rig.feed(1, message(2))
    assert (rig.state(1), rig.received, rig.out_of_sequence) == (State.OPEN, (2, len(data + message(2))), (0, 0))


def test_what_was_to_be_read_on_of_a_connection_that_ended_is_forgotten(rig: ClientRig) -> None:
    (server,) = rig.open(1)
    server.sendall(b"nonsense" * 20_000)
    for _ in range(3):
        rig.turn()
        rig.streams.digest()
    assert (rig.closed, rig.streams.has_unread) == ({"bad_framing": 1}, False)


# -- requests that wait, and closing ---------------------------------------------------------------------------------


def test_a_request_waits_until_there_is_room_and_is_sent_in_order(rig: ClientRig) -> None:
    request = bytes(range(256)) * 4000
    server = rig.connect(1, request=request)
    server.setblocking(False)
    read = b""
    while len(read) < len(request):
        rig.turn()
        read += server.recv(1 << 20)
    assert read == request
    assert not rig.streams.outbox
    rig.feed(1, welcome(1))
    assert rig.state(1) == State.OPEN
    server.sendall(message(1))
    assert rig.readiness.poll() == [(rig.descriptors[1], PLAIN)]


def test_a_server_that_goes_before_the_whole_request_is_written_fails_it_at_request(rig: ClientRig) -> None:
    server = rig.connect(1, request=b"x" * 5_000_000)
    rig.turn()
    assert rig.descriptors[1] in rig.streams.outbox
    server.close()
    rig.settle()
    assert [name.partition("@")[2] for name in rig.failed] == ["request"]
    assert not rig.streams.outbox


@pytest.mark.parametrize("reset", [False, True])
def test_closing_takes_so_many_at_a_time_and_leaves_the_accounts_alone(reset: bool, rig: ClientRig) -> None:
    servers = rig.open(*range(1, 8))
    servers.append(rig.connect(8))
    before = rig.everything()
    assert [rig.streams.close(5, reset) for _ in range(3)] == [5, 3, 0]
    assert rig.everything() == before
    for server in servers:
        server.settimeout(0)
        assert server.recv(1) == b""
