"""What a run asks of a machine: sockets, tasks, memory by kind, time. Pure but for the sizes of kernel objects.

Memory of the kernel is a sum over the objects behind a socket, at the sizes that this kernel says they have, or that
Linux 6.18 has where only root may look. User memory, which depends on the models (`loadgen.plan.models`), and the rate
of opening are what our own runs took (docs/benchmarks.md): a fixed cost an end, some more a process and a worker, and
tens of bytes a connection. None of it grows by doubling: the columns of a worker have a row for each file that it may
open from the beginning, and the kernel has an object for each connection, so that there is no peak behind a number of
connections that is not in the sum.

To what is held comes what messages take while they wait in the queues of sockets, at the most, and the store that the
router reads. Loading friends takes memory before the server starts, and has given it back by then.
"""

import math
from dataclasses import dataclass, field, replace

import msgspec

from floodtest.flyweight.machine.files import MAX_FILES, can_unshare_files
from floodtest.flyweight.machine.headroom import DENTRY_BYTES, INODE_BYTES
from floodtest.flyweight.processes.worker_count import workers_wanted
from floodtest.loadgen.network.wish import HOST, Network
from floodtest.loadgen.plan.models import (
    CLIENT_MODELS,
    DEFAULT_CLIENT_MODEL,
    DEFAULT_SERVER_MODEL,
    POLL_BYTES,
    SERVER_MODELS,
    TLS_MEMORY,
    TLS_OBJECT_BYTES,
    ClientModel,
    ServerModel,
    UserMemory,
)
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import Pacer, steady
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.handshake_cost import HandshakeCost
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.subscription_sizes import NO_SUBSCRIPTIONS, SubscriptionSizes, sizes_of
from floodtest.loadgen.preflight.targets import Target, addresses_elsewhere


@dataclass(frozen=True)
class Traffic:
    """What a server sends while connections are held: ticks to all of them, so many messages a second, or nothing."""

    ticks: bool = False
    messages: float = 0.0
    to_all: bool = False
    """Whether each message is for all connections, and not for its user and who subscribed."""
    size: int = 0
    """Bytes of a message."""

    def __bool__(self) -> bool:
        return self.ticks or self.messages > 0


@dataclass(frozen=True)
class Demand:
    """A run as the machine feels it."""

    plan: Plan
    bundled: bool = True
    """Whether the server is ours."""
    server_here: bool = True
    """Whether both ends of each connection are on this machine."""
    hash_entries: int | None = None
    """Entries of tables of established connections of its own, all together; None where the host's is used."""
    isolated: bool = False
    explicit_ports: bool = True
    in_flight: int = 1024
    pacer: Pacer = field(default_factory=lambda: steady(None))
    traffic: Traffic = Traffic()
    """What the server sends."""
    polls: bool = False
    """Whether connections poll."""
    tls: bool = False
    """Whether they speak TLS."""
    tls_objects: bool = False
    """Whether that is TLS 1.2 only, whose connections keep objects of OpenSSL."""
    subscriptions: SubscriptionSizes = NO_SUBSCRIPTIONS
    client_model: ClientModel = DEFAULT_CLIENT_MODEL
    server_model: ServerModel = DEFAULT_SERVER_MODEL
    """How each end holds its connections."""
    margin: float = 1.0
    """By how much more memory must be there than is predicted."""
    server_files: int | None = None
    """Files that the processes of a server that is not ours may have open together, if they are known."""
    server_backlog: int | None = None
    """Connections that may wait in its listeners' queues together, if they are on this machine."""

    def of(self, connections: int) -> "Demand":
        """Return the demand of fewer connections."""
        return replace(self, plan=replace(self.plan, connections=connections))

    @property
    def connections(self) -> int:
        return self.plan.connections

    @property
    def sockets(self) -> int:
        """Sockets on this machine."""
        return self.connections * (2 if self.server_here else 1)

    @property
    def unread(self) -> int:
        """Messages that wait to be read at one moment, at the most: one a connection, as what comes behind it is added
        to it. A tick is written to all before the last of them have read it; of single messages those of a second wait.
        """
        traffic = self.traffic
        each = self.connections if traffic.to_all else 1 + self.subscriptions.pairs / self.connections
        waiting = math.ceil(traffic.messages * each * UNREAD_SECONDS)
        return self.connections if traffic.ticks else min(self.connections, waiting)


@dataclass(frozen=True)
class KernelObject:
    """A kind of object that the kernel makes for a connection: so many at each end, or for each source pair or port."""

    cache: str
    kind: str
    per: str
    size: float
    """Bytes where the kernel does not say: those of Linux 6.18 on x86-64, packing included."""


KERNEL_OBJECTS = (
    KernelObject("TCP", "TCP sockets", "socket", 2520.6),
    KernelObject("sock_inode_cache", "socket inodes", "socket", INODE_BYTES),
    KernelObject("filp", "open files", "socket", 195.0),
    KernelObject("dentry", "directory entries", "socket", DENTRY_BYTES),
    KernelObject("eventpoll_epi", "epoll items", "socket", 128.0),
    KernelObject("eventpoll_pwq", "epoll items", "socket", 64.0),
    KernelObject("ep_head", "epoll items", "socket", 16.0),
    KernelObject("tcp_bind2_bucket", "source pairs", "connection", 128.0),
    KernelObject("tcp_bind_bucket", "source pairs", "port", 128.0),
    KernelObject("lsm_file_cache", "other", "socket", 24.1),
    KernelObject("lsm_inode_cache", "other", "socket", 32.0),
)

CONNTRACK = KernelObject("nf_conntrack", "tracked connections", "connection", 256.0)
"""Where a rule has connections tracked."""

UNREAD_SECONDS = 1.0

QUEUED_BYTES = 1280
"""Kernel memory of a short message in a socket's queue until it is read (skb->truesize of Linux 6.18). Measured by
stopping the client of 12,000 connections before a tick: 1,121 B of slabs each, and what is in the message."""

OTHER_BYTES = 100.0
"""Kernel memory a socket that no cache above explains, measured with 1,054,000 connections."""

TCP_OF_IPV6 = "TCPv6"

UNIX = KernelObject("UNIX", "Unix sockets", "socket", 1170.3)
"""Takes the place of all objects of TCP."""

HASH_ENTRY_BYTES = 8

OPENED_PER_CORE = 12_500
"""Connections a second that a core opens, both ends included."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is expected to take. Bytes and seconds."""

    connections: int
    client_workers: int
    server_workers: int | None
    files_limit: int
    client_user: int
    server_user: int | None
    kernel: dict[str, int]
    """By kind of object."""
    kernel_source: str
    hash_table: int
    queued: int
    """Messages that wait to be read, at the most."""
    store: int
    """Of subscriptions, in the page cache."""
    loading: int
    """What the loading of friends takes, which has ended before the server starts."""
    total: int
    """All of it together, but for `loading`."""
    ramp_seconds: float
    handshake_us: tuple[float, float] | None = None
    """CPU time of a handshake of TLS at the client and at a server with a key of P-256, as this machine took for it
    just now; None: TLS is not spoken."""

    @property
    def held(self) -> int:
        """What connections that are held take, and processes: what is measured at the beginning of the hold."""
        return self.client_user + (self.server_user or 0) + sum(self.kernel.values())

    @property
    def most(self) -> int:
        """What is taken at any moment of the run."""
        return max(self.total, self.loading)


def forecast(demand: Demand, machine: Machine) -> Forecast:
    """Predict what a run takes of this machine."""
    connections, files_limit = demand.connections, min(machine.files[1], MAX_FILES)
    workers = workers_wanted(connections, files_limit)
    processes = min(machine.cores, workers) if can_unshare_files() else workers
    client, server = (
        end.memory.of(connections, workers, processes, bool(demand.traffic) and demand.bundled)
        for end in (CLIENT_MODELS[demand.client_model], SERVER_MODELS[demand.server_model])
    )
    client += POLL_BYTES * connections if demand.polls else 0
    if demand.tls:
        client, server = (
            taken + _tls_memory(model, demand).of(connections, workers, processes, traffic=False)
            for taken, model in ((client, demand.client_model), (server, demand.server_model))
        )
    kernel, source = kernel_memory(demand, machine)
    queued, store = demand.unread * (QUEUED_BYTES + demand.traffic.size), demand.subscriptions.store
    table = HASH_ENTRY_BYTES * (demand.hash_entries or 0)
    return Forecast(
        connections=connections,
        client_workers=workers,
        server_workers=workers if demand.bundled else None,
        files_limit=files_limit,
        client_user=client,
        server_user=server if demand.bundled else None,
        kernel=kernel,
        kernel_source=source,
        hash_table=table,
        queued=queued,
        store=store,
        loading=demand.subscriptions.loading,
        total=client + (server if demand.bundled else 0) + sum(kernel.values()) + table + queued + store,
        ramp_seconds=_ramp_seconds(demand, machine),
        handshake_us=_in_us(machine.handshakes) if demand.tls else None,
    )


def kernel_memory(demand: Demand, machine: Machine) -> tuple[dict[str, int], str]:
    """Return the kernel's bytes by kind of object, and where their sizes come from."""
    plan = demand.plan
    counts = {
        "socket": demand.sockets,
        "connection": demand.connections,
        "port": min(plan.each, plan.connections),
    }
    readable = machine.slab_bytes("TCP") is not None
    found: dict[str, float] = {}
    others = [item for item in KERNEL_OBJECTS if item.per == "socket" and item.cache != "TCP"]
    objects = [UNIX, *others] if plan.is_anonymous else list(KERNEL_OBJECTS)
    for item in [*objects, CONNTRACK] if tracked(demand, machine) else objects:
        cache = TCP_OF_IPV6 if item.cache == "TCP" and ":" in plan.base_ip else item.cache
        size = (machine.slab_bytes(cache) or 0.0) if readable else item.size  # 0: this kernel has no such thing
        found[item.kind] = found.get(item.kind, 0.0) + counts[item.per] * size
    found["other"] += OTHER_BYTES * demand.sockets
    source = "/sys/kernel/slab" if readable else "those of Linux 6.18, since this kernel's can't be read"
    return {kind: int(size) for kind, size in found.items()}, source


def tracked(demand: Demand, machine: Machine) -> int:
    """Return how many connections conntrack has to track: none where it is there but has no rule to track for."""
    is_used = machine.setting("net/netfilter/nf_conntrack_count") and not demand.isolated
    return demand.connections if is_used and not demand.plan.is_anonymous else 0


def _tls_memory(model: str, demand: Demand) -> UserMemory:
    """Return what an end of a model takes besides for TLS."""
    keeps_objects = demand.tls_objects or model != "columns"
    return TLS_MEMORY.with_each(TLS_OBJECT_BYTES) if keeps_objects else TLS_MEMORY


def _in_us(cost: HandshakeCost) -> tuple[float, float]:
    return round(cost.client * 1e6, 1), round(cost.server * 1e6, 1)


def _ramp_seconds(demand: Demand, machine: Machine) -> float:
    """Return how long the ramp takes: as long as planned, or as long as the cores need."""
    ends = 2 if demand.server_here else 1
    each = ends / 2 / OPENED_PER_CORE
    if demand.tls:
        each += machine.handshakes.client + (machine.handshakes.server if demand.server_here else 0.0)
    work = demand.connections * each / machine.cores
    return round(max(work, demand.pacer.time_of(demand.connections)), 1)


def demand_of(
    options: RunOptions,
    target: Target | None,
    network: Network = HOST,
    server_files: int | None = None,
    server_backlog: int | None = None,
) -> Demand:
    """Return what a run asks of the machine; `target` None is the bundled server."""
    return Demand(
        plan=options.plan,
        bundled=target is None,
        server_here=target is None or len(addresses_elsewhere(target)) < len(target.addresses),
        hash_entries=network.all_hash_entries,
        isolated=network.is_isolated,
        explicit_ports=options.ports == "explicit",
        in_flight=options.in_flight,
        pacer=options.pacer,
        traffic=_traffic_of(options),
        polls=options.polling is not None,
        tls=options.speaks_tls,
        tls_objects=options.speaks_tls and options.tls.tls_version == "1.2",
        subscriptions=sizes_of(options.friends, options.db),
        client_model=options.client,
        server_model=options.server_model,
        server_files=server_files,
        server_backlog=server_backlog,
    )


def _traffic_of(options: RunOptions) -> Traffic:
    messages, ticks = options.messages, options.tick is not None
    if messages is None:
        return Traffic(ticks)
    return Traffic(ticks, messages.rate, messages.deliver_to == "all", messages.size)
