"""What the kernel says of sockets: /proc/net/sockstat, and the slab caches behind them where root may look."""

import os
from dataclasses import dataclass
from pathlib import Path

from floodtest.flyweight.machine.files import PROC

PAGE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of a page: what sockstat's "mem" and slabinfo count in."""

SLABS = {
    "TCP": "slab_tcp",
    "sock_inode_cache": "slab_sock_inode",
    "filp": "slab_filp",
    "dentry": "slab_dentry",
    "eventpoll_epi": "slab_epoll",
}


@dataclass(frozen=True)
class Sockets:
    """Counts of sockets in this network namespace; `queued` is bytes in TCP's queues."""

    used: int
    tcp_inuse: int
    tcp_time_wait: int
    queued: int


def read_sockets(proc: Path = PROC) -> Sockets:
    """Read /proc/net/sockstat, and sockstat6 where there is IPv6: the kernel counts TCP in use apart for each."""
    table = _table(proc / "net/sockstat")
    six = proc / "net/sockstat6"
    tcp, tcp6 = table["TCP"], _table(six)["TCP6"] if six.exists() else {"inuse": 0}
    return Sockets(table["sockets"]["used"], tcp["inuse"] + tcp6["inuse"], tcp["tw"], tcp["mem"] * PAGE)


def _table(path: Path) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        table[name] = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    return table


def read_slabs(proc: Path = PROC) -> dict[str, int] | None:
    """Return the bytes of the slab caches that sockets live in, or None where /proc/slabinfo is for root only."""
    try:
        lines = (proc / "slabinfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {}
    for line in lines:
        words = line.split()
        if words and words[0] in SLABS:
            # name active objects objsize objperslab pagesperslab : tunables ... : slabdata active slabs ...
            pages_per_slab, slabs = int(words[5]), int(words[14])
            sizes[SLABS[words[0]]] = pages_per_slab * slabs * PAGE
    return sizes
