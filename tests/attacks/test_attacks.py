"""A small share of each attack of the suite (`make attack` does all of each): nothing may be wrong."""

from pathlib import Path

import pytest

from tests.attacks.order import Order
from tests.attacks.suite import ATTACKS, attack_here

SHARES = {
    "kills": 0.01,
    "stops": 0.005,
    "loads": 0.05,
    "heads": 0.003,
    "frames": 0.003,
    "bodies": 0.01,
    "streams": 0.003,
    "crowd": 0.002,
    "outputs": 0.02,
    "limits": 0.02,
    "churn": 0.005,
}


LEFT_OUT = {"cluster"}
"""What takes 30 seconds of CPU at the least: Dask, and a dozen programs that start on machines of their own."""


def test_each_attack_has_a_share() -> None:
    assert SHARES.keys() | LEFT_OUT == set(ATTACKS)


@pytest.mark.parametrize("name", SHARES)
def test_a_small_share_of_an_attack_finds_nothing(name: str, tmp_path: Path) -> None:
    tally = attack_here(Order(name, 1, SHARES[name], tmp_path, is_forked=True))
    assert tally.faults == []
    assert tally.did.total() > 0
    assert tally.saw or tally.notes
