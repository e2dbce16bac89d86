"""What a run can be asked for where there are only a few answers: names, as the command line has them."""

from typing import Literal

Ports = Literal["explicit", "kernel"]

Choice = Literal["auto", "host", "isolated"]

Link = Literal["loopback", "veth"]

CHOICES: tuple[Choice, ...] = ("auto", "host", "isolated")

LINKS: tuple[Link, ...] = ("loopback", "veth")
