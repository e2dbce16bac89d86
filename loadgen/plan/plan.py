"""The plan: which user connects from which source pair, and which worker opens it. Pure; no socket, no clock.

Users are numbered from the plan's first user on, and placed address by address, as in 2008: where that user is 1,
address k holds users (k-1)*each+1 to k*each, the user's offset added to the first port. The ports of an address that no
user has are its spares.

Connections to a Unix socket come from nowhere: an anonymous plan has one source address, which is empty, and no ports.
"""

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from floodtest.flyweight.errors import UsageError

LAST_PORT = 65535

MAX_ADDRESSES = 65_536
"""Source addresses of a run: each is looked at, and added to a device where it is not there."""


MAX_USER = (1 << 32) - 1
"""The last user number: a client's columns keep a user in 32 bits."""


class Rows(NamedTuple):
    """Users to be opened, by the column: of each its number, and the source address and port planned for it."""

    users: list[int]
    addresses: list[str]
    ports: list[int]


@dataclass(frozen=True)
class Piece:
    """Consecutive users on one address."""

    address: str
    first_user: int
    count: int
    first_port: int
    first_spare: int

    @property
    def spares(self) -> range:
        """All spare ports of the address. Other pieces of it share them: whoever binds one first has it."""
        return range(self.first_spare, LAST_PORT + 1)

    def rows(self, offset: int, count: int) -> Rows:
        """Return `count` of its users, from its user number `offset` (from 0) on."""
        user, port = self.first_user + offset, self.first_port + offset
        return Rows(list(range(user, user + count)), [self.address] * count, list(range(port, port + count)))


@dataclass(frozen=True)
class Share:
    """The consecutive users that one worker opens. `before` users of the plan come before them, and are due before."""

    first_user: int
    count: int
    before: int
    pieces: tuple[Piece, ...]

    def rows(self, users: Iterable[int]) -> Rows:
        """Return the rows of any users of the share, in any order."""
        chosen = list(users)
        firsts = [piece.first_user for piece in self.pieces]
        pieces = [self.pieces[bisect_right(firsts, user) - 1] for user in chosen]
        ports = [piece.first_port + user - piece.first_user for piece, user in zip(pieces, chosen, strict=True)]
        return Rows(chosen, [piece.address for piece in pieces], ports)


@dataclass(frozen=True)
class Plan:
    """`connections` users from `first_user` on, on at most `ips` addresses of `each` users."""

    ips: int
    each: int
    base_ip: str
    first_port: int
    connections: int
    first_user: int = 1
    is_anonymous: bool = False
    """Whether its connections have neither source address nor port; the first four say nothing then."""

    @classmethod
    def anonymous(cls, connections: int, first_user: int = 1) -> "Plan":
        """Return the plan of connections that have neither source address nor port, to a Unix socket."""
        return cls(1, max(1, connections), "", 0, connections, first_user, is_anonymous=True)

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise UsageError(*problems)

    def _problems(self) -> list[str]:
        problems = [
            f"{option} must be at least 1, not {value}."
            for option, value in [("--ips", self.ips), ("--each", self.each), ("--connections", self.connections)]
            if value < 1
        ]
        users = max(1, self.connections) if self.connections <= MAX_USER else 1  # too many are complained about below
        if not 1 <= self.first_user <= MAX_USER + 1 - users:
            wrong = f"not from {self.first_user} on: choose another --first-user."
            problems.append(f"Users must have numbers from 1 to {MAX_USER}, {wrong}")
        if self.is_anonymous:
            return problems
        if not 1 <= self.first_port <= LAST_PORT:
            problems.append(f"--first-port must be from 1 to {LAST_PORT}, not {self.first_port}.")
        elif self.each > LAST_PORT + 1 - self.first_port:
            room = LAST_PORT + 1 - self.first_port
            problems.append(f"--each {self.each} does not fit: from port {self.first_port} on there are {room} ports.")
        if self.ips >= 1 and self.each >= 1 and self.connections > self.ips * self.each:
            problems.append(
                f"--connections {self.connections} is more than --ips {self.ips} x --each {self.each} = "
                f"{self.ips * self.each}; ask for more addresses: --ips {-(-self.connections // self.each)}."
            )
        return [*problems, *self._problems_with_addresses()]

    def _problems_with_addresses(self) -> list[str]:
        if self.ips > MAX_ADDRESSES:
            return [f"--ips must be at most {MAX_ADDRESSES:,}, not {self.ips:,}."]
        try:
            first = ipaddress.ip_address(self.base_ip)
            last = first + max(self.ips - 1, 0)
        except ValueError:
            return [f"--base-ip must be an IPv4 or IPv6 address with {self.ips} above it, not {self.base_ip!r}."]
        looked_at = [first, last, *(each for each in _BROADCAST if is_between(each, first, last))]
        bad = next((each for each in looked_at if _is_of_nobody(each)), None)
        return [] if bad is None else [f"{bad} can't be a source address: choose another --base-ip, or fewer --ips."]

    @property
    def last_user(self) -> int:
        return self.first_user + self.connections - 1

    @property
    def users(self) -> range:
        """The numbers of its users."""
        return range(self.first_user, self.first_user + self.connections)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that have users, in order."""
        if self.is_anonymous:
            return ("",)
        base = ipaddress.ip_address(self.base_ip)
        return tuple(str(base + k) for k in range(-(-self.connections // self.each)))

    def pair(self, user: int) -> tuple[str, int]:
        """Return the source pair planned for a user."""
        address, offset = divmod(user - self.first_user, self.each)
        return self.addresses[address], self.first_port + offset

    def shares(self, workers: int) -> list[Share]:
        """Cut the users into `workers` consecutive shares whose sizes differ by at most one."""
        cuts = [self.connections * k // workers for k in range(workers + 1)]
        return [self._share(before, end) for before, end in pairwise(cuts)]

    def _share(self, before: int, end: int) -> Share:
        """Return the share of the users that have `before` to `end` - 1 users of the plan before them."""
        pieces = []
        place = before
        while place < end:
            address = place // self.each
            next_address = (address + 1) * self.each
            users_here = min(self.each, self.connections - address * self.each)
            user, size = self.first_user + place, min(end, next_address) - place
            first_spare = self.first_port + users_here
            pieces.append(Piece(self.addresses[address], user, size, self.pair(user)[1], first_spare))
            place += size
        return Share(self.first_user + before, end - before, before, tuple(pieces))


_BROADCAST = (ipaddress.ip_address("127.255.255.255"), ipaddress.ip_address("255.255.255.255"))
"""Of loopback and of every network."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_between(address: IPAddress, first: IPAddress, last: IPAddress) -> bool:
    """Return whether an address is of a range, both ends included."""
    return address.version == first.version and int(first) <= int(address) <= int(last)


def _is_of_nobody(address: IPAddress) -> bool:
    """Whether no socket can have it. Networks of these are larger than a plan, so its two ends tell of all between."""
    return address.is_multicast or address.is_unspecified or address in _BROADCAST or address in _THIS_NETWORK


_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
"""RFC 1122, 3.2.1.3."""

HOST_PORTS = 1000
"""Ports of an address that are left to the host, see `kept_ports`."""


def planned_ports(plan: Plan) -> range:
    """Return the ports that the plan takes of its fullest address."""
    if plan.is_anonymous:
        return range(0)
    return range(plan.first_port, plan.first_port + min(plan.each, plan.connections))


def spare_ports(plan: Plan) -> range:
    """Return the ports that the fullest address has left, to replace planned ones that can't be had."""
    return range(planned_ports(plan).stop, LAST_PORT + 1)
