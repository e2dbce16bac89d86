"""What an end is told of TLS: names of files with certificates and keys, which each worker reads itself, so that no key
crosses a process; and how many connections may keep an object. Pure, and without OpenSSL: a worker that speaks no TLS
has none in its memory.
"""

from typing import Literal

import msgspec

Version = Literal["any", "1.2", "1.3"]

ANY: Version = "any"
VERSIONS: tuple[Version, ...] = (ANY, "1.2", "1.3")

MOST_KEPT = 4096
"""Connections of a worker that keep an object of OpenSSL, of 15 to 35 KiB each: 140 MiB at the most. It stands here for
a plan, which counts on it and has no OpenSSL in its memory either.
"""


class ClientTls(msgspec.Struct, frozen=True):
    """How clients speak TLS."""

    server_name: str
    """What the server is asked for, and its certificate has to be for."""
    is_http: bool = True
    insecure: bool = False
    """Take any certificate."""
    cafile: str | None = None
    """Of who is trusted; None: whom this machine trusts."""
    cert: str | None = None
    key: str | None = None
    """What the client shows of itself where a server asks for it; the key may be in the file of the certificate."""
    version: Version = ANY
    resume: float = 0.0
    """Share of handshakes, from 0 to 1, that take up a session of the server once there is a ticket for one."""


class ServerTls(msgspec.Struct, frozen=True):
    """How a server speaks TLS."""

    cert: str
    key: str | None = None
    """None: it is in the file of the certificate."""
    tickets: int = 0
    """How many each client is sent, to come back with."""
