"""loadgen.cluster.sharing: the parts of hosts are the plan, and no two of them have a source pair in common."""

from dataclasses import replace

import pytest

from floodtest.flyweight.errors import Refused
from floodtest.loadgen.cluster.host_messages import Standing
from floodtest.loadgen.cluster.sharing import Capacity, counts_of, refuse_too_many, rooms_of, share_out
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import parse_stages
from floodtest.loadgen.plan.plan import Plan


def standing(machine: str = "one", network: str = "net") -> Standing:
    return Standing(machine, machine, network, "clock")


def capacity(
    name: str, connections: int, machine: str = "one", base_ip: str = "127.0.1.1", addresses: int = 17
) -> Capacity:
    return Capacity(name, standing(machine), connections, "all that was asked for", base_ip, addresses)


OPTIONS = RunOptions(Plan(17, 1000, "127.0.1.1", 2000, 10_000, 5))


def plan_of(connections: int) -> Plan:
    return replace(OPTIONS.plan, connections=connections)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_the_plan_and_share_no_source_pair(count: int) -> None:
    parts = share_out(OPTIONS, [capacity(f"h{place}", 10_000) for place in range(count)])
    pairs, users = set[tuple[str, int]](), list[int]()
    for part in parts:
        plan = part.options.plan
        assert plan.first_user == 5 + part.before
        users += range(plan.first_user, plan.last_user + 1)
        pairs |= {plan.pair(user) for user in range(plan.first_user, plan.last_user + 1)}
    assert users == list(range(5, 10_005))
    assert len(pairs) == 10_000


def test_hosts_get_users_by_what_they_can_hold() -> None:
    hosts = [capacity("small", 1000, "a"), capacity("large", 10_000, "b")]
    counts = [part.options.plan.connections for part in share_out(OPTIONS, hosts)]
    assert sum(counts) == 10_000
    assert counts[0] < 1000
    assert counts == [910, 9090]


def test_what_is_left_over_by_rounding_goes_where_there_is_room() -> None:
    assert counts_of(10, [3, 3, 4]) == [3, 3, 4]
    assert counts_of(2, [1, 1, 1]) == [1, 1, 0]
    assert sum(counts_of(9_999_999, [3_333_334, 3_333_333, 9_000_001])) == 9_999_999


def test_hosts_of_one_machine_share_what_it_can_hold() -> None:
    hosts = [capacity("a", 8000), capacity("b", 8000), capacity("c", 5000, "two")]
    assert [room.connections for room in rooms_of(OPTIONS.plan, hosts)] == [4000, 4000, 5000]


def test_what_addresses_allow_is_of_a_network_and_not_of_a_machine() -> None:
    hosts = [
        capacity("a", 10_000, base_ip="10.0.0.1", addresses=3),
        capacity("b", 10_000, base_ip="10.0.0.9", addresses=2),
    ]
    rooms = rooms_of(OPTIONS.plan, hosts)
    assert [room.connections for room in rooms] == [3000, 2000]
    assert rooms[1].reason == "2 source addresses of 1,000 each from 10.0.0.9"
    assert [
        part.options.plan.connections for part in share_out(RunOptions(replace(OPTIONS.plan, connections=5000)), hosts)
    ] == [3000, 2000]


def test_more_than_all_hosts_can_hold_is_refused_with_what_each_can() -> None:
    hosts = [replace(capacity("a", 3000, "a"), reason="memory: 1 MiB, and 2 needed"), capacity("b", 5000, "b")]
    refuse_too_many(plan_of(8000), hosts)
    with pytest.raises(Refused) as caught:
        refuse_too_many(plan_of(8001), hosts)
    first, *rows = str(caught.value).splitlines()
    assert first == "8,001 connections don't fit on the hosts. 8,000 would fit: --connections 8000, or --fit."
    assert rows == [
        "a can hold 3,000: memory: 1 MiB, and 2 needed.",
        "b can hold 5,000: all that was asked for.",
    ]


def test_a_host_that_can_hold_nothing_has_no_part() -> None:
    parts = share_out(OPTIONS, [capacity("none", 0, "a"), capacity("all", 10_000, "b")])
    assert [(part.name, part.before, part.options.plan.connections) for part in parts] == [("all", 0, 10_000)]


def test_each_machine_has_addresses_of_its_own() -> None:
    hosts = [capacity("a", 10_000, "a", "10.0.0.1", 5), capacity("b", 10_000, "b", "10.0.1.1", 5)]
    plans = [part.options.plan for part in share_out(OPTIONS, hosts)]
    assert [plan.base_ip for plan in plans] == ["10.0.0.1", "10.0.1.1"]
    assert [len(plan.addresses) for plan in plans] == [5, 5]


def test_hosts_in_one_network_with_one_address_share_its_ports() -> None:
    options = RunOptions(Plan(17, 62_000, "127.0.1.1", 1024, 10_000))
    hosts = [capacity(name, 10_000, base_ip="10.0.0.1", addresses=1) for name in "abc"]
    plans = [part.options.plan for part in share_out(options, hosts)]
    assert {plan.base_ip for plan in plans} == {"10.0.0.1"}
    pairs = {plan.pair(user) for plan in plans for user in range(plan.first_user, plan.last_user + 1)}
    assert len(pairs) == 10_000


def test_rate_and_connections_in_flight_are_shared_like_users() -> None:
    options = replace(OPTIONS, rate=1000.0, in_flight=100)
    small, large = share_out(options, [capacity("small", 2500, "a"), capacity("large", 7500, "b")])
    assert (small.options.rate, large.options.rate) == (250.0, 750.0)
    assert (small.options.in_flight, large.options.in_flight) == (25, 75)
    assert all(
        part.options.in_flight >= 1
        for part in share_out(replace(options, in_flight=1), [capacity(n, 9999) for n in "ab"])
    )


def test_stages_bring_all_connections_of_each_part() -> None:
    options = replace(OPTIONS, stages=parse_stages("100/s:50s,500/s:10s"))
    for part in share_out(options, [capacity(name, 10_000) for name in "abc"]):
        assert part.options.pacer.capacity >= part.options.plan.connections
        assert part.options.pacer.stages[0].rate == pytest.approx(100 / 3, rel=0.01)


def test_a_part_publishes_nothing_and_judges_nothing() -> None:
    options = replace(OPTIONS, fail_if=("failed > 0",), name="mine")
    (part,) = share_out(options, [capacity("a", 10_000)])
    assert (part.options.fail_if, part.options.name, part.options.cluster.is_asked) == ((), None, False)
