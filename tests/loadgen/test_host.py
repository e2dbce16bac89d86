"""loadgen.host: targets, addresses, and ports that are left to the host."""

import socket
from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.loadgen.network.wish import HOST
from floodtest.loadgen.plan.plan import HOST_PORTS, Plan
from floodtest.loadgen.plan.request import TargetUrl, parse_target, without_credentials
from floodtest.loadgen.preflight.ports import as_ranges, kept_ports
from floodtest.loadgen.preflight.targets import (
    Target,
    addresses_elsewhere,
    check_addresses,
    check_consent,
    check_publishing,
    is_public,
    resolve_target,
)
from floodtest.loadgen.run.bundled import place_of
from floodtest.wire.template import RequestTemplate

DEFAULT_RANGE = (32_768, 60_999)
MILLION = Plan(17, 62_000, "127.0.1.1", 1024, 1_054_000)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8000/test/{user}", ("127.0.0.1", 8000, "/test/{user}")),
        ("http://example.org/{user}", ("example.org", 80, "/{user}")),
        ("HTTP://Example.ORG:81/a/{user}/b?c=d", ("example.org", 81, "/a/{user}/b?c=d")),
        ("http://h/stream?id={user}", ("h", 80, "/stream?id={user}")),
        ("http://[::1]:8000/test/{user}", ("::1", 8000, "/test/{user}")),
        ("http://h/{user}#part", ("h", 80, "/{user}")),
        ("http://h", ("h", 80, "/")),
        ("http://h/events?all", ("h", 80, "/events?all")),
        ("http://h/{user}/{user}?again={user}", ("h", 80, "/{user}/{user}?again={user}")),
        ("http://bob:se%40cret@h:81/@{user}", ("h", 81, "/@{user}", "bob:se%40cret")),
        ("http://{name}:{word}@h/{two words}", ("h", 80, "/{two words}", "{name}:{word}")),
        ("ws://h/{user}", ("h", 80, "/{user}")),
        ("WS://[::1]:81/ws/{user}", ("::1", 81, "/ws/{user}")),
    ],
)
def test_a_target(url: str, parts: tuple[str, int, str]) -> None:
    assert parse_target(url) == TargetUrl(*parts)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000/test/{user}",
        "/test/{user}",
        "http:///{user}",
        "http://",
        "http://{user}/test",
        "http://h/#{user}",
        "http://h/{user",
        "http://h/\t{user}",
        "http://h/a b/{user}",
        "http://h/caf\u00e9/{user}",
        "http://h:port/{user}",
        "http://h:70000/{user}",
        "http://h:-1/{user}",
        "http://[::1/{user}",
        "http://[nonsense]/{user}",
    ],
)
def test_no_target(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(url)
    (problem,) = caught.value.problems
    assert problem.startswith("--target ")
    assert repr(url) in problem


def test_an_address_needs_no_look_up() -> None:
    target = resolve_target("http://127.0.0.1:8000/test/{user}", "127.0.1.1")
    assert target.addresses == (("127.0.0.1", 8000),)
    assert (target.asked, target.host) == (RequestTemplate(b"/test/{user}"), "127.0.0.1:8000")
    assert (target.note(), addresses_elsewhere(target)) == (None, [])


def test_an_ipv6_address() -> None:
    target = resolve_target("http://[::1]:8000/test/{user}", "fd00::1")
    assert target.addresses == (("::1", 8000),)
    assert target.host == "[::1]:8000"
    assert (target.note(), addresses_elsewhere(target)) == (None, [])


@pytest.mark.parametrize(
    ("host_", "base_ip", "words"),
    [
        ("[::1]", "127.0.1.1", "::1 is an IPv6 address, and .* are IPv4.* --base-ip ::1 --ips 1"),
        (
            "127.0.0.1",
            "fd00::1",
            "127.0.0.1 is an IPv4 address, and .* are IPv6.* --base-ip 127.0.1.1",
        ),
        ("[2001:db8::1]", "127.0.1.1", "2001:db8::1 is an IPv6 address.* the first IPv6 address of your own"),
        ("192.0.2.1", "fd00::1", "192.0.2.1 is an IPv4 address.* the first IPv4 address of your own"),
    ],
)
def test_a_target_of_another_kind_than_the_sources_is_refused(host_: str, base_ip: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        resolve_target(f"http://{host_}:8000/test/{{user}}", base_ip)


def test_a_name_that_has_addresses_of_the_other_kind_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, port: int, family: int, *rest: object) -> list[tuple[object, ...]]:
        if family == socket.AF_INET:
            raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
        return [(family, socket.SOCK_STREAM, 6, "", ("2001:db8::9", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(Refused, match=r"six\.example has an IPv6 address only \(2001:db8::9\), and the source"):
        resolve_target("http://six.example/{user}", "127.0.1.1")


def test_a_name_is_looked_up_for_the_kind_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, port: int, family: int, *rest: object) -> list[tuple[object, ...]]:
        address = {socket.AF_INET: "192.0.2.9", socket.AF_INET6: "2001:db8::9"}[socket.AddressFamily(family)]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert resolve_target("http://both.example/{user}", "127.0.1.1").addresses == (("192.0.2.9", 80),)
    assert resolve_target("http://both.example/{user}", "::1").addresses == (("2001:db8::9", 80),)


def test_a_name_with_several_addresses_has_all_of_them_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["192.0.2.9", "192.0.2.7", "192.0.2.9", "192.0.2.8"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in listed]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    every = resolve_target("http://several.example/{user}", "127.0.1.1")
    assert every.addresses == (("192.0.2.9", 80), ("192.0.2.7", 80), ("192.0.2.8", 80))
    words = "The target has 3 addresses, and users go to them in turn: 192.0.2.9, 192.0.2.7, 192.0.2.8."
    assert every.note() == words
    first = resolve_target("http://several.example/{user}", "127.0.1.1", "first")
    assert (first.addresses, first.note()) == ((("192.0.2.9", 80),), None)


def test_a_password_in_the_url_is_not_part_of_the_host() -> None:
    target = resolve_target("http://me:secret@127.0.0.1:8000/test/{user}", "127.0.1.1")
    assert target.host == "127.0.0.1:8000"
    assert target.asked.credentials == b"me:secret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/@{user}", "http://h/@{user}"),
        ("http://bob:secret@h/@{user}", "http://***@h/@{user}"),
        ("http://bob:se@cret@h?a@b", "http://***@h?a@b"),
        ("http://bob:se/cret@h/", "http://***@h/"),
        ("bob:secret@h/{user}", "***@h/{user}"),
        ("unix:/run/a@b.sock", "unix:/run/a@b.sock"),
        ("http://unix:/run/a@b.sock:/", "http://unix:/run/a@b.sock:/"),
        ("http://bob:secret@unix:/run/a@b.sock:/", "http://***@unix:/run/a@b.sock:/"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    "url", ["https://bob:secret@unix:/x", "http://bob:se/cret@h/", "bob:secret@h/", "http://a:secret@h/ "]
)
def test_a_password_is_not_shown_in_an_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(url)
    assert "cret" not in str(caught.value)


def test_a_name_that_is_not_known_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Refused, match=r"'nowhere\.invalid' can't be resolved.*: Name or service not known"):
        resolve_target("http://nowhere.invalid/{user}", "127.0.1.1")


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".example"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="can't be resolved"):
        resolve_target(f"http://{name}/{{user}}", "127.0.1.1")


Address = namedtuple("Address", "address")


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have an address of either kind."""
    cards = {"lo": [Address("127.0.0.1")], "eth0": [Address("192.0.2.7"), Address("fe80::1%eth0")]}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)


def target(*addresses: str) -> Target:
    return Target(tuple((address, 80) for address in addresses), RequestTemplate(b"/{user}"), addresses[0])


@pytest.mark.usefixtures("two_addresses")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "192.0.2.7"])
def test_loopback_sources_reach_this_machine_without_preparation(address: str) -> None:
    check_addresses(MILLION, target(address))
    check_addresses(MILLION, None)


@pytest.mark.usefixtures("two_addresses")
def test_loopback_sources_reach_no_other_machine() -> None:
    with pytest.raises(Refused, match=r"198\.51\.100\.1 can't be reached from 127\.0\.1\.1.*--base-ip"):
        check_addresses(MILLION, target("198.51.100.1"))


@pytest.mark.usefixtures("two_addresses")
def test_each_address_of_a_target_must_be_in_reach() -> None:
    several = target("127.0.0.1", "192.0.2.7", "198.51.100.1", "198.51.100.2")
    assert addresses_elsewhere(several) == ["198.51.100.1", "198.51.100.2"]
    with pytest.raises(Refused, match=r"198\.51\.100\.1 can't be reached from 127\.0\.1\.1"):
        check_addresses(MILLION, several)
    check_addresses(MILLION, target("127.0.0.1", "192.0.2.7"))


@pytest.mark.usefixtures("two_addresses")
def test_ipv6_sources_reach_a_target_and_the_server_of_our_own() -> None:
    check_addresses(Plan(1, 10, "::1", 1024, 10), target("::1"))
    check_addresses(Plan(1, 10, "::1", 1024, 10), None)
    assert place_of(HOST, 6).host == "::1"


@pytest.mark.usefixtures("two_addresses")
def test_addresses_of_an_interface_are_there() -> None:
    check_addresses(Plan(1, 10, "192.0.2.7", 1024, 10), target("198.51.100.1"))
    check_addresses(Plan(1, 10, "fe80::1", 1024, 10), target("2001:db8::1"))


@pytest.mark.usefixtures("two_addresses")
@pytest.mark.parametrize("address", ["127.0.0.1", "198.51.100.1"])
def test_addresses_that_are_missing_are_named(address: str) -> None:
    with pytest.raises(Refused, match=r"has 192\.0\.2\.6, 192\.0\.2\.8\. Add them"):
        check_addresses(Plan(3, 10, "192.0.2.6", 1024, 30), target(address))
    with pytest.raises(Refused, match=r"has 192\.0\.2\.6\. Add it"):
        check_addresses(Plan(3, 10, "192.0.2.6", 1024, 10), target(address))


@pytest.mark.usefixtures("two_addresses")
def test_many_missing_addresses_are_counted() -> None:
    with pytest.raises(Refused, match=r"192\.0\.2\.29 and 30 more\. Add them"):
        check_addresses(Plan(50, 10, "192.0.2.10", 1024, 500), None)


def test_the_default_plan_leaves_a_thousand_ports_of_the_range_to_the_host() -> None:
    kept = kept_ports(MILLION, DEFAULT_RANGE)
    assert len(kept) == HOST_PORTS == 1000
    assert kept == frozenset(range(60_000, 61_000))


@pytest.mark.parametrize(
    ("plan", "port_range", "kept"),
    [
        pytest.param(Plan(1, 100, "127.0.1.1", 1024, 100), DEFAULT_RANGE, [], id="the plan stays out of the range"),
        pytest.param(Plan(1, 1000, "127.0.1.1", 32_768, 1000), DEFAULT_RANGE, [], id="enough of the range is free"),
        pytest.param(Plan(1, 27_732, "127.0.1.1", 32_768, 27_732), DEFAULT_RANGE, range(60_000, 60_500), id="half"),
        pytest.param(Plan(1, 64_512, "127.0.1.1", 1024, 64_512), DEFAULT_RANGE, [], id="no spares"),
        pytest.param(Plan(1, 64_412, "127.0.1.1", 1024, 64_412), DEFAULT_RANGE, range(60_950, 61_000), id="few spares"),
        pytest.param(Plan(1, 62_000, "127.0.1.1", 1024, 62_000), (40_000, 40_599), range(40_000, 40_600), id="narrow"),
        pytest.param(Plan(1, 62_000, "127.0.1.1", 1024, 62_000), (1024, 65_535), [], id="the range reaches over"),
    ],
)
def test_kept_ports(plan: Plan, port_range: tuple[int, int], kept: range) -> None:
    assert kept_ports(plan, port_range) == frozenset(kept)


@pytest.mark.parametrize(
    ("ports", "ranges"),
    [([], []), ([5], [(5, 5)]), ([3, 1, 2], [(1, 3)]), ([1, 3, 4, 9], [(1, 1), (3, 4), (9, 9)])],
)
def test_ports_are_written_as_ranges(ports: list[int], ranges: list[tuple[int, int]]) -> None:
    assert as_ranges(ports) == ranges


@given(
    st.one_of(st.integers(1, 64_512), st.integers(60_000, 64_512)),
    st.one_of(st.just(1024), st.integers(1024, 65_535)),
    st.integers(1, 65_535),
    st.one_of(st.integers(0, 1500), st.integers(0, 65_535)),
)
def test_kept_ports_are_planned_in_the_range_and_have_spares(each: int, first: int, low: int, width: int) -> None:
    each, high = min(each, 65_536 - first), min(low + width, 65_535)
    kept = kept_ports(Plan(1, each, "127.0.1.1", first, each), (low, high))
    used, port_range = set(range(first, first + each)), set(range(low, high + 1))
    spares = len(set(range(first + each, 65_536)) - port_range)
    assert kept <= used & port_range
    assert len(kept) <= min(HOST_PORTS, spares // 2)
    free = len(port_range - used)
    assert free + len(kept) >= min(HOST_PORTS, len(port_range), free + spares // 2)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.9", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.7.7", "198.18.0.1"),
        *("::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2001:2::1"),
    ],
)
def test_addresses_that_are_nobody_elses(address: str) -> None:
    assert not is_public(address)
    check_consent(f"http://{f'[{address}]' if ':' in address else address}/{{user}}", target(address), None)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "192.0.2.1", "100.64.0.1", "0.0.0.0", "2001:db8::1", "::ffff:8.8.8.8"]
)
def test_addresses_that_may_be_somebody_elses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("allowed", [None, "example.com", "1.2.3.4", "xample.org", "", "*"])
def test_a_public_target_is_refused_unless_it_is_named_a_second_time(allowed: str | None) -> None:
    with pytest.raises(Refused, match=r"example\.org \(203\.0\.113\.5\).*--allow-public-target example\.org"):
        check_consent("http://Example.org/{user}", target("203.0.113.5"), allowed)


@pytest.mark.parametrize("allowed", ["example.org", "EXAMPLE.ORG", "203.0.113.5"])
def test_a_public_target_that_was_named_twice_is_allowed(allowed: str) -> None:
    check_consent("http://Example.org/{user}", target("203.0.113.5"), allowed)


@pytest.mark.parametrize("allowed", [None, "198.51.100.1"])
def test_publishing_to_a_public_address_takes_consent_as_well(allowed: str | None) -> None:
    with pytest.raises(Refused, match=r"203\.0\.113\.5 of --publish has a public address.*--allow-public-target 203"):
        check_publishing("http://203.0.113.5:81/pub/{user}", allowed)


def test_publishing_to_this_machine_or_to_whom_was_named_is_allowed() -> None:
    check_publishing("http://127.0.0.1/pub/{user}", None)
    with pytest.raises(Refused, match="not of a Unix socket"):
        check_publishing("http://unix:/run/app.sock:/pub", None)
    check_publishing("http://203.0.113.5/pub/{user}", "203.0.113.5")
    with pytest.raises(Refused, match="can't be resolved"):
        check_publishing("http://no.such.name.invalid/pub/{user}", None)


@pytest.mark.parametrize("allowed", [None, "203.0.113.5"])
def test_a_public_address_among_others_is_refused_and_named(allowed: str | None) -> None:
    several = target("127.0.0.1", "203.0.113.5", "10.0.0.1", "203.0.113.6")
    public = "203.0.113.6" if allowed else r"203.0.113.5, 203.0.113.6"
    words = rf"example\.org \({public}\) (is a public address|has public addresses).*--allow-public-target example\.org"
    with pytest.raises(Refused, match=words):
        check_consent("http://example.org/{user}", several, allowed)
    check_consent("http://example.org/{user}", several, "example.org")
