"""Which addresses are this machine's own, that is of the network that this process is in.

In: the address of a peer, as accept(2) has it in Python. Out: whether a connection with it never leaves the machine.
Cost: three system calls for an address that was not asked about lately, 0.1 µs for others. An address that moves to
another machine meanwhile is still taken for our own. Fails: never; what can't be found out is taken for another
machine's.
"""

import errno
import socket
from functools import lru_cache

_REMEMBERED = 4096
"""Addresses whose answer is remembered."""


def is_own(address: tuple[str | int, ...] | str | bytes) -> bool:
    """Whether an internet address, whatever its port, is one of this machine's; that of a Unix socket, a text, is."""
    if not isinstance(address, tuple):
        return True
    try:
        return _can_be_bound(address[0], *address[2:])
    except OSError:  # such as no descriptor being left, which says nothing of the address
        return False


@lru_cache(_REMEMBERED)
def _can_be_bound(host: str, *scope: int) -> bool:
    """The kernel binds to its own addresses only, those of a whole range that is local (127.0.0.0/8) included."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0, *scope))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True
