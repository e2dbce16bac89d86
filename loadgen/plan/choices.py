"""What a run can be asked for where there are only a few answers: names, as the command line has them."""

from typing import Literal, get_args

Ports = Literal["explicit", "kernel"]

Addresses = Literal["first", "all"]

Choice = Literal["auto", "host", "isolated"]

Link = Literal["loopback", "veth"]

DeliverTo = Literal["own", "all"]

PORTS: tuple[Ports, ...] = get_args(Ports)

ADDRESSES: tuple[Addresses, ...] = get_args(Addresses)

CHOICES: tuple[Choice, ...] = get_args(Choice)

LINKS: tuple[Link, ...] = get_args(Link)

DELIVER_TO: tuple[DeliverTo, ...] = get_args(DeliverTo)

BASE_IPS: dict[Link, str] = {"loopback": "127.0.1.1", "veth": "198.19.0.1"}
"""Where source addresses begin if nothing is said: on loopback, and on a link (RFC 2544 has set those apart for
benchmarks)."""
