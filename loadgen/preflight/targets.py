"""Where connections go: a target, all its addresses, and whether the sources can reach them. Looks up one name."""

import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.endpoints import is_path
from floodtest.loadgen.plan.choices import BASE_IPS, Addresses
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.request import is_unix, parse_target
from floodtest.wire.http import authority
from floodtest.wire.ring import Ring, RingServer
from floodtest.wire.template import RequestTemplate
from floodtest.wire.tls.settings import ClientTls


@dataclass(frozen=True)
class Target:
    """Where connections go, and what they ask for there."""

    addresses: tuple[tuple[str, int], ...]
    """User i goes to number (i - 1) mod n of them, counted from 0, unless there is a ring."""
    asked: RequestTemplate
    """What is asked for there, without what each protocol adds."""
    host: str
    """What the header Host says."""
    tls: ClientTls | None = None
    """How TLS is spoken there; None: it is not."""
    ring: Ring | None = None
    """Whose servers are at the addresses, in their order: each user goes to its own; None: users go to all in turn."""
    hosts: tuple[str, ...] = ()
    """What those of a ring are called; empty: all of them are the URL's host."""

    def address_of(self, user: int) -> tuple[str, int]:
        """Return where a user goes who goes alone: by the ring, or to the first address."""
        return self.addresses[0 if self.ring is None else int(self.ring.owners_of_users([user])[0])]

    def note(self) -> str | None:
        """Say where connections go, if there are several addresses."""
        if self.ring is not None:
            return _note_on(self.ring)
        if len(self.addresses) == 1:
            return None
        named = ", ".join(address for address, _ in self.addresses)
        return f"The target has {len(self.addresses)} addresses, and users go to them in turn: {named}."


def _note_on(ring: Ring) -> str:
    shares = zip(ring.servers, ring.shares().tolist(), strict=True)
    named = [f"{server.name} ({share:.1%})" for server, share in shares]
    more = f" and {counted(len(named) - _SHOWN, 'more servers')}" if len(named) > _SHOWN else ""
    return (
        f"Each user goes to its own of {counted(len(named), 'servers')} on the ring: {', '.join(named[:_SHOWN])}{more}."
    )


_SHOWN = 20
"""Servers of a ring that a note names."""


def resolve_target(url: str, base_ip: str, wanted: Addresses = "all") -> Target:
    """Look up a target, at addresses of the same kind as the sources; Refused when it has none.

    What is asked for there is what the URL alone says.
    """
    found = parse_target(url)
    host, port = found.host, found.port
    if is_path(host):
        _check_socket(host)
        return Target(((host, port),), found.asked, LOCALHOST)
    version = ipaddress.ip_address(base_ip).version
    try:
        addresses = _look_up(host, port, version)
    except (OSError, UnicodeError) as error:
        raise _refusal(host, port, version, error) from error
    addresses = addresses[:1] if wanted == "first" else addresses
    pairs = tuple((address, port) for address in addresses)
    return Target(pairs, found.asked, urlsplit(url).netloc.rpartition("@")[2])


def resolve_ring(url: str, base_ip: str, servers: Sequence[RingServer]) -> Target:
    """Return a target at the servers of a ring, each HOST:PORT; HOST alone has the port of the URL.

    The URL says what is asked for there, and its host, which is not looked up, is what the header Host says.
    """
    found, version = parse_target(url), ipaddress.ip_address(base_ip).version
    pairs, hosts = dict[tuple[str, int], str](), list[str]()
    for name, _ in servers:
        host, port = _host_and_port(name, found.port)
        try:
            address = _look_up(host, port, version)[0]
        except (OSError, UnicodeError) as error:
            raise _refusal(host, port, version, error, "--ring") from error
        hosts.append(host)
        if (other := pairs.setdefault((address, port), name)) != name:
            raise Refused(
                f"The servers {other} and {name} of --ring are one: {authority(address, port)}. Leave one out."
            )
    authority_of_url = urlsplit(url).netloc.rpartition("@")[2]
    return Target(tuple(pairs), found.asked, authority_of_url, ring=Ring(servers), hosts=tuple(hosts))


def _host_and_port(name: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{name}")
        host, port = parts.hostname or "", port if parts.port is None else parts.port
    except ValueError:
        host = ""
    if not host or not port or parts.netloc != name or "@" in name:
        raise Refused(f"The server {name} of --ring can't be connected to: name it HOST:PORT, such as 10.0.0.1:8000.")
    return host, port


LOCALHOST = "localhost"
"""What the header Host says where the target is a Unix socket."""


def _check_socket(path: str) -> None:
    """Refuse a path at which there is no socket."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except NotADirectoryError as error:
        raise Refused(
            f"The target {path} is no path of a socket: {error.strerror}. Where that ends there is a colon: "
            "http://unix:/run/app.sock:/PATH."
        ) from error
    except OSError as error:
        raise Refused(f"The target {path} can't be found: {error.strerror}. Is the server up?") from error
    if is_socket and not os.access(path, os.W_OK):
        raise Refused(f"The target {path} is a socket that we may not write to: be a user who may, or change its mode.")
    if not is_socket:
        raise Refused(f"The target {path} is no Unix socket: name the one at which the server listens.")


def _look_up(host: str, port: int, version: int) -> list[str]:
    """Return all addresses of a name, each once, in the order in which the resolver has them."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _refusal(host: str, port: int, version: int, error: Exception, named_in: str = "--target") -> Refused:
    """Say why a target has no address of the sources' kind: it has one of the other kind, or none at all."""
    other = 10 - version
    try:
        address = _look_up(host, port, other)[0]
    except (OSError, UnicodeError):
        reason = error.strerror if isinstance(error, OSError) else "no such name"
        return Refused(
            f"The target {host!r} can't be resolved to an IPv{version} address, as the source addresses are: "
            f"{reason}. Check the name in {named_in}."
        )
    loopback = "--base-ip ::1 --ips 1" if other == 6 else f"--base-ip {BASE_IPS['loopback']}"
    here = ipaddress.ip_address(address).is_loopback
    remedy = loopback if here else f"the first IPv{other} address of your own with --base-ip"
    what = f"is an IPv{other} address" if address == host else f"has an IPv{other} address only ({address})"
    return Refused(
        f"The target {host} {what}, and the source addresses are IPv{version}. Name sources of its kind: {remedy}."
    )


LOCAL_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            *("127.0.0.0/8", "169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"),
            *("::1/128", "fe80::/10", "fc00::/7", "2001:2::/48"),
        ),
    )
)
"""Loopback, link-local and private networks, and those for benchmarks.

Sources: RFC 1122, 3927, 1918 and 2544 for IPv4, 4291, 4193 and 5180 for IPv6.
"""


def is_public(address: str) -> bool:
    """Return whether an address may be somebody else's: neither loopback nor link-local nor private, and no path."""
    if is_path(address):
        return False
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not any(found in network for network in LOCAL_NETWORKS)


def check_consent(url: str, target: Target, allowed: str | None) -> None:
    """Refuse a public target that was not named a second time: a million connections are an attack on whoever it is."""
    host, twice = parse_target(url).host, _named(allowed)
    named = zip(target.addresses, target.hosts or [host] * len(target.addresses), strict=True)
    public = [address for (address, _), one in named if is_public(address) and twice.isdisjoint((one, address))]
    if not public:
        return
    if target.ring is not None:
        host = ",".join(public)
    other = "" if allowed is None else f", and --allow-public-target names {allowed!r}"
    are = "is a public address" if len(public) == 1 else "has public addresses"
    what = f"{host} ({', '.join(public)})" if target.ring is None else f"on the ring ({', '.join(public)})"
    raise Refused(
        f"The target {what} {are}{other}. If it is yours, or you may load it, say so: --allow-public-target {host}."
    )


def _named(allowed: str | None) -> set[str]:
    """Return the hosts that are said to be allowed, behind commas if there are several."""
    return set() if allowed is None else {host.strip().lower() for host in allowed.split(",")}


def check_publishing(url: str, allowed: str | None, option: str = "--publish") -> None:
    """Refuse to publish to a public address that was not named for the target: each message is a request to it.

    `option` is the one that names the URL.
    """
    if is_unix(url):
        raise Refused(f"{option} takes a URL of a host, not of a Unix socket: name a port at which the server listens.")
    host = urlsplit(url).hostname or ""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise Refused(f"The host {host!r} can't be resolved: check the name in {option}.") from error
    if _named(allowed).isdisjoint((host, *found)) and any(map(is_public, found)):
        raise Refused(
            f"The host {host} of {option} has a public address. If it is yours, or you may load it, say so: "
            f"--allow-public-target {host}."
        )


def check_addresses(plan: Plan, target: Target | None) -> None:
    """Refuse a plan whose source addresses are not on this machine, or can't reach the target; name them."""
    if plan.is_anonymous:
        return
    elsewhere = addresses_elsewhere(target) if target is not None and _is_loopback(plan.base_ip) else []
    if elsewhere:
        raise Refused(
            f"The target {elsewhere[0]} can't be reached from {plan.base_ip}, which is for this machine only. "
            "Name the first of your own addresses with --base-ip."
        )
    wanted = [a for a in plan.addresses if not _is_loopback(a)]
    here = own_addresses() if wanted else set()
    missing = [a for a in wanted if a not in here]
    if missing:
        named = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise Refused(
            f"No interface of this machine has {named}. Add {'them' if len(missing) > 1 else 'it'} "
            f"(floodtest net up, as root), or choose another --base-ip or fewer --ips."
        )


def addresses_elsewhere(target: Target) -> list[str]:
    """Return the addresses of a target that are not on this machine."""
    doubtful = [address for address, _ in target.addresses if not _is_loopback(address)]
    here = own_addresses() if doubtful else set()
    return [address for address in doubtful if address not in here]


def _is_loopback(address: str) -> bool:
    return is_path(address) or ipaddress.ip_address(address).is_loopback


def own_addresses() -> set[str]:
    """Return all addresses of this machine's interfaces, of this network namespace; Refused where nobody tells."""
    import psutil

    try:
        cards = psutil.net_if_addrs()
    except OSError as error:
        raise Refused(
            f"The kernel can't be asked for this machine's addresses (netlink: {error.strerror}). Some containers "
            "forbid it. Loopback needs no asking: --base-ip 127.0.1.1, and a --target that is there."
        ) from error
    return {entry.address.partition("%")[0] for card in cards.values() for entry in card}
