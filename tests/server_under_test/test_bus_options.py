"""server_under_test.bus_options: which texts are the URL of a bus, and that none shows a password."""

import sys

import pytest

from floodtest.flyweight.command.parsers import Parser
from floodtest.server_under_test.bus_options import BusAddress, bus, machine_name, parse_bus, private_bus
from tests.rigs.support import run_here, run_in_child

ADDRESSES = {
    "valkey://10.0.0.1": BusAddress("10.0.0.1"),
    "redis://[::1]:7000/": BusAddress("::1", 7000),
    "valkey://:se%40sam@host": BusAddress("host", password="se@sam"),
    "valkey://me:sesam@host:1": BusAddress("host", 1, user="me", password="sesam"),
    "valkeys://host": BusAddress("host", has_tls=True),
    "rediss://host?cafile=/ca.pem&cert=c&key=k": BusAddress("host", has_tls=True, cafile="/ca.pem", cert="c", key="k"),
    "valkey:///run/valkey.sock": BusAddress("", path="/run/valkey.sock"),
    "valkey://me:sesam@/run/valkey.sock": BusAddress("", path="/run/valkey.sock", user="me", password="sesam"),
}


def takes(parser: Parser[object], text: str) -> bool:
    try:
        parser.parse(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_read_and_shown_without_its_password(text: str) -> None:
    address = parse_bus(text)
    assert address == ADDRESSES[text]
    assert "sesam" not in str(address)
    assert parse_bus(str(address)) == BusAddress(address.host, address.port, address.path, has_tls=address.has_tls)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "valkey:",
        "valkey://",
        "valkeys:///run/valkey.sock",
        "http://host",
        "host:6379",
        "valkey://host:x",
        "valkey://host:70000",
        "valkey://host/3",
        "valkey://host?cafile=x",
        "valkeys://host?key=k",
        "valkeys://host?other=k",
        "valkeys://host?cafile",
        "valkey://[host",
        "valkey://host#x",
    ],
)
def test_what_is_none_is_refused_and_not_shown(text: str) -> None:
    assert not takes(bus, text)
    assert "sesam" not in bus.complaint("--bus", f"{text}sesam")


@pytest.mark.parametrize("name", ["a", "web-1.example_x", "A" * 60])
def test_machines_have_plain_names(name: str) -> None:
    assert takes(machine_name, name)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a:b", "ä", "A" * 61, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    assert not takes(machine_name, name)


def test_a_private_bus_has_no_address() -> None:
    assert takes(private_bus, "valkey:")
    assert not takes(private_bus, "valkey://host")


def test_a_bus_takes_an_extra_which_is_named() -> None:
    def without() -> None:
        for name in [name for name in sys.modules if ".commands.clustering" in name or ".cluster" in name]:
            del sys.modules[name]
        sys.modules["coredis"] = sys.modules["coredis.connection"] = None  # type: ignore[assignment]

    for words in (("router", "--bus", "valkey://h"), ("front", "--bus", "valkey://h", "--machine", "a")):
        done = run_in_child(without, "comet", *words)
        assert (done.returncode, done.stderr) == (
            3,
            "comet: A bus takes the extra valkey: pip install 'floodtest[valkey]'.\n",
        )
    done = run_here("comet", "serve", "--bus", "valkey:", "--history", "5")
    assert (done.returncode, done.stderr) == (
        2,
        "comet: --history is not kept over a --bus: leave one of them out.\n",
    )
