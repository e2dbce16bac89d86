"""Users have lives: connections one after another, on their own source pairs, all of them on the accounts."""

import errno
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from floodtest.loadgen.client.accounts import End, Phase, State
from floodtest.loadgen.client.orders import Halt
from floodtest.wire.causes import Cause
from tests.rigs.client import message, welcome
from tests.rigs.loopback import WorkerRig

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
LAST = b"0\r\n\r\n"
"""The end of an answer, at which the client closes."""

Rigs = Callable[..., WorkerRig]


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Rigs]:
    made: list[WorkerRig] = []

    def make(users: int, each: int = 1000, **options: Any) -> WorkerRig:
        made.append(WorkerRig(tmp_path, users, each, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def open_all(rig: WorkerRig) -> list[int]:
    """Ramp, and open every user; return all of them."""
    rig.go()
    users = rig.accept(rig.plan.connections)
    rig.welcome(users)
    return users


# -- accounts --------------------------------------------------------------------------------------------------------


def test_two_lives_of_each_user_are_all_on_the_accounts(rigs: Rigs) -> None:
    rig = rigs(150, each=60)
    rig.go()
    users = rig.accept(150)
    assert users == list(range(1, 151))
    rig.assert_balanced()
    rig.welcome(users[:140])
    rig.assert_balanced()
    rig.end(users[140:], NOT_FOUND)
    rig.end(users[:140])
    rig.assert_balanced()
    assert (rig.total("attempts"), rig.total("opens"), rig.failures, rig.closed_early) == (150, 140, 10, 140)
    assert Counter(rig.take_ended()) == Counter(
        [End(user, Phase.OPEN, Cause.CUT) if user <= 140 else End(user, Phase.RESPONSE, 404) for user in users]
    )

    assert rig.open_again(users) == users
    rig.assert_balanced()
    rig.welcome(users[5:])
    rig.end(users[:5], NOT_FOUND)
    rig.assert_balanced()
    rig.end(users[100:], b"nonsense\r\n")
    rig.assert_balanced()
    assert (rig.total("attempts"), rig.total("opens"), rig.failures, rig.closed_early) == (300, 285, 15, 190)
    assert [rig.state(user) for user in users] == [State.FAILED] * 5 + [State.OPEN] * 95 + [State.CLOSED_EARLY] * 50


def test_what_we_close_are_those_that_were_open(rigs: Rigs) -> None:
    rig = rigs(10)
    rig.go()
    users = rig.accept(10)
    rig.welcome(users[:7])
    rig.end([1])
    assert rig.client.close_some() == 9
    assert (rig.total("attempts"), rig.total("opens"), rig.closed_early, rig.total("closed")) == (10, 7, 1, 6)
    assert [rig.state(user) for user in (1, 2, 8)] == [State.CLOSED_EARLY, State.OPEN, State.IN_FLIGHT]


# -- a life after another one ----------------------------------------------------------------------------------------


def test_who_comes_back_has_its_own_source_pair_and_begins_anew(rigs: Rigs) -> None:
    rig = rigs(3)
    users = open_all(rig)
    for user in users:
        rig.servers[user].sendall(message(1) + message(2) + message(3)[:5])
    rig.end([2])
    (found,) = rig.take_ended()
    assert found == End(2, Phase.OPEN, Cause.CUT_INSIDE)

    assert rig.open_again([2]) == [2]
    assert rig.pair(2) == rig.plan.pair(2)
    assert rig.state(2) == State.IN_FLIGHT
    rig.welcome([2])
    for user, rest in ((1, message(3)[5:]), (2, message(1)), (3, message(3)[5:])):
        rig.servers[user].sendall(rest + LAST)
    rig.until(lambda: len(rig.ended) == 3)
    assert {(end.user, end.code) for end in rig.ended} == {(user, Cause.FINISHED) for user in (1, 2, 3)}
    assert (rig.total("missing"), rig.total("repeated"), rig.total("messages")) == (0, 0, 9)
    rig.assert_balanced()


def test_any_users_are_opened_in_one_batch_whatever_their_addresses_and_order(rigs: Rigs) -> None:
    rig = rigs(20, each=7)
    users = open_all(rig)
    rig.end(users)
    chosen = [20, 1, 8, 7, 14, 15, 2]
    assert rig.open_again(chosen) == chosen
    assert [rig.pair(user) for user in chosen] == [rig.plan.pair(user) for user in chosen]
    rig.welcome(chosen)
    rig.assert_balanced()


def test_a_pair_that_is_still_connected_is_replaced_by_a_spare_for_that_life(rigs: Rigs) -> None:
    rig = rigs(2)
    open_all(rig)
    rig.end([1])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(rig.plan.pair(1))
        other.connect(rig.listener.getsockname())
        server, _ = rig.listener.accept()
        assert rig.open_again([1]) == [1]
        rig.welcome([1])
        address, port = rig.pair(1)
        assert address == rig.plan.pair(1)[0]
        assert port in rig.share.pieces[0].spares
        server.close()  # first, so that nothing lingers at the side of the client
    rig.end([1])
    assert rig.open_again([1]) == [1]
    assert rig.pair(1) == rig.plan.pair(1)
    rig.assert_balanced()


def test_who_ended_a_stream_comes_back_whatever_the_kernel_keeps_of_it(rigs: Rigs) -> None:
    """The client closes first: the kernel may keep the pair for a while, or let it be connected again."""
    rig = rigs(20)
    users = open_all(rig)
    for life in range(2, 5):
        for user in users:
            rig.servers[user].sendall(LAST)
        rig.until(lambda: all(rig.state(user) == State.CLOSED_EARLY for user in users))
        assert sorted(rig.open_again(users)) == users
        assert all(rig.pair(user)[0] == rig.plan.pair(user)[0] for user in users)
        rig.welcome(users)
        rig.assert_balanced()
        assert (rig.total("attempts"), rig.total("opens"), rig.failures) == (20 * life, 20 * life, 0)


def test_spares_that_were_used_up_are_tried_again_when_connections_have_ended(rigs: Rigs) -> None:
    rig = rigs(2, each=2, first_port=65_533)
    address = rig.plan.pair(1)[0]
    with socket.socket() as first, socket.socket() as second:
        first.bind((address, 65_533))
        second.bind((address, 65_534))
        rig.go()
        assert rig.accept(1) == [1]
        rig.welcome([1])
        assert rig.pair(1) == (address, 65_535)
        assert rig.take_ended() == [End(2, Phase.BIND, errno.EADDRINUSE)]

        rig.client.open_again([2])
        rig.until(lambda: rig.total("attempts") == 3)
        assert rig.take_ended() == [End(2, Phase.BIND, errno.EADDRINUSE)]

        rig.end([1])
        assert rig.open_again([2]) == [2]
        assert rig.pair(2) == (address, 65_535)
        rig.welcome([2])
    rig.assert_balanced()


def test_who_is_refused_at_once_is_handed_over_as_well(rigs: Rigs) -> None:
    rig = rigs(2)
    target = rig.listener.getsockname()
    rig.listener.close()
    rig.go()
    rig.until(lambda: len(rig.ended) == 2)
    assert sorted(rig.take_ended()) == [End(user, Phase.CONNECT, errno.ECONNREFUSED) for user in (1, 2)]
    rig.listen(target)
    assert rig.open_again([1, 2]) == [1, 2]
    assert [rig.pair(user) for user in (1, 2)] == [rig.plan.pair(user) for user in (1, 2)]
    rig.welcome([1, 2])
    rig.assert_balanced()


# -- when they are opened --------------------------------------------------------------------------------------------


def test_those_that_come_back_wait_for_room_in_flight(rigs: Rigs) -> None:
    rig = rigs(6, in_flight=2)
    rig.go()
    for pair in ([1, 2], [3, 4], [5, 6]):
        assert rig.accept(2) == pair
        rig.welcome(pair)
    rig.end(range(1, 7))
    rig.client.open_again(range(1, 7))
    for pair in ([1, 2], [3, 4], [5, 6]):
        assert rig.accept(2) == pair
        assert (rig.client.in_flight, rig.client.turn()) == (2, False)
        rig.welcome(pair)
    rig.assert_balanced()


def test_the_plan_comes_first(rigs: Rigs) -> None:
    rig = rigs(4, in_flight=2)
    rig.go()
    assert rig.accept(2) == [1, 2]
    rig.client.open_again([1, 2])
    rig.end([1, 2], NOT_FOUND)
    assert rig.accept(2) == [3, 4]
    rig.welcome([3, 4])
    assert rig.accept(2) == [1, 2]
    rig.welcome([1, 2])
    rig.assert_balanced()


def test_nobody_comes_back_after_a_halt(rigs: Rigs) -> None:
    rig = rigs(2)
    rig.end(open_all(rig))
    rig.client.obey(Halt())
    rig.client.open_again([1, 2])
    assert not rig.client.turn()
    assert rig.total("attempts") == 2


def test_a_share_begins_with_any_user_and_at_any_time(rigs: Rigs) -> None:
    rig = rigs(5, each=3, first_user=1_000_001)
    start = time.monotonic() + 1000
    rig.go(start)
    assert not rig.client.turn()
    assert rig.client.deadline() == start
    rig.go()
    users = rig.accept(5)
    assert users == list(range(1_000_001, 1_000_006))
    assert [rig.pair(user) for user in users] == [rig.plan.pair(user) for user in users]
    rig.welcome(users)
    assert rig.states.tolist() == [State.OPEN] * 5
    rig.end([1_000_004])
    assert rig.open_again([1_000_004]) == [1_000_004]
    assert rig.pair(1_000_004) == rig.plan.pair(1_000_004)
    rig.servers[1_000_004].sendall(welcome(1_000_004))
    rig.until(lambda: rig.state(1_000_004) == State.OPEN)
    rig.assert_balanced()


# -- several addresses of a target -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first_user", [1, 60])
def test_users_go_to_the_addresses_of_a_target_in_turn(first_user: int, rigs: Rigs) -> None:
    rig = rigs(150, each=60, addresses=3, first_user=first_user)

    def numbers(users: list[int]) -> dict[int, int]:
        """Which address each went to: the first has the number 0."""
        return {user: int(rig.servers[user].getsockname()[0].rpartition(".")[2]) // 100 for user in users}

    users = open_all(rig)
    assert numbers(users) == {user: (user - 1) % 3 for user in users}
    rig.end(users[:9])
    again = rig.open_again(users[:9])
    assert numbers(again) == {user: (user - 1) % 3 for user in again}
