"""Addresses of ours on this machine's devices: brought up, taken down, listed, over rtnetlink (pyroute2).

What is ours is written on the address itself, so that it needs no file, outlives a crash, and is gone with a reboot as
the address is: IPv4 addresses carry the label `floodtest`, IPv6 ones the protocol number 247 (IFA_PROTO, Linux 5.18).
Only those ever come down. An address that is there already and is not ours, or is on another device, is refused.

pyroute2 runs an event loop, so it stays out of processes that run trio. Fails: Refused, with nothing left behind.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import AF_INET
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.loadgen.network.wish import LOOPBACK_DEVICE
from floodtest.loadgen.plan.plan import MAX_ADDRESSES

LABEL = "floodtest"
PROTOCOL = 247
"""Of an address: nobody has it in iproute2's rt_addrprotos, which leaves those from 16 on to whoever wants one."""

NO_DAD = 0x02
"""IFA_F_NODAD: an IPv6 address may be used at once, before anybody on the link was asked for it."""

_REMEDIES = {
    errno.EPERM: "That takes root (CAP_NET_ADMIN). floodtest run --network isolated has addresses of its own without",
    errno.EACCES: "The device takes no IPv6 addresses (net.ipv6.conf.*.disable_ipv6)",
    errno.EADDRNOTAVAIL: "It is no longer there",
    errno.ENODEV: "The device is gone",
}


@dataclass(frozen=True)
class Address:
    """An address of a device, and whether we brought it up."""

    address: str
    prefix: int
    device: str
    ours: bool


@dataclass(frozen=True)
class Change:
    """What came of a call: addresses that changed, and those that were as they should be before."""

    changed: list[str]
    unchanged: list[str]


def consecutive(base_ip: str, count: int) -> list[str]:
    """Return `count` addresses from the first on; UsageError where those are none that a device can have."""
    if count > MAX_ADDRESSES:
        raise UsageError(f"--ips must be at most {MAX_ADDRESSES:,}, not {count:,}.")
    try:
        first = ipaddress.ip_address(base_ip)
        last = first + (count - 1)
    except ValueError as error:
        raise UsageError(f"--base-ip must be an address with {count} from it on, not {base_ip!r}.") from error
    for end in (first, last):
        if end.is_loopback:
            raise UsageError(f"{end} is of loopback, where every address of 127.0.0.0/8 is there already.")
        if end.is_multicast or end.is_unspecified or int(end) == 2**32 - 1 or end in ipaddress.ip_network("0.0.0.0/8"):
            raise UsageError(f"{end} can't be the address of a device: choose another --base-ip.")
    return [str(first + k) for k in range(count)]


def bring_up(wanted: Sequence[str], device: str = LOOPBACK_DEVICE) -> Change:
    """Add the addresses to a device, but for those that are there as ours; Refused where one is there and is not."""
    with _netlink() as ip:
        index = _index_of(ip, device)
        there = {found.address: found for found in _addresses(ip)}
        _refuse_clashes([there[address] for address in wanted if address in there], device)
        missing = [address for address in wanted if address not in there]
        added: list[str] = []
        try:
            for address in missing:
                _add(ip, index, address, device)
                added.append(address)
                if len(added) == 1:
                    _refuse_without_a_mark(ip, address, device)
        except BaseException:  # an interrupt as well leaves no address behind
            for address in added:
                with suppress(NetlinkError, OSError):  # gone with its device, or by somebody's hand
                    _remove(ip, index, address)
            raise
    return Change(added, [address for address in wanted if address in there])


def take_down(device: str | None = None) -> list[Address]:
    """Remove what is ours, from all devices or one; return what was removed."""
    removed = []
    with _netlink() as ip:
        indices = {name: index for index, name in _devices(ip).items()}
        if device is not None:
            _index_of(ip, device)
        for found in _addresses(ip):
            if found.ours and device in (None, found.device):
                try:
                    _remove(ip, indices[found.device], found.address)
                except NetlinkError as error:
                    if error.code not in (errno.EADDRNOTAVAIL, errno.ENODEV):  # somebody was faster
                        raise _refusal(f"{found.address} can't be taken from {found.device}", error) from error
                removed.append(found)
    return removed


def ours() -> list[Address]:
    """Return the addresses that we brought up."""
    with _netlink() as ip:
        return [found for found in _addresses(ip) if found.ours]


@contextmanager
def _netlink() -> Iterator[IPRoute]:
    try:
        # An IPRoute that gets no socket leaves an event loop behind, which complains on stderr at the very end.
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE).close()
        ip = IPRoute()
    except OSError as error:
        raise Refused(
            f"The kernel can't be asked for addresses (netlink: {error.strerror}). Some containers forbid it."
        ) from error
    with ip:
        yield ip


def _devices(ip: IPRoute) -> dict[int, str]:
    return {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}


def _index_of(ip: IPRoute, device: str) -> int:
    names = _devices(ip)
    for index, name in names.items():
        if name == device:
            return index
    raise Refused(f"There is no device {device!r}; there are {', '.join(sorted(names.values()))}. Name one with --dev.")


def _addresses(ip: IPRoute) -> Iterator[Address]:
    names = _devices(ip)
    for found in ip.get_addr():
        address = found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
        is_four = found["family"] == AF_INET
        mark = found.get_attr("IFA_LABEL") == LABEL if is_four else found.get_attr("IFA_PROTO") == PROTOCOL
        yield Address(address, found["prefixlen"], names.get(found["index"], "?"), mark)


def _refuse_clashes(there: list[Address], device: str) -> None:
    clashes = [f"{found.address} on {found.device}" for found in there if not found.ours or found.device != device]
    if clashes:
        more = f" and {len(clashes) - 20} more" if len(clashes) > 20 else ""
        raise Refused(
            f"This machine has {', '.join(clashes[:20])}{more} already, and not from floodtest net up on {device}. "
            "Choose another --base-ip, or take down what is ours there: floodtest net down."
        )


def _add(ip: IPRoute, index: int, address: str, device: str) -> None:
    """Add one address, for this machine alone (no route to a network comes with it)."""
    options: dict[str, Any] = {"prefixlen": 128, "proto": PROTOCOL, "flags": NO_DAD}
    if ":" not in address:
        options = {"prefixlen": 32, "label": LABEL}
    try:
        ip.addr("add", index=index, address=address, **options)
    except NetlinkError as error:
        if error.code == errno.EEXIST and any(
            found.ours and found.address == address and found.device == device for found in _addresses(ip)
        ):
            return  # another floodtest net up did it just now
        raise _refusal(f"{address} can't be added to {device}", error) from error


def _refuse_without_a_mark(ip: IPRoute, address: str, device: str) -> None:
    """Refuse where the kernel has ignored the mark, as it does one that it does not know; net down would not see it."""
    for found in list(_addresses(ip)):
        if (found.address, found.device, found.ours) == (address, device, False):
            raise Refused(f"{address} can't be marked as ours on {device}: IPv6 takes Linux 5.18 or later.")


def _remove(ip: IPRoute, index: int, address: str) -> None:
    ip.addr("del", index=index, address=address, prefixlen=128 if ":" in address else 32)


def _refusal(what: str, error: NetlinkError) -> Refused:
    remedy = _REMEDIES.get(error.code)
    return Refused(f"{what}: {os.strerror(error.code)}." + (f" {remedy}." if remedy else ""))
