"""The ring: which machine a user or a subject belongs to, by ketama, as libketama has it. Pure.

Each server has points on a circle of 2^32, as many as it has a share of the memory, and a key belongs to the server of
the first point that is not before the key's own hash. So when one of n servers goes, only its keys move.

In: servers with their memory, then keys, or whole columns of users, whose keys are their ids in decimal digits. Out:
indexes into the servers. Fails: UsageError names what is wrong with a list of servers. Cost: two milliseconds for a
hundred servers; a microsecond a key, nearly all of it MD5, by the column as well as alone.

uhashring, which is maintained, has the algorithm too, but counts points in double precision: at 61, 122, 237 and 244
equal servers (and others) it has 40 hashes of each where libketama has 39. It also looks up one key a call.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.errors import UsageError

MAX_SERVERS = 10_000
"""A column has 16 bits for each user, and libketama's servers are tens."""

MAX_MEMORY = 1 << 40
"""Of a server, in whatever unit; libketama's is a megabyte. All servers together stay exact in 64 bits."""

_HASHES = 40
"""Of a server with an average share of the memory; each is four points."""

Owners = npt.NDArray[np.uint16]
"""Indexes into the servers, one a key."""


class RingServer(NamedTuple):
    """A server, and its memory: what it should have of the keys, against what the others have of memory."""

    name: str
    memory: int


class Ring:
    """The continuum of some servers."""

    def __init__(self, servers: Sequence[RingServer]) -> None:
        """Place the servers; UsageError when they can't make a ring."""
        problems = list(_problems(servers))
        if problems:
            raise UsageError(*problems)
        self.servers = tuple(servers)
        self.hashes = _hashes_of([server.memory for server in servers])
        """How many hashes each server has, shape (servers,); a server with none has no keys."""
        digests = b"".join(
            _md5(b"%s-%d" % (server.name.encode(errors="surrogateescape"), number))
            for server, count in zip(servers, self.hashes.tolist(), strict=True)
            for number in range(count)
        )
        points = np.frombuffer(digests, "<u4").astype(np.uint32)
        owners = np.repeat(np.arange(len(servers), dtype=np.uint16), 4 * self.hashes)
        order = np.argsort(points, kind="stable")
        self.points: npt.NDArray[np.uint32] = points[order]
        """Places on the circle, ascending."""
        self._owners: Owners = owners[order]

    def owner(self, key: str) -> RingServer:
        """Return the server that a key belongs to."""
        return self.servers[int(self.owners_of([key.encode(errors="surrogateescape")])[0])]

    def owners_of(self, keys: Iterable[bytes]) -> Owners:
        """Return the index of the server of each key."""
        hashes = np.frombuffer(b"".join(_md5(key)[:4] for key in keys), "<u4")
        return self._owners[np.searchsorted(self.points, hashes) % len(self.points)]

    def owners_of_users(self, users: Iterable[int]) -> Owners:
        """Return the index of the server of each user: of a range or a list of ids, or of an array's `tolist()`."""
        return self.owners_of(b"%d" % user for user in users)

    def shares(self) -> npt.NDArray[np.float64]:
        """Return the share of the circle that each server has, which are the keys that it gets; the sum is 1."""
        before = np.concatenate([self.points[-1:].astype(np.int64) - (1 << 32), self.points[:-1].astype(np.int64)])
        arcs = self.points.astype(np.int64) - before
        return np.bincount(self._owners, arcs, len(self.servers)) / (1 << 32)


def _md5(text: bytes) -> bytes:
    return hashlib.md5(text, usedforsecurity=False).digest()


def _hashes_of(memory: list[int]) -> npt.NDArray[np.int64]:
    """Return how many hashes each server has, rounded wherever libketama's arithmetic rounds.

    The share is a C float, its product with 40.0 and the number of servers a double, and floorf makes a float of that.
    """
    of_each = np.array(memory, np.int64)
    share = of_each.astype(np.float32) / of_each.sum().astype(np.float32)
    product = share.astype(np.float64) * _HASHES * len(memory)
    counts: npt.NDArray[np.int64] = np.floor(product.astype(np.float32)).astype(np.int64)
    return counts


def _problems(servers: Sequence[RingServer]) -> Iterator[str]:
    if not servers:
        yield "A ring needs a server at the least: name them, as in 10.0.0.1:8000,10.0.0.2:8000."
    if len(servers) > MAX_SERVERS:
        yield f"A ring has at most {MAX_SERVERS:,} servers, not {len(servers):,}."
    names = Counter(server.name for server in servers)
    yield from (
        f"The server {name} is named {count} times: name it once." for name, count in names.items() if count > 1
    )
    for name, memory in servers:
        if not 1 <= memory <= MAX_MEMORY:
            yield f"The memory of the server {name} must be from 1 to {MAX_MEMORY:,}, not {memory:,}."
