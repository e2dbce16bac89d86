"""Friend graphs: Barabási-Albert, by igraph, as in 2008 (`Graph.Barabasi(1000000, 15, directed=False)`).

In: numbers of users and of friends that each newcomer makes, and a seed. Out: pairs of ids from 1 on, ascending, the
older user of a friendship first: the order and the direction that igraph's own edge list has, whose ids begin with 0.
The same seed gives the same pairs with the same igraph.

Cost: what igraph takes, 60 bytes of memory a friendship at its peak, and a second for 15 million of them. Fails:
UsageError for sizes that are no graph, Refused for one that does not fit into memory.
"""

import ctypes
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from floodtest.datagen.files import MAX_ID, Pairs
from floodtest.flyweight.errors import Refused, UsageError
from floodtest.flyweight.machine.files import need_proc
from floodtest.flyweight.machine.headroom import MemoryGauge


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let a module that has not been imported be missing as long as the block lasts."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


# igraph imports all of matplotlib if there is one: half a second, and settings of a user's that can end the import.
with _hidden("matplotlib"):
    import igraph

BYTES_A_FRIENDSHIP = 65
"""igraph's peak while it makes one: 894 MiB for 15 million (igraph 1.0), and what we add."""


def problems(users: int, friends: int) -> list[str]:
    """Return a sentence for each size that makes no sense."""
    found = []
    if not 2 <= users <= MAX_ID:
        found.append(f"-n must be from 2 to {MAX_ID:,} users, not {users:,}.")
    if friends < 1:
        found.append(f"-m must be at least 1 friend, not {friends:,}.")
    elif friends >= users >= 2:
        found.append(f"-m {friends:,} must be less than -n {users:,}: nobody has more friends than there are others.")
    return found


def friend_graph(users: int, friends: int, seed: int) -> Pairs:
    """Return the friendships of a graph in which each newcomer makes `friends`, preferably with who has many."""
    found = problems(users, friends)
    if found:
        raise UsageError(*found)
    _check_memory(users * friends)
    igraph.set_random_number_generator(random.Random(seed))
    try:
        graph = igraph.Graph.Barabasi(users, friends, directed=False)
    finally:
        igraph.set_random_number_generator(random)  # what it uses if nobody asks
    friendships = _keys_in_memory(graph)
    if friendships is None:
        friendships = _keys_by_neighbors(graph)
    friendships.sort()
    return _unpacked(friendships)


def _check_memory(friendships: int) -> None:
    need_proc()
    room = MemoryGauge().read()
    needed = friendships * BYTES_A_FRIENDSHIP
    if needed > room.free:
        raise Refused(
            f"{friendships:,} friendships take about {needed / 2**30:.1f} GiB of memory to make, and "
            f"{max(0, room.free) / 2**30:.1f} GiB are free beyond a reserve. Ask for fewer users (-n) or friends (-m)."
        )


# A friendship as one number: the older user in the upper half, the newer one in the lower, both from 0 on.

Keys = npt.NDArray[np.uint64]


def _unpacked(keys: Keys) -> Pairs:
    pairs = np.empty((len(keys), 2), np.uint32)
    pairs[:, 0] = keys >> np.uint64(32)
    pairs[:, 1] = keys & np.uint64(0xFFFFFFFF)
    pairs += np.uint32(1)
    return pairs


class _Vector(ctypes.Structure):
    """igraph_vector_int_t (igraph_vector_pmt.h)."""

    _fields_ = (("begin", ctypes.c_void_p), ("storage_end", ctypes.c_void_p), ("end", ctypes.c_void_p))

    def integers(self) -> npt.NDArray[np.int64]:
        count = ((self.end or 0) - (self.begin or 0)) // 8
        return np.ctypeslib.as_array(ctypes.cast(self.begin, ctypes.POINTER(ctypes.c_int64)), (count,))


class _Graph(ctypes.Structure):
    """The beginning of igraph_t (igraph_datatype.h)."""

    _fields_ = (("vertices", ctypes.c_int64), ("directed", ctypes.c_bool), ("from_", _Vector), ("to", _Vector))


SAMPLE = 1000


def _keys_in_memory(graph: igraph.Graph) -> Keys | None:
    """Read the friendships where igraph has them; None if this igraph lays them out in another way.

    Its Python interface would make 15 million tuples first, which takes 2 GB and 10 s. What is read is held against
    what that interface says of edges all over the graph before it is believed.
    """
    raw = _Graph.from_address(graph._raw_pointer())
    edges = graph.ecount()
    if raw.vertices != graph.vcount() or len(raw.from_.integers()) != edges or len(raw.to.integers()) != edges:
        return None
    newer, older = raw.from_.integers(), raw.to.integers()
    for edge in range(0, edges, max(1, edges // SAMPLE)):
        if (older[edge], newer[edge]) != graph.es[edge].tuple:
            return None
    keys: Keys = older.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= newer.view(np.uint64)
    return keys


def _keys_by_neighbors(graph: igraph.Graph) -> Keys:
    """Ask igraph for each user's friends: its own interface, five times slower, and it needs no belief."""
    users = np.arange(graph.vcount(), dtype=np.uint64)
    own = np.repeat(users, graph.degree())
    others = np.fromiter(
        islice(chain.from_iterable(map(graph.neighbors, range(graph.vcount()))), len(own)), np.uint64, len(own)
    )
    older = own < others
    return own[older] << np.uint64(32) | others[older]
