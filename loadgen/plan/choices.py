"""What a run can be asked for where there are only a few answers: names, as the command line has them."""

from typing import Literal, get_args

Ports = Literal["explicit", "kernel"]

ClientModel = Literal["columns", "httpx"]
"""How workers hold connections: in columns, all by one task; or with an httpx stream and a task for each."""

CLIENT_MODELS: tuple[str, ...] = get_args(ClientModel)

Choice = Literal["auto", "host", "isolated"]

Link = Literal["loopback", "veth"]

CHOICES: tuple[Choice, ...] = ("auto", "host", "isolated")

LINKS: tuple[Link, ...] = ("loopback", "veth")
