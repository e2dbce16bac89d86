"""The listener: a socket that listens, and what the kernel is asked to do for those that are accepted from it.

In: an address. Out: a listening socket, which does not block. Fails: Refused when the address can't be had.
"""

import socket
from contextlib import ExitStack

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.own_addresses import is_own
from floodtest.wire.http import authority

BACKLOG = 65535
"""Asked for; the kernel takes at most net.core.somaxconn."""

DEFER_SECONDS = 5
"""How long the kernel waits for a request before it wakes a front for a silent client (TCP_DEFER_ACCEPT)."""


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; Refused when the address can't be had."""
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, _, _, address = found[0]
            sock = stack.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no such name"
            raise Refused(f"Can't listen on {authority(host, port)}: {why}. Choose another --host or port.") from error
        stack.pop_all()  # it stays open
    return sock


def wait_for_requests(listener: socket.socket) -> None:
    """Have the kernel hand a connection over once its request is there, or after `DEFER_SECONDS`."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)


def notice_silence(listener: socket.socket, seconds: float) -> None:
    """Have the kernel end each connection accepted from a listener whose peer has not answered for so long.

    Accepted sockets inherit these options (tcp(7)), so that a connection costs no call. TCP_USER_TIMEOUT decides the
    end, for data and probes alike. The first probe of an idle connection is sent after half of the time, if it is one
    that is probed (`probe_when_idle`).
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 6)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def probe_when_idle(fd: int, address: tuple[str | int, ...] | str | bytes) -> None:
    """Have the kernel probe an accepted connection while nothing is said on it, unless its peer is on this machine.

    A peer on this machine can't vanish without its kernel closing the connection. And to probe many of them ends
    healthy ones: timers of minutes are rounded up to 16 seconds, so that tens of thousands of probes are sent in one
    go, and loopback silently drops what goes beyond net.core.netdev_max_backlog. Other devices say what they have
    dropped, and the kernel sends those probes again half a second later.
    """
    if not is_own(address):
        accepted = socket.socket(fileno=fd)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        accepted.detach()
