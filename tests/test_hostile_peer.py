"""What a peer sends ends no worker, and adds up alike in both clients, by the batch and one by one."""

from pathlib import Path

import pytest

from flyweight import stamp
from loadgen.accounts import State
from loadgen.sequence import MAX_STEP, OutOfSequence
from tests.client_rig import ClientRig, message, welcome
from tests.httpx_rig import HttpxRig

SOON = stamp.FORMAT % (10**15, 0)
"""A stamp that breaks no rule."""

FORGED = [b"@9223372036854775808+00000000 ", b"@9999999999999999999+99999999 ", b"@9000000000000000000+00000000 "]
"""Stamps whose planned time is above the bound, those included that no int64 can hold."""


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("others", [0, 1, 200], ids=["alone", "beside ticks", "beside stamped messages"])
def test_a_forged_stamp_costs_no_more_than_itself(forged: bytes, others: int, rig: ClientRig) -> None:
    users = range(1, 2 + others)
    rig.open(*users)
    rig.servers[1].sendall(message(1, forged))
    for user in users[1:]:
        rig.servers[user].sendall(message(1, SOON + b"for user %d" % user if others > 1 else b"tick 1"))
    rig.settle()
    assert (rig.received[0], rig.out_of_sequence) == (1 + others, (0, 0))
    assert rig.stamped == (others if others > 1 else 0)
    assert [rig.state(user) for user in users] == [State.OPEN] * len(users)


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_stamp_costs_the_httpx_client_no_more_than_itself(forged: bytes, tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, 3)
    texts = {1: forged, 2: SOON, 3: SOON}
    rig.feed({user: [welcome(user), message(1, text), message(2, SOON)] for user, text in texts.items()})
    assert (rig.received[0], rig.out_of_sequence, rig.stamped) == (9, (0, 0), 5)
    assert rig.closed == {"EOF": 3}
    rig.end()


# -- numbers of messages ---------------------------------------------------------------------------------------------


JUMPS: list[tuple[list[int], int, int, int]] = [
    ([MAX_STEP + 1], 0, 0, 1),
    ([999_999_999], 0, 0, 1),
    ([1, 999_999_999, 2, 3], 0, 0, 1),
    ([1, 2, 999_999_999, 999_999_999, 4], 1, 0, 2),
    ([1, 900_000_000, 900_000_001, 900_000_002], 0, 0, 3),
    ([1, 999_999_999, 1, 2], 0, 1, 1),
]
"""Numbers that a connection gets, and how many are missing, repeated and jump."""


@pytest.mark.parametrize(("numbers", "missing", "repeated", "jumps"), JUMPS)
def test_a_number_beyond_what_can_have_been_sent_is_counted_apart(
    numbers: list[int], missing: int, repeated: int, jumps: int
) -> None:
    found, last = OutOfSequence(), 0
    for number in numbers:
        last = found.follow(last, number)
    assert found == OutOfSequence(missing, repeated, jumps)


@pytest.mark.parametrize(("numbers", "missing", "repeated", "jumps"), JUMPS)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("others", [0, 100])
def test_jumps_in_the_columns_client(
    numbers: list[int], missing: int, repeated: int, jumps: int, together: bool, others: int, rig: ClientRig
) -> None:
    rig.open(*range(1, 2 + others))
    for place, number in enumerate(numbers, 1):
        rig.servers[1].sendall(message(number, SOON))
        for user in range(2, 2 + others):
            rig.servers[user].sendall(message(place, SOON + b"for user %d" % user))
        rig.turn() if together else rig.settle()
    rig.settle()
    assert (rig.out_of_sequence, rig.jumps) == ((missing, repeated), jumps)
    assert rig.received[0] == rig.stamped == len(numbers) * (1 + others)


def test_jumps_in_the_httpx_client(tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, len(JUMPS))
    rig.feed({user: [welcome(user), *map(message, numbers)] for user, (numbers, *_) in enumerate(JUMPS, 1)})
    _, missing, repeated, jumps = zip(*JUMPS, strict=True)
    assert (rig.out_of_sequence, rig.jumps) == ((sum(missing), sum(repeated)), sum(jumps))
    rig.end()
