"""Who listens for TCP connections, how full their queues are, and how often one overflowed, as the kernel tells it.

In: a folder such as /proc/net, which is of one network namespace. Out: listeners and counters. /proc/net/tcp has a
listener's queue; its backlog and what was dropped for it are told by sock_diag(7) only, which some containers forbid
and which is asked about the namespace of the calling thread. Cost: some 100 microseconds, however many connections
there are: the kernel lists listeners first, and the table of connections is not walked for them.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from floodtest.flyweight.machine.files import PROC

NET = PROC / "net"
"""Of the network namespace that this process is in."""

LISTENING = 10
"""TCP_LISTEN of include/net/tcp_states.h."""

_BY_FAMILY, _DONE, _ERROR = 20, 3, 2
"""SOCK_DIAG_BY_FAMILY of linux/sock_diag.h, NLMSG_DONE and NLMSG_ERROR of linux/netlink.h."""

_SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG of linux/netlink.h."""

_REQUEST_DUMP = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP."""

_MEMORY, _DROPS = 7, 8
"""INET_DIAG_SKMEMINFO of linux/inet_diag.h, and which of its numbers is SK_MEMINFO_DROPS (linux/sock_diag.h)."""

_HEAD, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_ASKED = struct.Struct("=BBBxI48x")
_TOLD = struct.Struct("=BxxxHxx16s16x12xIIIII")
"""inet_diag_req_v2, and inet_diag_msg: family, port, address, then expiry, both queues, uid and inode."""

DIAG_SECONDS = 1.0
"""The longest wait for the kernel's answer, which it has ready at once."""


@dataclass(frozen=True)
class Listener:
    """A socket that listens."""

    address: str
    port: int
    uid: int
    inode: int
    queued: int
    """Connections that wait to be accepted now."""
    backlog: int | None = None
    """How many may wait there: what listen(2) was told, net.core.somaxconn at the most. None: it can't be read."""
    drops: int | None = None
    """Packets of handshakes that were dropped so far. None: it can't be read.

    Those that found the queue full are among them, and so are those that TCP_DEFER_ACCEPT puts off, as it does one of
    each connection (`Counters.deferred`): the kernel does not tell them apart for a listener.
    """


@dataclass(frozen=True)
class Counters:
    """What /proc/net/netstat counts of all sockets of a network namespace since it began."""

    overflows: int
    """Handshakes that found a listener's queue full (ListenOverflows)."""
    drops: int
    """Handshakes that a listener dropped for whatever reason (ListenDrops)."""
    syn_retransmits: int
    """Requests to connect that were sent again, since nothing answered (TCPSynRetrans)."""
    deferred: int
    """Connections that were established and put off until their request comes (TCPDeferAcceptDrop)."""


_NAMES = ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "TCPDeferAcceptDrop")
"""What /proc/net/netstat calls the fields of `Counters`, in their order."""


def read_listeners(net: Path = NET) -> list[Listener]:
    """Return all that /proc/net/tcp and tcp6 have, as far as they can be read."""
    return [*_read(net / "tcp"), *_read(net / "tcp6")]


def _read(path: Path) -> Iterator[Listener]:
    try:
        with path.open() as lines:
            next(lines, None)
            for line in lines:
                words = line.split()
                if int(words[3], 16) != LISTENING:
                    return  # those that listen come first
                host, _, port = words[1].partition(":")
                queued = int(words[4].partition(":")[2], 16)
                yield Listener(_address(host), int(port, 16), int(words[7]), int(words[9]), queued)
    except OSError:
        return


def _address(text: str) -> str:
    """Return the address that /proc/net writes as words of the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return socket.inet_ntop(
        socket.AF_INET if len(words) == 1 else socket.AF_INET6, struct.pack(f"={len(words)}I", *words)
    )


def ask_for_listeners() -> list[Listener] | None:
    """Return all listeners of this thread's network namespace, as sock_diag tells them; None where it is forbidden."""
    asked = [
        _ASKED.pack(family, socket.IPPROTO_TCP, 1 << (_MEMORY - 1), 1 << LISTENING)
        for family in (socket.AF_INET, socket.AF_INET6)
    ]
    try:
        return [_listener(message) for one in asked for message in diagnosed(one)]
    except (OSError, struct.error):
        return None


def diagnosed(asked: bytes) -> list[bytes]:
    """Return what sock_diag(7) tells of sockets, a message each; OSError or struct.error where it does not."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(DIAG_SECONDS)
        kernel.send(_HEAD.pack(_HEAD.size + len(asked), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + asked)
        while _take(kernel.recv(1 << 16), found):
            pass
    return found


def _take(rest: bytes, found: list[bytes]) -> bool:
    """Add the messages of a packet; return whether more packets come."""
    while rest:
        size, kind, *_ = _HEAD.unpack_from(rest)
        if kind == _DONE:
            return False
        if kind == _ERROR:
            raise OSError("sock_diag refuses to answer")
        found.append(rest[_HEAD.size : size])
        rest = rest[_aligned(size) :]
    return True


def _listener(message: bytes) -> Listener:
    family, port, packed, _, queued, backlog, uid, inode = _TOLD.unpack_from(message)
    address = socket.inet_ntop(family, packed[:4] if family == socket.AF_INET else packed)
    memory = attributes(message[_TOLD.size :]).get(_MEMORY, b"")
    drops = struct.unpack_from("=I", memory, 4 * _DROPS)[0] if len(memory) > 4 * _DROPS else None
    return Listener(address, socket.ntohs(port), uid, inode, queued, backlog, drops)


def attributes(rest: bytes) -> dict[int, bytes]:
    """Return the attributes that stand behind a message's fixed part, by their kinds."""
    found = {}
    while len(rest) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(rest)
        found[kind] = rest[_ATTRIBUTE.size : size]
        rest = rest[max(_aligned(size), _ATTRIBUTE.size) :]
    return found


def _aligned(size: int) -> int:
    return size + 3 & ~3


def listeners_at(listeners: Iterable[Listener], address: str, port: int) -> list[Listener]:
    """Return who of them gets connections to an address: those that listen at it, or else at all addresses. Or those at
    the path of a Unix socket, with port 0.
    """
    mine = [one for one in listeners if one.port == port]
    names: Sequence[str] = (address, "::")
    if ":" not in address:
        names = (address, f"::ffff:{address}", "0.0.0.0", "::")
    found = ([one for one in mine if one.address == name] for name in names)
    return next(filter(None, found), [])


def read_counters(net: Path = NET) -> Counters | None:
    """Read /proc/net/netstat; None where it can't be read, or has not got them."""
    try:
        lines = [line.split() for line in (net / "netstat").read_text().splitlines() if line.startswith("TcpExt:")]
        table = dict(zip(*lines, strict=True))
        return Counters(*(int(table[name]) for name in _NAMES))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def net_of(pid: int) -> Path:
    """Return the folder of the network namespace that a process is in."""
    return PROC / str(pid) / "net"
