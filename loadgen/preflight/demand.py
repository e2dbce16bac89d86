"""What a run asks of a machine: sockets, workers, memory by kind, time. Pure but for the sizes of kernel objects.

Memory of the kernel is a sum over the objects behind a socket, at the sizes that this kernel says they have, or that
Linux 6.18 has where only root may look. User memory, which depends on the models (`loadgen.plan.models`), and the rate
of opening are what our own runs took (docs/benchmarks.md): a fixed cost an end, some more a process and a worker, and
tens of bytes a connection.
"""

from dataclasses import dataclass, field, replace

import msgspec

from floodtest.flyweight.machine.files import MAX_FILES, can_unshare_files
from floodtest.flyweight.processes.worker_count import workers_wanted
from floodtest.loadgen.network.wish import HOST, Network
from floodtest.loadgen.plan.models import (
    CLIENT_MODELS,
    DEFAULT_CLIENT_MODEL,
    DEFAULT_SERVER_MODEL,
    SERVER_MODELS,
    ClientModel,
    ServerModel,
)
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import Pacer, steady
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.targets import Target, addresses_elsewhere


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
    traffic: bool = False
    """Whether the server sends ticks or messages."""
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
    KernelObject("sock_inode_cache", "socket inodes", "socket", 862.3),
    KernelObject("filp", "open files", "socket", 195.0),
    KernelObject("dentry", "directory entries", "socket", 195.0),
    KernelObject("eventpoll_epi", "epoll items", "socket", 128.0),
    KernelObject("eventpoll_pwq", "epoll items", "socket", 64.0),
    KernelObject("ep_head", "epoll items", "socket", 16.0),
    KernelObject("tcp_bind2_bucket", "source pairs", "connection", 128.0),
    KernelObject("tcp_bind_bucket", "source pairs", "port", 128.0),
    KernelObject("lsm_file_cache", "other", "socket", 24.1),
    KernelObject("lsm_inode_cache", "other", "socket", 32.0),
)

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
    total: int
    ramp_seconds: float


def forecast(demand: Demand, machine: Machine) -> Forecast:
    """Predict what a run takes of this machine."""
    connections, files_limit = demand.connections, min(machine.files[1], MAX_FILES)
    workers = workers_wanted(connections, files_limit)
    processes = min(machine.cores, workers) if can_unshare_files() else workers
    client, server = (
        end.memory.of(connections, workers, processes, demand.traffic and demand.bundled)
        for end in (CLIENT_MODELS[demand.client_model], SERVER_MODELS[demand.server_model])
    )
    kernel, source = kernel_memory(demand, machine)
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
        total=client + (server if demand.bundled else 0) + sum(kernel.values()) + table,
        ramp_seconds=_ramp_seconds(demand, machine),
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
    for item in [UNIX, *others] if plan.is_anonymous else KERNEL_OBJECTS:
        cache = TCP_OF_IPV6 if item.cache == "TCP" and ":" in plan.base_ip else item.cache
        size = (machine.slab_bytes(cache) or 0.0) if readable else item.size  # 0: this kernel has no such thing
        found[item.kind] = found.get(item.kind, 0.0) + counts[item.per] * size
    found["other"] += OTHER_BYTES * demand.sockets
    source = "/sys/kernel/slab" if readable else "those of Linux 6.18, since this kernel's can't be read"
    return {kind: int(size) for kind, size in found.items()}, source


def _ramp_seconds(demand: Demand, machine: Machine) -> float:
    """Return how long the ramp takes: as long as planned, or as long as the cores need."""
    ends = 2 if demand.server_here else 1
    work = demand.connections * ends / 2 / (OPENED_PER_CORE * machine.cores)
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
        traffic=options.tick is not None or options.messages is not None,
        client_model=options.client,
        server_model=options.server_model,
        server_files=server_files,
        server_backlog=server_backlog,
    )
