"""The network a run is in: the host's, or one of its own that ends with it.

This module only says what there is, and what a run wishes for; `loadgen.network.namespaces` makes it.
"""

import ipaddress
from typing import Literal

import msgspec

from floodtest.loadgen.plan.choices import Link
from floodtest.loadgen.plan.plan import HOST_PORTS, LAST_PORT, Plan, planned_ports

LOOPBACK_DEVICE = "lo"

VETH_SERVERS = {4: "198.18.0.1", 6: "2001:2::1"}
"""Where the server of a veth pair listens, by IP version (RFC 2544 and RFC 5180)."""

MAX_ENTRIES = 1 << 24
"""The most entries the kernel gives the table of a new namespace (tcp_child_ehash_entries_max, net/ipv4)."""


class Network(msgspec.Struct, frozen=True):
    """Where a run is."""

    kind: Literal["host", "isolated"] = "host"
    link: Link = "loopback"
    hash_entries: int | None = None
    """Entries of a table of established connections of its own, in each namespace; None: it shares the host's."""
    server_address: str | None = None
    """Where the bundled server listens, if not on loopback."""
    server_namespace: int | None = None
    """A descriptor of the server's own network namespace, if it has one."""
    reason: str = ""
    """Why this one: a part of a sentence."""

    @property
    def is_isolated(self) -> bool:
        return self.kind == "isolated"

    @property
    def all_hash_entries(self) -> int | None:
        """Entries of its tables together: client and server have one each where they are joined by a link."""
        return self.hash_entries and self.hash_entries * (2 if self.link == "veth" else 1)

    @property
    def in_words(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        if not self.is_isolated:
            return f"the host's{reason}"
        table = "the host's table" if self.hash_entries is None else f"a table of {self.hash_entries:,} entries"
        link = " in two namespaces joined by a veth pair" if self.link == "veth" else ""
        return f"one of its own{link}, gone with the run{reason}; established connections are in {table}"


HOST = Network()


class Wish(msgspec.Struct, frozen=True):
    """What a network of a run's own is to have."""

    sockets: int
    """Established ones, in each namespace."""
    port_range: tuple[int, int] | None
    """Ports that the kernel may choose of; None: as it is."""
    first_address: str | None = None
    """The first source address, where loopback has not got it by itself."""
    count: int = 0
    """Of source addresses from there on."""
    link: Link = "loopback"

    @property
    def addresses(self) -> list[str]:
        """The source addresses that are to be added."""
        if self.first_address is None:
            return []
        first = ipaddress.ip_address(self.first_address)
        return [str(first + k) for k in range(self.count)]


def wish_of(plan: Plan, explicit_ports: bool, link: Link = "loopback") -> Wish:
    """Return what a run of this plan against the bundled server wishes for.

    With explicit ports the kernel is to choose above the planned ones, so that none of them is left to it; that goes
    where an address has enough ports left.
    """
    first = planned_ports(plan).stop if explicit_ports else min(plan.first_port, 1024)
    missing = [each for each in plan.addresses if link == "veth" or not ipaddress.ip_address(each).is_loopback]
    return Wish(
        sockets=plan.connections * (1 if link == "veth" else 2),
        port_range=(max(first, 1), LAST_PORT) if LAST_PORT - first >= HOST_PORTS else None,
        first_address=missing[0] if missing else None,  # what is not of loopback is in one piece
        count=len(missing),
        link=link,
    )


def entries_for(sockets: int, of_host: int) -> int | None:
    """Return how many entries a table of established connections needs, a socket each; None: the host's has as many."""
    entries: int = min(1 << max(0, sockets - 1).bit_length(), MAX_ENTRIES)
    return entries if entries > of_host else None
