"""On paper, with measured costs: what 1, 12 and 100 million connections take of hosts, routers and the wire between.

`python -m benchmarks.scale` prints the tables of docs/scale.md, which says where each cost was measured. Users are
placed by the ring, as they would be; how unequal machines are, and how many of them a message goes to, is counted in a
friend graph. Pure but for that graph; takes some seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.datagen.graph import friend_graph
from floodtest.wire.ring import Ring, RingServer

SIZES = (1_000_000, 12_000_000, 100_000_000)

GIB = 1 << 30

USED = 0.6
"""The share of a host's cores that may be used: what is beyond it is for peaks."""

RESERVED = 0.1
"""The share of a host's memory that is left free."""

LINK = 1.25e9
"""Bytes a second of a network of 10 Gbit/s."""


@dataclass(frozen=True)
class Costs:
    """What was measured, of the server's end: docs/benchmarks.md."""

    kernel_bytes: float = 10_100 / 2
    """A connection; both ends have 10.1 KB at 1,054,000."""
    user_bytes: float = 50
    fixed_bytes: float = 160 << 20
    """Of a front machine's processes, before the first connection."""
    delivery_us: float = 42.4 / 2
    """Of CPU at a front; both ends and the router took 42.4."""
    opening_us: float = 50 / 2
    router_us: float = 0.24 / 16_666 * 1e6
    """Of CPU a message, its HTTP included: 24% of a core at 16,666 a second."""
    bus: tuple[tuple[float, float], ...] = ((8, 141.0), (800, 4.5), (8000, 0.94))
    """Rows of a frame to one machine, and microseconds of CPU a delivery over Valkey: by a prototype with two machines
    and 1, 100 and 1,000 messages a frame, router and fronts together."""
    pair_bytes: float = 5.6
    watches_a_gib: float = 5_491_511 / 24
    """Descriptors that epolls of all processes may watch (fs.epoll.max_user_watches, by the memory)."""

    def bus_us(self, rows: float) -> float:
        """Return the microseconds of a delivery where a frame has so many rows: between those that were measured, and
        beyond them, by lines through their logarithms.
        """
        points = [(math.log(at), math.log(us)) for at, us in self.bus]
        place = min(max(sum(at <= rows for at, _ in self.bus), 1), len(points) - 1)
        (left, low), (right, high) = points[place - 1], points[place]
        return math.exp(low + (math.log(rows) - left) * (high - low) / (right - left))


@dataclass(frozen=True)
class Host:
    """A machine; a core of it does as much as one of those on which costs were measured."""

    cores: int
    memory: int

    @property
    def name(self) -> str:
        return f"{self.cores} cores, {self.memory // GIB} GiB"


HOSTS = (Host(2, 24 * GIB), Host(32, 256 * GIB))


@dataclass(frozen=True)
class Load:
    """What users get."""

    name: str
    messages: float
    """A second, for each user."""
    deliveries: float = 16
    """Of a message: to its user and 15 friends."""
    text: int = 100
    """Bytes of a message."""


LOADS = (Load("held only", 0.0), Load("messages as in 2008", 16_666 / 1e6))

ROW_BYTES = 8
"""Of a frame: a user and the number of a message in the frame, for each delivery."""

FRAME = 1000
"""Messages that a router puts together under load."""


@dataclass(frozen=True)
class Placement:
    """How users and messages spread over machines that a ring has."""

    machines: int
    unequal: float
    """Deliveries at the machine with most of them, in means of all machines, to a hundredth."""
    hit: float
    """Machines that a message goes to, on average, to a tenth."""


def placement_of(machines: int, pairs: npt.NDArray[np.uint32], messages: int = 20_000, seed: int = 1) -> Placement:
    """Count where messages about random users go, each to its subject and all who subscribed to that."""
    users = int(pairs.max())
    ring = Ring([RingServer(f"front-{number}", 1) for number in range(machines)])
    owners = ring.owners_of_users(range(1, users + 1)).astype(np.int64)
    subjects = np.random.default_rng(seed).integers(1, users + 1, messages)
    numbers = np.zeros(users + 1, np.int64)
    numbers[subjects] = np.arange(1, messages + 1)  # of several about one user the last one is taken
    is_told = numbers[pairs[:, 1]] > 0  # a pair's first user subscribed to its second
    about = np.concatenate([numbers[pairs[is_told, 1]], numbers[subjects]])
    at = owners[np.concatenate([pairs[is_told, 0].astype(np.int64), subjects]) - 1]
    counts = np.bincount(at, minlength=machines)
    hits = len(np.unique(about * machines + at))
    return Placement(machines, round(float(counts.max() / counts.mean()), 2), round(hits / len(np.unique(about)), 1))


@dataclass(frozen=True)
class Bounds:
    """How many users one host may hold, by what ends first there."""

    memory: float
    watches: float
    cpu: float

    @property
    def least(self) -> float:
        return min(self.memory, self.watches, self.cpu)

    @property
    def first(self) -> str:
        """Return what ends first."""
        return min(("memory", "watches", "cpu"), key=lambda name: float(getattr(self, name)))


COSTS = Costs()


def rows_of(load: Load, machines: float) -> float:
    """Return how many deliveries of a frame's messages go to each machine."""
    return FRAME * load.deliveries / machines


def bounds_of(host: Host, load: Load, machines: float = 1, costs: Costs = COSTS) -> Bounds:
    """Return how many users of a load a front machine may hold that is one of so many."""
    each = costs.kernel_bytes + costs.user_bytes
    cpu_us = load.messages * load.deliveries * (costs.delivery_us + costs.bus_us(rows_of(load, machines)))
    return Bounds(
        memory=((1 - RESERVED) * host.memory - costs.fixed_bytes) / each,
        watches=costs.watches_a_gib * host.memory / GIB,
        cpu=USED * host.cores * 1e6 / cpu_us if cpu_us else math.inf,
    )


@dataclass(frozen=True)
class Needs:
    """What so many users take."""

    users: int
    host: Host
    load: Load
    machines: int
    first: str
    """What bounds a machine."""
    shards: int
    """Routers, of one core each."""
    frames: float
    """A second, over the bus."""
    bus_bytes: float
    """A second."""
    store_bytes: float
    load_hosts: int
    """Of the same kind, that open the connections; each has as much memory as a server's end."""
    addresses: int
    """Source addresses of each of them."""
    ramp_seconds: float
    """Until all are open, at the pace of the servers."""


def needs_of(users: int, host: Host, load: Load, unequal: float, hit: float, costs: Costs = COSTS) -> Needs:
    """Return what users take where the fullest machine has `unequal` times the mean, and a message goes to `hit`."""
    machines = machines_for(users, host, load, unequal, costs)
    bounds = bounds_of(host, load, machines, costs)
    messages = users * load.messages
    router_us = messages * (costs.router_us + load.deliveries * costs.bus_us(rows_of(load, machines)))
    shards = max(1, math.ceil(router_us / (USED * 1e6)))
    by_memory = math.ceil(users / min(bounds.memory, bounds.watches))
    return Needs(
        users=users,
        host=host,
        load=load,
        machines=machines,
        first=bounds.first,
        shards=shards,
        frames=messages / FRAME * machines,
        bus_bytes=messages * (load.deliveries * ROW_BYTES + min(hit, machines) * load.text),
        store_bytes=users * (load.deliveries - 1) * costs.pair_bytes,
        load_hosts=max(by_memory, machines if load.messages else 0),
        addresses=math.ceil(users / max(by_memory, machines if load.messages else 0, 1) / 62_000),
        ramp_seconds=users * unequal / machines * costs.opening_us / 1e6 / (USED * host.cores),
    )


def machines_for(users: int, host: Host, load: Load, unequal: float, costs: Costs = COSTS) -> int:
    """Return the least number of front machines: the more there are, the fewer rows a frame to each of them has."""
    machines = 1
    while (wanted := math.ceil(users * unequal / bounds_of(host, load, machines, costs).least)) > machines:
        machines = wanted
    return machines


def is_too_thin(load: Load, machines: int, costs: Costs = COSTS) -> bool:
    """Whether frames to each of so many machines have fewer rows than any that were measured."""
    return load.messages > 0 and rows_of(load, machines) < costs.bus[0][0]


def breaking_points(load: Load, host: Host, hit: float, costs: Costs = COSTS) -> list[tuple[str, float]]:
    """Return at how many users each part ends of which there is one: the first to end first."""
    router_us = load.messages * (costs.router_us + load.deliveries * costs.bus_us(rows_of(load, 1)))
    bytes_a_user = load.messages * (load.deliveries * ROW_BYTES + hit * load.text)
    found = [
        ("one front machine", bounds_of(host, load, 1, costs).least),
        ("one router, of one core", USED * 1e6 / router_us),
        ("one Valkey, at 10 Gbit/s in and out", LINK / bytes_a_user),
        (
            "the store in the memory of one host",
            host.memory * (1 - RESERVED) / ((load.deliveries - 1) * costs.pair_bytes),
        ),
        ("ids of up to 9 digits", 999_999_999),
    ]
    return sorted(found, key=lambda row: row[1])


GRAPH_USERS, FRIENDS = 200_000, 15

PLACED = (2, 12, 100, 600)
"""Numbers of machines for which messages are followed."""


def placements(users: int = GRAPH_USERS) -> list[Placement]:
    """Follow messages in a friend graph, over several numbers of machines."""
    pairs = np.asarray(friend_graph(users, FRIENDS, seed=1), np.uint32)
    return [placement_of(machines, pairs) for machines in PLACED]


def _nearest(found: Sequence[Placement], machines: float) -> Placement:
    """Return the placement over the number of machines that is next to one: machines are as unequal as these."""
    return min(found, key=lambda one: abs(math.log(one.machines / machines)))


def all_needs(found: Sequence[Placement]) -> Iterator[Needs]:
    """Yield what each size takes, on each kind of host and with each load."""
    for host in HOSTS:
        for load in LOADS:
            for users in SIZES:
                about = machines_for(users, host, load, 1.0)
                placed = _nearest(found, about)
                yield needs_of(users, host, load, placed.unequal if about > 1 else 1.0, placed.hit)


def _rounded(value: float) -> str:
    """Write two digits of a number."""
    if value <= 0:
        return "0"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}"


HEAD = (
    *("hosts of", "load", "connections", "front machines, bound by", "routers", "frames a second"),
    *("rows of a frame", "bus, MB/s", "store, GiB", "load hosts, addresses of each", "ramp, s"),
)


TOO_THIN = "none are enough: frames get too thin"


def _cells(needs: Needs) -> tuple[str, ...]:
    about = (needs.host.name, needs.load.name, f"{needs.users // 1_000_000} M")
    if is_too_thin(needs.load, needs.machines):
        return (*about, TOO_THIN, *["-"] * (len(HEAD) - len(about) - 1))
    return (
        *about,
        f"{needs.machines:,}, {needs.first}",
        f"{needs.shards:,}",
        _rounded(needs.frames),
        _rounded(rows_of(needs.load, needs.machines)) if needs.frames else "-",
        _rounded(needs.bus_bytes / 1e6),
        _rounded(needs.store_bytes / GIB),
        f"{needs.load_hosts:,}, {needs.addresses}",
        _rounded(needs.ramp_seconds),
    )


def tables(found: Sequence[Placement]) -> str:
    """Return the tables of docs/scale.md."""
    lines = ["| machines | deliveries at the fullest, in means | machines that a message goes to |", "|---|---|---|"]
    lines += [f"| {one.machines} | {one.unequal:.2f} | {one.hit:.1f} |" for one in found]
    lines += ["", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    lines += [f"| {' | '.join(_cells(needs))} |" for needs in all_needs(found)]
    for host in HOSTS:
        lines += ["", f"| {host.name}: one of | ends at, million connections |", "|---|---|"]
        points = breaking_points(LOADS[1], host, _nearest(found, 100).hit)
        lines += [f"| {name} | {_rounded(users / 1e6)} |" for name, users in points]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables(placements()), end="")
