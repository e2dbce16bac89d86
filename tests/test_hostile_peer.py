"""What a peer sends ends no worker, and adds up alike in both clients, by the batch and one by one."""

from pathlib import Path

import pytest

from flyweight import stamp
from loadgen.accounts import State
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
