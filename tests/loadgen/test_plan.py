"""loadgen.plan.plan: every user on one pair, every pair for one user, and all mistakes named together."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.errors import ExitCode, UsageError
from floodtest.loadgen.plan.options import PlanOptions
from floodtest.loadgen.plan.plan import LAST_PORT, MAX_USER, Piece, Plan, Rows, Share


def plan(
    ips: int = 17,
    each: int = 62_000,
    base_ip: str = "127.0.1.1",
    first_port: int = 1024,
    connections: int | None = None,
    first_user: int = 1,
) -> Plan:
    return Plan(ips, each, base_ip, first_port, ips * each if connections is None else connections, first_user)


def problems(**options: object) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        plan(**options)  # type: ignore[arg-type]
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value.problems


def test_the_figures_of_2008() -> None:
    million = plan()
    assert million.connections == 1_054_000
    assert million.addresses == tuple(f"127.0.1.{k}" for k in range(1, 18))
    assert million.pair(1) == ("127.0.1.1", 1024)
    assert million.pair(62_000) == ("127.0.1.1", 63_023)
    assert million.pair(62_001) == ("127.0.1.2", 1024)
    assert million.pair(1_054_000) == ("127.0.1.17", 63_023)


def test_fifty_addresses_for_three_million() -> None:
    three = plan(ips=50, connections=3_000_000)
    assert len(three.addresses) == 49
    assert three.pair(3_000_000) == ("127.0.1.49", 24_000 + 1023)
    assert sum(share.count for share in three.shares(151)) == 3_000_000


@pytest.mark.parametrize(
    ("base_ip", "ips", "last"),
    [
        ("127.0.1.250", 10, "127.0.2.3"),
        ("10.255.255.255", 2, "11.0.0.0"),
        ("fd00::ffff", 2, "fd00::1:0"),
        ("::1", 1, "::1"),
        ("255.255.255.254", 1, "255.255.255.254"),
    ],
)
def test_addresses_count_upward_from_the_base(base_ip: str, ips: int, last: str) -> None:
    addresses = plan(ips=ips, base_ip=base_ip, each=10).addresses
    assert len(addresses) == len(set(addresses)) == ips
    assert (addresses[0], addresses[-1]) == (base_ip, last)


def test_fewer_connections_fill_address_by_address() -> None:
    fewer = plan(ips=3, each=100, connections=150)
    assert fewer.addresses == ("127.0.1.1", "127.0.1.2")
    assert fewer.pair(150) == ("127.0.1.2", 1024 + 49)


def test_a_share_is_cut_into_pieces_at_the_end_of_an_address() -> None:
    assert plan(ips=3, each=10, first_port=65_500, connections=25).shares(2) == [
        Share(1, 12, 0, (Piece("127.0.1.1", 1, 10, 65_500, 65_510), Piece("127.0.1.2", 11, 2, 65_500, 65_510))),
        Share(13, 13, 12, (Piece("127.0.1.2", 13, 8, 65_502, 65_510), Piece("127.0.1.3", 21, 5, 65_500, 65_505))),
    ]


def test_users_may_be_numbered_from_any_on() -> None:
    """The numbers move; addresses, ports, spares and places in the plan do not."""
    later = plan(ips=3, each=10, first_port=65_500, connections=25, first_user=1_000_001)
    assert later.pair(1_000_001) == ("127.0.1.1", 65_500)
    assert later.pair(1_000_025) == ("127.0.1.3", 65_504)
    first, second = later.shares(2)
    assert (first.first_user, first.before, second.first_user, second.before) == (1_000_001, 0, 1_000_013, 12)
    assert second.pieces == (
        Piece("127.0.1.2", 1_000_013, 8, 65_502, 65_510),
        Piece("127.0.1.3", 1_000_021, 5, 65_500, 65_505),
    )


def test_rows_of_a_piece_and_of_any_users_of_a_share() -> None:
    share = plan(ips=3, each=10, first_port=5000, connections=25, first_user=101).shares(1)[0]
    assert share.pieces[1].rows(3, 2) == Rows([114, 115], ["127.0.1.2"] * 2, [5003, 5004])
    assert share.rows([125, 101, 111, 110]) == Rows(
        [125, 101, 111, 110], ["127.0.1.3", "127.0.1.1", "127.0.1.2", "127.0.1.1"], [5004, 5000, 5000, 5009]
    )
    assert share.rows([]) == Rows([], [], [])


def test_spares_are_the_ports_of_an_address_that_no_user_has() -> None:
    full, part = (share.pieces[0] for share in plan(ips=2, each=1000, connections=1500).shares(2)[:2])
    assert full.spares == range(2024, LAST_PORT + 1)
    assert part.address == "127.0.1.1"
    last = plan(ips=2, each=1000, connections=1500).shares(1)[0].pieces[1]
    assert last.spares == range(1524, LAST_PORT + 1)
    assert len(plan(ips=1, each=64_512).shares(1)[0].pieces[0].spares) == 0


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    ips, each = draw(st.integers(1, 20)), draw(st.integers(1, 50))
    first_port = draw(st.integers(1, LAST_PORT + 1 - each))
    connections = draw(st.integers(1, ips * each))
    first_user = draw(st.sampled_from([1, 2, 1_000_001, MAX_USER + 1 - connections]))
    return plan(ips, each, draw(st.sampled_from(["127.0.1.1", "fd00::1"])), first_port, connections, first_user)


def users_of(plan: Plan) -> range:
    return range(plan.first_user, plan.first_user + plan.connections)


@given(plans(), st.integers(1, 30))
def test_shares_cover_every_user_once_and_are_of_one_size(plan: Plan, workers: int) -> None:
    shares = plan.shares(workers)
    assert len(shares) == workers
    users = [user for share in shares for user in range(share.first_user, share.first_user + share.count)]
    assert users == list(users_of(plan))
    assert all(share.before == share.first_user - plan.first_user for share in shares)
    sizes = {share.count for share in shares}
    assert max(sizes) - min(sizes) <= 1


@given(plans(), st.integers(1, 30))
def test_pieces_cover_their_share_and_agree_with_the_pairs(plan: Plan, workers: int) -> None:
    for share in plan.shares(workers):
        users = [user for piece in share.pieces for user in range(piece.first_user, piece.first_user + piece.count)]
        assert users == list(range(share.first_user, share.first_user + share.count))
        assert all(piece.count > 0 for piece in share.pieces)
        assert all(left.address != right.address for left, right in pairwise(share.pieces))
        for piece in share.pieces:
            for offset in range(piece.count):
                assert plan.pair(piece.first_user + offset) == (piece.address, piece.first_port + offset)


@given(plans(), st.integers(1, 5), st.randoms())
def test_rows_are_the_pairs_of_their_users_in_any_order(plan: Plan, workers: int, random: Random) -> None:
    for share in plan.shares(workers):
        in_order = [row for piece in share.pieces for row in zip(*piece.rows(0, piece.count), strict=True)]
        assert in_order == [(user, *plan.pair(user)) for user, *_ in in_order]
        random.shuffle(in_order)
        assert list(zip(*share.rows(user for user, *_ in in_order), strict=True)) == in_order


@given(plans(), st.integers(1, 30))
def test_no_pair_is_given_twice_nor_as_a_spare(plan: Plan, workers: int) -> None:
    pairs = [plan.pair(user) for user in users_of(plan)]
    assert len(set(pairs)) == len(pairs)
    assert {address for address, _ in pairs} == set(plan.addresses)
    assert all(plan.first_port <= port <= LAST_PORT for _, port in pairs)
    ports: dict[str, set[int]] = {}
    for address, port in pairs:
        ports.setdefault(address, set()).add(port)
    for share in plan.shares(workers):
        for piece in share.pieces:
            assert ports[piece.address].isdisjoint(piece.spares)


@given(plans())
def test_no_address_has_more_users_than_it_may(plan: Plan) -> None:
    users = Counter(plan.pair(user)[0] for user in users_of(plan))
    assert all(users[address] == plan.each for address in plan.addresses[:-1])
    assert 1 <= users[plan.addresses[-1]] <= plan.each


@pytest.mark.parametrize("option", ["ips", "each", "connections"])
def test_there_must_be_something_to_do(option: str) -> None:
    found = problems(**{"connections": 1, option: 0})
    assert found == (f"--{option} must be at least 1, not 0.",)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_the_first_port_must_be_one(port: int) -> None:
    (found,) = problems(first_port=port)
    assert "--first-port" in found
    assert str(port) in found


@pytest.mark.parametrize(
    ("first_user", "connections"), [(0, 1), (-5, 1), (MAX_USER, 2), (MAX_USER + 1, 1), (0, 0), (0, -3)]
)
def test_users_must_have_numbers(first_user: int, connections: int) -> None:
    found = problems(first_user=first_user, connections=connections)
    assert (
        found[-1]
        == f"Users must have numbers from 1 to 4294967295, not from {first_user} on: choose another --first-user."
    )
    assert plan(ips=1, each=1, first_user=MAX_USER).pair(MAX_USER) == ("127.0.1.1", 1024)


def test_too_many_connections_are_not_a_matter_of_the_numbers_of_users() -> None:
    assert problems(ips=100_000, each=60_000) == ("--ips must be at most 65,536, not 100,000.",)
    (found,) = problems(ips=1, each=1, connections=5_000_000_000)
    assert found.startswith("--connections 5000000000 is more than --ips 1 x --each 1")
    assert len(problems(ips=100_000, each=60_000, first_user=0)) == 2


def test_the_ports_must_be_there() -> None:
    assert plan(ips=1, each=65_535, first_port=1).pair(65_535) == ("127.0.1.1", 65_535)
    (found,) = problems(ips=1, each=64_513)
    assert "--each 64513" in found
    assert "64512" in found


def test_more_connections_than_pairs() -> None:
    (found,) = problems(ips=2, each=10, connections=21)
    assert "--connections 21" in found
    assert "20" in found


@pytest.mark.parametrize(
    "base_ip", ["localhost", "", "127.0.1", "127.0.1.256", "127.0.1.1/8", "[::1]", "255.255.255.250"]
)
def test_the_base_must_be_an_address_with_room_above_it(base_ip: str) -> None:
    (found,) = problems(base_ip=base_ip)
    assert "--base-ip" in found
    assert repr(base_ip) in found


@pytest.mark.parametrize(
    ("base_ip", "ips", "named"),
    [
        ("224.0.0.1", 1, "224.0.0.1"),
        ("223.255.255.255", 2, "224.0.0.0"),
        ("0.0.0.0", 1, "0.0.0.0"),
        ("255.255.255.255", 1, "255.255.255.255"),
        ("127.255.255.254", 3, "127.255.255.255"),
        ("::", 2, "::"),
        ("ff02::1", 1, "ff02::1"),
    ],
)
def test_addresses_that_no_socket_can_have(base_ip: str, ips: int, named: str) -> None:
    (found,) = problems(base_ip=base_ip, ips=ips)
    assert found.startswith(f"{named} can't be a source address")


def test_there_are_not_more_addresses_than_can_be_looked_at() -> None:
    assert len(plan(ips=65_536, each=1).addresses) == 65_536
    (found,) = problems(ips=2_000_000_000, each=1)
    assert found == "--ips must be at most 65,536, not 2,000,000,000."


def test_all_problems_are_named_at_once() -> None:
    found = problems(ips=0, each=-5, base_ip="nowhere", first_port=70_000, connections=0)
    assert [sentence.split()[0] for sentence in found] == [
        "--ips",
        "--each",
        "--connections",
        "--first-port",
        "--base-ip",
    ]
    assert all(sentence.endswith(".") for sentence in found)


@pytest.mark.parametrize(
    ("options", "connections"),
    [
        (PlanOptions(), 10_000),
        (PlanOptions(base_ip="127.0.2.1"), 10_000),
        (PlanOptions(ips=17), 1_054_000),
        (PlanOptions(each=10), 170),
        (PlanOptions(ips=2, each=10), 20),
        (PlanOptions(ips=2, connections=5), 5),
    ],
)
def test_a_million_connections_are_asked_for_and_not_the_default(options: PlanOptions, connections: int) -> None:
    assert options.plan().connections == connections
