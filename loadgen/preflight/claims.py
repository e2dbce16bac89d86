"""Claims: a second floodtest on the same addresses and ports is noticed before it takes half of the first one's pairs.

A claim is a socket in the abstract namespace whose name says which process has which source pairs. The kernel keeps the
list (/proc/net/unix), one for each network namespace, and drops a name with the process that has it, however it ends.
Two that start at the same instant may both be refused, never neither.
"""

import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import PROC
from floodtest.loadgen.plan.plan import Plan, planned_ports

_NAME = re.compile(r"@floodtest/(\d+)/([0-9a-f]+)/([0-9a-f.:]+)/(\d+)/(\d+)-(\d+)")


@dataclass(frozen=True)
class Claim:
    """`addresses` consecutive addresses, and the same ports of each."""

    pid: int
    base_ip: str
    addresses: int
    first_port: int
    last_port: int
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells claims of equal process numbers apart, as containers have that share a network."""

    @property
    def name(self) -> str:
        return f"floodtest/{self.pid}/{self.token}/{self.base_ip}/{self.addresses}/{self.first_port}-{self.last_port}"

    def overlaps(self, other: "Claim") -> bool:
        """Return whether there is a source pair in both."""
        ours, theirs = ipaddress.ip_address(self.base_ip), ipaddress.ip_address(other.base_ip)
        return (
            ours.version == theirs.version
            and int(ours) < int(theirs) + other.addresses
            and int(theirs) < int(ours) + self.addresses
            and self.first_port <= other.last_port
            and other.first_port <= self.last_port
        )


def claim_of(plan: Plan) -> Claim:
    """Return the claim that a plan makes in this process."""
    ports = planned_ports(plan)
    base = str(ipaddress.ip_address(plan.base_ip))
    return Claim(os.getpid(), base, len(plan.addresses), ports.start, ports.stop - 1)


@contextmanager
def claimed(plan: Plan) -> Iterator[None]:
    """Claim the source pairs of a plan as long as the block lasts; Refused when another process has some of them."""
    ours = claim_of(plan)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{ours.name}")
        refuse_what_is_claimed(ours)
        yield


def refuse_what_is_claimed(ours: Claim, proc: Path = PROC) -> None:
    """Refuse source pairs that another process has claimed."""
    for other in claims(proc):
        if other.name != ours.name and ours.overlaps(other):
            raise Refused(
                f"Another floodtest (process {other.pid}) has {other.base_ip} and {other.addresses - 1} addresses "
                f"after it, ports {other.first_port} to {other.last_port}. Wait for it, or choose another --base-ip "
                "or --first-port."
            )


def claims(proc: Path = PROC) -> Iterator[Claim]:
    """Yield all claims in this network namespace."""
    for line in (proc / "net/unix").read_text(errors="replace").splitlines():
        found = _NAME.fullmatch(line.rpartition(" ")[2])
        if found:
            try:
                ipaddress.ip_address(found[3])
            except ValueError:
                continue  # somebody else's idea of a name
            yield Claim(int(found[1]), found[3], int(found[4]), int(found[5]), int(found[6]), found[2])
