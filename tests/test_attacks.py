"""The attacks of `make attack`, a small share of each: none finds a fault."""

from pathlib import Path

import pytest

from tests.attacks.order import Order
from tests.attacks.suite import attack_here

SHARES = [
    ("kills", 0.01),
    ("stops", 0.01),
    ("loads", 0.01),
]


@pytest.mark.parametrize(("name", "share"), SHARES)
def test_an_attack(name: str, share: float, tmp_path: Path) -> None:
    tally = attack_here(Order(name, 1, share, tmp_path))
    assert tally.faults == []
    assert tally.did
    assert tally.saw
