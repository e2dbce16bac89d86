"""Where this process is, as it matters to the other hosts of a run; and from which addresses a host's connections come.

In: /proc, the devices' addresses, a plan. Out: plain values. Looks up the target's name; sends nothing.
Fails: Refused where a device has no address of the wanted kind.
"""

import ipaddress
import os
import socket
from itertools import pairwise
from pathlib import Path

import psutil

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import PROC
from floodtest.loadgen.cluster.host_messages import Standing
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import target_of

DISCARD = 9
"""Any port will do to ask the kernel for its route (RFC 863)."""


def standing(proc: Path = PROC) -> Standing:
    """Return where this process is."""
    return Standing(
        hostname=socket.gethostname(),
        kernel=(proc / "sys/kernel/random/boot_id").read_text().strip(),
        network=os.readlink(proc / "self/ns/net"),
        clock=_namespace(proc / "self/ns/time"),
    )


def _namespace(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""  # a kernel without time namespaces


def sources_of(options: RunOptions, device: str | None) -> tuple[str, int]:
    """Return the first source address of this host, and how many there are from it on."""
    plan = options.plan
    if plan.is_anonymous:
        return plan.base_ip, plan.ips
    version = ipaddress.ip_address(plan.base_ip).version
    if device is not None:
        return of_device(device, version)
    if ipaddress.ip_address(plan.base_ip).is_loopback and options.target is not None:
        towards = _address_towards(options.target, options, version)
        if towards is not None and not ipaddress.ip_address(towards).is_loopback:
            return towards, 1
    return plan.base_ip, plan.ips


def _address_towards(url: str, options: RunOptions, version: int) -> str | None:
    """Return the address from which the kernel would connect to a target, or to the first server of a ring.

    None where there is no such target or way.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        host, _ = target_of(url, options).addresses[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, DISCARD))
            return str(sock.getsockname()[0])
    except (OSError, Refused):
        return None  # which the preflight of the target says in words


def of_device(device: str, version: int) -> tuple[str, int]:
    """Return the longest row of consecutive addresses of a device, by its first and their number."""
    devices = psutil.net_if_addrs()
    if device not in devices:
        raise Refused(f"There is no device {device!r}; there are {', '.join(sorted(devices))}. Name one: --device.")
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    found = [ipaddress.ip_address(one.address.partition("%")[0]) for one in devices[device] if one.family == family]
    usable = sorted(int(one) for one in found if not one.is_link_local)
    if not usable:
        raise Refused(f"The device {device} has no IPv{version} address. Name another one: --device.")
    make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    first, count = _longest_row(usable)
    return str(make(first)), count


def _longest_row(numbers: list[int]) -> tuple[int, int]:
    """Return the first of the longest row of consecutive numbers, and how long it is."""
    best = first, count = numbers[0], 1
    for before, number in pairwise(numbers):
        first, count = (first, count + 1) if number == before + 1 else (number, 1)
        best = max(best, (first, count), key=lambda row: row[1])
    return best
