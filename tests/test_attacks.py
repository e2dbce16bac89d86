"""A small share of each attack of the suite (`make attack` does all of each): nothing may be wrong."""

from pathlib import Path

import pytest

from tests.attacks.order import Order
from tests.attacks.suite import attack_here

CASES = [
    ("heads", 0.003),
    ("bodies", 0.01),
    ("streams", 0.003),
    ("crowd", 0.005),
]
"""Attacks, and the share of each."""


@pytest.mark.parametrize(("name", "share"), CASES)
def test_a_small_share_of_an_attack_finds_nothing(name: str, share: float, tmp_path: Path) -> None:
    tally = attack_here(Order(name, 1, share, tmp_path))
    assert tally.faults == []
    assert tally.did.total() > 0
