"""loadgen.network.addresses and `floodtest net`: what is ours comes and goes, what is not stays."""

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from pyroute2 import IPRoute

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.loadgen.network import addresses
from floodtest.loadgen.network.addresses import Address, bring_up, consecutive, ours, take_down
from tests.rigs.confinement import CAP_NET_ADMIN, drop, forbid_netlink
from tests.rigs.namespaces import in_a_namespace
from tests.rigs.support import run_forked, run_here

THREE = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def all_addresses() -> dict[str, str]:
    """Return every address of the namespace and its device."""
    with IPRoute() as ip:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
        return {found.get_attr("IFA_ADDRESS"): names[found["index"]] for found in ip.get_addr()}


def add_by_hand(address: str, device: str = "lo") -> None:
    with IPRoute() as ip:
        ip.addr("add", index=ip.link_lookup(ifname=device)[0], address=address, prefixlen=24)


def add_device(name: str) -> None:
    with IPRoute() as ip:
        ip.link("add", ifname=name, kind="veth", peer={"ifname": f"{name}-peer"})
        ip.link("set", index=ip.link_lookup(ifname=name)[0], state="up")


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("base", "count", "last"),
    [("10.0.0.1", 17, "10.0.0.17"), ("10.0.0.250", 10, "10.0.1.3"), ("fd00::ff", 2, "fd00::100")],
)
def test_addresses_count_upward(base: str, count: int, last: str) -> None:
    found = consecutive(base, count)
    assert (found[0], found[-1], len(found)) == (base, last, count)


@pytest.mark.parametrize(
    "base",
    ["127.0.0.1", "::1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "ff02::1", "255.255.255.255", "255.255.255.240", "x"],
)
def test_what_no_device_can_have_is_a_mistake(base: str) -> None:
    with pytest.raises(UsageError):
        consecutive(base, 17)


@in_a_namespace
def test_up_again_is_up_and_down_takes_only_what_came_up() -> None:
    before = all_addresses()
    assert bring_up(THREE[:2]).changed == THREE[:2]
    again = bring_up(THREE)
    assert (again.changed, again.unchanged) == (THREE[2:], THREE[:2])
    assert [found.address for found in ours()] == THREE
    add_by_hand("10.0.5.1")
    assert [found.address for found in take_down()] == THREE
    assert take_down() == ours() == []
    assert all_addresses() == {**before, "10.0.5.1": "lo"}


@in_a_namespace
def test_ipv6_is_ours_too_and_can_be_bound_at_once() -> None:
    import socket

    before = all_addresses()
    add_by_hand("fd00:1::1")
    bring_up(consecutive("fd00::1", 3))
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("fd00::3", 0))
    assert {found.prefix for found in ours()} == {128}
    assert len(take_down()) == 3
    assert all_addresses() == {**before, "fd00:1::1": "lo"}


@in_a_namespace
def test_ipv6_without_a_mark_is_refused_and_nothing_stays() -> None:
    """Linux before 5.18 ignores the mark; so does any kernel an attribute that it does not know."""
    before = all_addresses()
    with mock.patch.object(addresses, "PROTOCOL", 0):
        marked = addresses._addresses

        def unmarked(ip: IPRoute) -> list[Address]:
            return [Address(found.address, found.prefix, found.device, False) for found in marked(ip)]

        with mock.patch.object(addresses, "_addresses", unmarked):
            assert "IPv6 takes Linux 5.18" in refusal(bring_up, consecutive("fd00::1", 3))
    assert all_addresses() == before
    assert take_down() == []


@in_a_namespace
def test_a_clash_is_refused_and_nothing_is_added() -> None:
    add_by_hand("10.0.0.3")
    before = all_addresses()
    assert "10.0.0.3 on lo" in refusal(bring_up, THREE)
    assert all_addresses() == before
    add_device("other")
    bring_up(THREE[:1], "other")
    assert "10.0.0.1 on other" in refusal(bring_up, THREE[:1])  # ours, but not there


@in_a_namespace
def test_a_device_that_is_named_and_one_that_is_not_there() -> None:
    add_device("one")
    add_device("two")
    bring_up(THREE[:1], "one")
    bring_up(THREE[1:], "two")
    assert take_down("one") == [Address("10.0.0.1", 32, "one", True)]
    assert {found.device for found in ours()} == {"two"}
    for call in (lambda: bring_up(THREE, "three"), lambda: take_down("three")):
        assert "There is no device 'three'; there are lo, one, one-peer, two, two-peer." in refusal(call)


@in_a_namespace
def test_the_device_goes_half_way() -> None:
    before = all_addresses()
    add_device("brief")
    add = addresses._add

    def add_two(ip: IPRoute, index: int, address: str, device: str) -> None:
        if address == THREE[2]:
            ip.link("del", index=index)
        add(ip, index, address, device)

    with mock.patch.object(addresses, "_add", add_two):
        assert "10.0.0.3 can't be added to brief: No such device. The device is gone." in refusal(
            bring_up, THREE, "brief"
        )
    assert all_addresses() == before


@in_a_namespace
def test_what_was_added_goes_again_when_one_cannot_be() -> None:
    before = all_addresses()
    add = addresses._add

    def interrupted(ip: IPRoute, index: int, address: str, device: str) -> None:
        if address == THREE[2]:
            raise KeyboardInterrupt
        add(ip, index, address, device)

    with mock.patch.object(addresses, "_add", interrupted), pytest.raises(KeyboardInterrupt):
        bring_up(THREE)
    assert all_addresses() == before


@in_a_namespace
def test_two_at_the_same_time() -> None:
    """Another one adds the same address between our look and our adding."""
    add = addresses._add

    def twice(ip: IPRoute, index: int, address: str, device: str) -> None:
        add(ip, index, address, device)
        add(ip, index, address, device)

    with mock.patch.object(addresses, "_add", twice):
        bring_up(THREE)
    assert [found.address for found in ours()] == THREE


@in_a_namespace
def test_the_commands() -> None:
    def net(*arguments: str) -> str:
        done = run_here("floodtest", "net", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert net("show") == "None. Add some: floodtest net up --base-ip 10.0.0.1\n"
    bring_up(THREE[:1])
    assert net("up", "--ips", "3", "--base-ip", "10.0.0.1") == (
        "2 addresses were brought up on lo; 1 was before. Undo: floodtest net down.\n"
    )
    assert net("show").splitlines() == [f"{address}/32 on lo" for address in THREE]
    assert json.loads(net("show", "--json"))[0] == {"address": "10.0.0.1", "prefix": 32, "device": "lo"}
    assert net("down") == "3 addresses were taken down.\n"
    assert ours() == []


@pytest.mark.parametrize(
    ("confine", "words"),
    [
        (lambda: drop(CAP_NET_ADMIN), "That takes root"),
        (forbid_netlink, "Some containers forbid it"),
    ],
)
def test_what_is_forbidden_is_said(confine: Callable[[], None], words: str) -> None:
    line = ["net", "up", "--base-ip", "198.18.77.1", "--ips", "1"]
    done = run_forked("floodtest", *line, preexec_fn=confine)
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_more_addresses_than_a_run_can_have_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 65,536"):
        consecutive("10.0.0.1", 65_537)
