"""benchmarks.scale: what many connections take follows from the costs, and docs/scale.md has what the script says."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import (
    COSTS,
    GIB,
    HOSTS,
    LOADS,
    SIZES,
    Host,
    Load,
    Placement,
    bounds_of,
    breaking_points,
    is_too_thin,
    machines_for,
    needs_of,
    placement_of,
    rows_of,
    tables,
)

DOCS = (Path(__file__).parents[1] / "docs/scale.md").read_text()

IDLE, BUSY = LOADS
SMALL, LARGE = HOSTS


def test_the_document_has_the_tables_of_the_script() -> None:
    """What was counted in a graph is taken from the document: another igraph draws another one."""
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", DOCS, re.MULTILINE)
    found = [Placement(int(machines), float(unequal), float(hit)) for machines, unequal, hit in rows]
    assert [one.machines for one in found] == [2, 12, 100, 600]
    for table in tables(found).split("\n\n"):
        assert table.strip() in DOCS


def test_costs_over_the_bus_are_those_that_were_measured_and_between_them_less_with_more_rows() -> None:
    for rows, microseconds in COSTS.bus:
        assert COSTS.bus_us(rows) == pytest.approx(microseconds)
    found = [COSTS.bus_us(rows) for rows in (1, 8, 50, 800, 3000, 8000, 20_000)]
    assert found == sorted(found, reverse=True)


def test_idle_connections_are_bound_by_memory_and_messages_by_cpu() -> None:
    assert bounds_of(SMALL, IDLE).first == "memory"
    assert bounds_of(SMALL, IDLE).least == pytest.approx((0.9 * 24 * GIB - (160 << 20)) / 5100, rel=0.001)
    assert bounds_of(SMALL, BUSY).first == "cpu"
    assert bounds_of(Host(2, 1 << 40), IDLE).watches == pytest.approx(5_491_511 / 24 * 1024)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("users", SIZES)
def test_the_machines_hold_what_they_are_to_hold_and_one_less_does_not(users: int, load: Load, host: Host) -> None:
    machines = machines_for(users, host, load, 1.2)
    assert machines * bounds_of(host, load, machines).least >= 1.2 * users
    if machines > 1:
        assert (machines - 1) * bounds_of(host, load, machines - 1).least < 1.2 * users


def test_more_users_take_more_of_everything() -> None:
    few, many = needs_of(1_000_000, LARGE, BUSY, 1.1, 4.0), needs_of(12_000_000, LARGE, BUSY, 1.1, 4.0)
    for name in ("machines", "shards", "frames", "bus_bytes", "store_bytes", "load_hosts"):
        assert getattr(few, name) < getattr(many, name), name
    assert few.bus_bytes == pytest.approx(16_666 * (16 * 8 + 1 * 100))  # there is one machine for a message to go to
    assert few.store_bytes == pytest.approx(15_000_000 * 5.6)
    assert many.addresses * many.load_hosts * 62_000 >= many.users


def test_frames_that_are_thinner_than_any_that_was_measured_are_told() -> None:
    assert rows_of(BUSY, 2000) == 8
    assert not is_too_thin(BUSY, 2000)
    assert is_too_thin(BUSY, 2001)
    assert not is_too_thin(IDLE, 10**6)


def test_parts_are_told_in_the_order_in_which_they_end() -> None:
    found = breaking_points(BUSY, SMALL, 14.9)
    assert [users for _, users in found] == sorted(users for _, users in found)
    assert found[0][0] == "one front machine"


def test_messages_are_followed_to_the_machines_of_their_users() -> None:
    """Two friends of each user: a message goes to three users, and so to three machines or fewer."""
    users = np.arange(1, 3001, dtype=np.uint32)
    pairs = np.stack([np.concatenate([users, users]), np.concatenate([np.roll(users, 1), np.roll(users, 2)])], axis=1)
    one, many = placement_of(1, pairs, 500), placement_of(300, pairs, 500)
    assert (one.unequal, one.hit) == (1.0, 1.0)
    assert many.hit == 3.0
    assert many.unequal > 1.5
