"""loadgen.client.streams, once connections are open: messages, ticks and ends, however their bytes arrive."""

import os
import socket
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.loadgen.client.accounts import State
from floodtest.wire.sequence import MAX_STEP
from tests.rigs.client import FILES, ClientRig, message, welcome
from tests.rigs.support import chunk

LAST = b"0\r\n\r\n"


# -- messages --------------------------------------------------------------------------------------------------------


def test_messages_and_their_bytes_are_counted(rig: ClientRig) -> None:
    rig.open(1)
    rig.feed(1, message(1), message(2) + message(3), chunk(b"without a number"))
    assert rig.received == (4, len(message(1)) * 3 + len(chunk(b"without a number")))
    assert rig.out_of_sequence == (0, 0)


def test_a_chunk_header_split_across_reads(rigs: Callable[[], ClientRig]) -> None:
    data = message(1) + chunk(b"x" * 300) + message(2)
    for position in range(1, len(data)):
        rig = rigs()
        rig.open(1)
        rig.feed(1, data[:position], data[position:])
        assert (rig.state(1), rig.received, rig.out_of_sequence) == (State.OPEN, (3, len(data)), (0, 0))


def test_messages_byte_by_byte(rig: ClientRig) -> None:
    data = message(1) + message(2, b"tick 5") + message(3)
    rig.open(1)
    rig.feed(1, *(data[i : i + 1] for i in range(len(data))))
    assert (rig.received, rig.out_of_sequence, rig.ticks) == ((3, len(data)), (0, 0), {5: 1})


@pytest.mark.parametrize(
    ("numbers", "missing", "repeated"),
    [
        ([1, 2, 3], 0, 0),
        ([2], 1, 0),
        ([1, 3], 1, 0),
        ([1, 10], 8, 0),
        ([1, 1], 0, 1),
        ([1, 2, 1, 2, 3], 0, 2),
        ([1, 3, 2], 1, 1),
        ([0], 0, 1),
        ([MAX_STEP], MAX_STEP - 1, 0),
        ([5, 5 + MAX_STEP, 6 + MAX_STEP], 4 + MAX_STEP - 1, 0),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_missing_and_repeated_messages(
    numbers: list[int], missing: int, repeated: int, together: bool, rig: ClientRig
) -> None:
    pieces = [message(number) for number in numbers]
    rig.open(1)
    rig.feed(1, *([b"".join(pieces)] if together else pieces))
    assert (rig.out_of_sequence, rig.jumps) == ((missing, repeated), 0)
    assert rig.received[0] == len(numbers)
    assert rig.state(1) == State.OPEN


def test_only_the_connection_that_lacks_a_message_is_short_of_it(rig: ClientRig) -> None:
    rig.open(1, 2, 3)
    rig.feed(2, message(1))
    for user in (1, 2, 3):
        rig.servers[user].sendall(message(2))
    rig.settle()
    assert rig.out_of_sequence == (2, 0)


def test_a_reused_descriptor_begins_to_count_anew(rig: ClientRig) -> None:
    rig.open(1)
    rig.feed(1, *map(message, (1, 2, 3)))
    rig.servers[1].close()
    rig.settle()
    rig.open(2)
    assert rig.descriptors[2] == rig.descriptors[1]
    rig.feed(2, message(1))
    assert rig.out_of_sequence == (0, 0)


def test_a_reused_descriptor_inherits_no_half_chunk(rig: ClientRig) -> None:
    rig.open(1)
    rig.feed(1, message(1)[:5])
    rig.servers[1].close()
    rig.settle()
    rig.open(2)
    assert rig.descriptors[2] == rig.descriptors[1]
    rig.feed(2, message(1))
    assert (rig.state(2), rig.received[0]) == (State.OPEN, 1)


# -- many at a time --------------------------------------------------------------------------------------------------


def test_the_same_bytes_to_many(rig: ClientRig) -> None:
    users = range(1, 201)
    servers = rig.open(*users)
    for number in (1, 2):
        for server in servers:
            server.sendall(message(number, b"tick %d" % number))
        rig.settle()
    assert rig.received == (400, 200 * len(message(1, b"tick 1") + message(2, b"tick 2")))
    assert rig.ticks == {1: 200, 2: 200}
    assert rig.out_of_sequence == (0, 0)


def test_some_of_many_are_in_mid_chunk(rig: ClientRig) -> None:
    users = range(1, 51)
    servers = rig.open(*users)
    first, second = message(1, b"tick 1"), message(2, b"tick 2")
    for index, server in enumerate(servers):
        server.sendall(first[: index % len(first)])
    rig.settle()
    for index, server in enumerate(servers):
        server.sendall(first[index % len(first) :] + second)
    rig.settle()
    assert rig.received == (100, 50 * len(first + second))
    assert rig.ticks == {1: 50, 2: 50}
    assert rig.out_of_sequence == (0, 0)


def test_one_that_breaks_off_costs_the_others_with_the_same_bytes_nothing(rig: ClientRig) -> None:
    servers = rig.open(*range(1, 21))
    rig.feed(7, b"5\r\nhel")
    for server in servers:
        server.sendall(message(1, b"tick 1"))
    rig.settle()
    assert [rig.state(user) for user in range(1, 21)].count(State.OPEN) == 19
    assert (rig.state(7), rig.closed) == (State.CLOSED_EARLY, {"bad_framing": 1})
    assert rig.ticks == {1: 19}


def test_reads_of_one_digest_are_seen_in_their_order(rigs: Callable[[], ClientRig]) -> None:
    """Two users get the same bytes in another order: what is grouped across users must not be reordered within one."""
    pieces = [message(1), message(2)[:7], message(2)[7:] + message(3), message(3), LAST, message(4)]
    expected = {1: pieces, 2: [pieces[1], pieces[2], pieces[0], *pieces[3:]]}
    accounts = []
    for at_once in (True, False):
        rig = rigs()
        rig.open(1, 2, 3)
        for number in range(len(pieces)):
            for user, sent in expected.items():
                if rig.state(user) == State.OPEN:
                    rig.servers[user].sendall(sent[number])
            rig.servers[3].sendall(message(number + 1))
            assert rig.turn()
            if not at_once:
                rig.streams.digest()
        rig.settle()
        accounts.append(rig.everything())
    assert accounts[0]["out_of_sequence"] == (1, 3)  # user 1: 3 again; user 2: 2 without 1, 1 late, 3 again
    assert accounts[0]["closed"] == {"finished": 2}
    assert accounts[0]["received"][0] == 14
    assert accounts[0] == accounts[1]


def test_a_tick_is_timed_from_the_first_to_the_last(rig: ClientRig) -> None:
    rig.open(1, 2)
    rig.feed(1, message(1, b"tick 1"))
    (first,) = rig.ledger.ticks().values()
    rig.feed(2, message(1, b"tick 1"))
    (both,) = rig.ledger.ticks().values()
    assert both[0] == 2
    assert both[1] == first[1] <= first[2] < both[2]


# -- ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "chunks", "name"),
    [
        (b"", 0, "cut"),
        (message(1), 1, "cut"),
        (message(1)[:-1], 0, "cut_inside"),
        (message(1) + b"5\r\nhel", 1, "cut_inside"),
        (message(1) + LAST, 1, "finished"),
        (LAST, 0, "finished"),
        (b"nonsense\r\n", 0, "bad_framing"),
        (b"5\r\nhello!", 0, "bad_framing"),
        (b"fffffff\r\n", 0, "cut_inside"),
        (b"fffffffff\r\n", 0, "bad_framing"),
        (chunk(b"x" * 5000), 1, "cut"),
        (chunk(b"x" * 5000) + message(1)[:7], 1, "cut_inside"),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["behind one edge", "one after the other"])
def test_an_end(data: bytes, chunks: int, name: str, together: bool, rig: ClientRig) -> None:
    (server,) = rig.open(1)
    server.sendall(data)
    if not together:
        rig.settle()
    server.close()
    rig.settle()
    assert (rig.state(1), rig.closed, rig.failed) == (State.CLOSED_EARLY, {name: 1}, {})
    assert rig.received == (chunks, len(data))


def test_the_end_of_what_is_sent_is_the_end(rig: ClientRig) -> None:
    (server,) = rig.open(1)
    server.shutdown(socket.SHUT_WR)
    rig.settle()
    assert rig.closed == {"cut": 1}
    with pytest.raises(BrokenPipeError):
        server.sendall(b"x")


def test_a_reset(rig: ClientRig) -> None:
    (server,) = rig.open(1)
    os.write(rig.descriptors[1], b"never read")
    server.close()
    rig.settle()
    assert (rig.state(1), rig.closed) == (State.CLOSED_EARLY, {"ECONNRESET": 1})


def test_welcome_messages_and_end_behind_one_edge(rig: ClientRig) -> None:
    data = welcome(1) + message(1, b"tick 9") + message(3) + chunk(b"x" * 1000)
    server = rig.connect(1)
    server.sendall(data)
    server.close()
    rig.settle()
    assert (rig.state(1), rig.closed, rig.failed) == (State.CLOSED_EARLY, {"cut": 1}, {})
    assert (rig.received, rig.out_of_sequence, rig.ticks) == ((4, len(data)), (1, 0), {9: 1})


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (b"nonsense\r\n", "bad_framing"),
        (b"5\r\nhello!!", "bad_framing"),
        (b"fffffffff\r\n", "bad_framing"),
        (b"5;%b\r\n" % (b"x" * 400), "bad_framing"),
    ],
)
def test_messages_before_a_framing_error_count_however_they_are_split(
    broken: bytes, name: str, rigs: Callable[[], ClientRig]
) -> None:
    outcomes = []
    for pieces in ([message(1), broken], [message(1) + broken]):
        rig = rigs()
        rig.open(1)
        rig.feed(1, *pieces)
        outcomes.append(rig.everything())
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0]["received"][0], outcomes[0]["closed"]) == (1, {name: 1})


PARTS = st.one_of(
    st.integers(1, 6).map(message),
    st.integers(1, 6).map(lambda number: message(number, b"tick %d" % number)),
    st.integers(1, 900).map(lambda size: chunk(b"x" * size)),
)


@given(
    parts=st.lists(PARTS, max_size=8),
    end=st.sampled_from([b"", b"5\r\nhe", b"0\r\n"]),
    cuts=st.lists(st.integers(0, 4000)),
)
def test_the_accounts_are_the_same_however_the_bytes_are_split(
    parts: list[bytes], end: bytes, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = welcome(1) + b"".join(parts) + end
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    outcomes = []
    for bounds in ([0, len(data)], edges):
        rig = ClientRig(tmp_path_factory.mktemp("rig"), users=1)
        rig.connect(1)
        for first, last in pairwise(bounds):
            if rig.state(1) in (State.IN_FLIGHT, State.OPEN):
                rig.feed(1, data[first:last])
        rig.servers[1].close()
        rig.settle()
        outcomes.append(rig.everything())
        rig.end()
    assert outcomes[0] == outcomes[1]


def test_there_is_room_for_every_descriptor(rig: ClientRig) -> None:
    rig.open(1)
    assert rig.descriptors[1] < FILES
