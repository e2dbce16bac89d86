"""What the host offers a run: where the target is, whether the source addresses exist, how many connections fit."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from flyweight.errors import Refused, UsageError
from flyweight.limits import (
    FILES_RESERVE,
    MAX_WORKERS,
    Memory,
    max_user_watches,
    raise_files_limit,
    read_memory,
    reserved_ports,
)
from loadgen.plan import Plan

KERNEL_BYTES = 10_300
"""What the kernel keeps for one connection, both ends on this machine: measured with 1,054,000 (docs/benchmarks.md)."""

USER_BYTES = 400
"""What both ends keep for one connection in user memory, the processes' fixed cost included, at 20,000 files each."""

HOST_PORTS = 1000
"""Ports of an address that are left to the host, see `kept_ports`."""


@dataclass(frozen=True)
class Target:
    """Where connections go, and the request that each sends: the bytes before and after the user's id."""

    address: tuple[str, int]
    request: tuple[str, str]

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.address[0]).is_loopback


def request_around(path: str, host: str) -> tuple[str, str]:
    """Return the request for a path with `{user}` in it, cut in two where the id goes."""
    before, after = path.split("{user}")
    return f"GET {before}", f"{after} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: floodtest\r\n\r\n"


def parse_target(url: str) -> tuple[str, int, str]:
    """Return (host, port, path) of a target URL; UsageError says what is wrong with it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError as error:
        raise UsageError(f"--target {url!r} is no URL: {error}.") from error
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or not host:
        raise UsageError(f"--target must be like http://127.0.0.1:8000/test/{{user}}, not {url!r}.")
    if path.count("{user}") != 1 or not path.isascii() or any(c <= " " for c in path):
        raise UsageError(f"--target needs {{user}} exactly once in its path, where the id goes; {url!r} has not.")
    return host, port, path


def resolve_target(url: str, base_ip: str) -> Target:
    """Look up a target, at an address of the same kind as the sources; Refused when it has none."""
    host, port, path = parse_target(url)
    version = ipaddress.ip_address(base_ip).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name"
        raise Refused(
            f"The target {host!r} can't be resolved to an IPv{version} address, as the source addresses are: "
            f"{reason}. Check the name in --target."
        ) from error
    return Target((str(address[0]), port), request_around(path, urlsplit(url).netloc.rpartition("@")[2]))


def check_addresses(plan: Plan, target: Target | None) -> None:
    """Refuse a plan whose source addresses are not on this machine, or can't reach the target; name them."""
    here = {entry.address.partition("%")[0] for card in psutil.net_if_addrs().values() for entry in card}
    if target is not None and not target.is_loopback and target.address[0] not in here:
        if ipaddress.ip_address(plan.base_ip).is_loopback:
            raise Refused(
                f"The target {target.address[0]} can't be reached from {plan.base_ip}, which is for this machine only. "
                "Name the first of your own addresses with --base-ip."
            )
    missing = [a for a in plan.addresses if a not in here and not ipaddress.ip_address(a).is_loopback]
    if missing:
        named = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise Refused(
            f"No interface of this machine has {named}. Add {'them' if len(missing) > 1 else 'it'} "
            f"(ip addr add ADDRESS dev DEVICE), or choose another --base-ip or fewer --ips."
        )


def kept_ports(plan: Plan, port_range: tuple[int, int]) -> frozenset[int]:
    """Return the planned ports that are left to the host, and replaced by spares.

    Linux gives an outgoing connection no port that any socket has bound explicitly, whatever the address (buckets with
    `fastreuse >= 0` are passed over in __inet_hash_connect, net/ipv4/inet_hashtables.c). A plan that binds the whole of
    net.ipv4.ip_local_port_range would keep every other program of this machine from connecting anywhere, so the upper
    end of the range stays free, as far as the address has spares to replace it.
    """
    first, last = port_range
    used = range(plan.first_port, plan.first_port + min(plan.each, plan.connections))
    free = sum(1 for port in range(first, last + 1) if port not in used)
    spares = 65536 - used.stop - max(0, last + 1 - max(first, used.stop))
    wanted = min(max(0, HOST_PORTS - free), max(0, spares // 2))
    inside = [port for port in range(first, last + 1) if port in used]
    return frozenset(inside[max(0, len(inside) - wanted) :])


def local_port_range() -> tuple[int, int]:
    """Return net.ipv4.ip_local_port_range: the ports the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first, last = map(int, file.read().split())
    return first, last


def ports_to_avoid(plan: Plan) -> frozenset[int]:
    """Return the ports that are not ours: reserved by the administrator, or kept for the host."""
    return reserved_ports() | kept_ports(plan, local_port_range())


def as_ranges(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Write ports as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for port in sorted(ports):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return ranges


@dataclass(frozen=True)
class Fit:
    """How many connections this machine can hold, and what sets that bound."""

    connections: int
    reason: str


def fit(planned: int, memory: Memory | None = None, watches: int | None = None, files_limit: int | None = None) -> Fit:
    """Return how many of the planned connections, both ends here, this machine can hold."""
    memory = memory or read_memory()
    watches = watches or max_user_watches()
    files_limit = files_limit or raise_files_limit()
    bounds = [
        Fit(planned, "all that was asked for"),
        Fit(
            memory.room // (KERNEL_BYTES + USER_BYTES),
            f"{memory.room >> 20:,} MiB of memory are free beyond a reserve of {memory.reserve >> 20:,} MiB, and a "
            f"connection takes about {(KERNEL_BYTES + USER_BYTES) / 1024:.1f} KiB with both its ends here",
        ),
        Fit(watches // 2 - 1000, f"fs.epoll.max_user_watches is {watches:,}, and a connection takes two"),
        Fit(
            MAX_WORKERS * max(0, files_limit - FILES_RESERVE),
            f"the hard limit of open files is {files_limit:,}, and there are at most {MAX_WORKERS} workers an end",
        ),
    ]
    return min(bounds, key=lambda bound: bound.connections)
