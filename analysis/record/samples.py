"""One row of `samples.csv`: what a run looked like at one time. The fields are described in docs/run-record.md."""

import msgspec

from floodtest.analysis.record.stages import Stage


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A row of samples; None is what could not be read on this machine, or what this run has not got."""

    time: float
    stage: str
    not_reached: int
    in_flight: int
    open: int
    failed: int
    closed_early: int
    received: int
    bytes: int
    missing: int
    repeated: int
    server_private: int | None
    client_private: int
    server_cpu: float | None
    client_cpu: float
    mem_available: int
    slab: int
    kernel_stack: int
    page_tables: int
    percpu: int
    sockets: int
    tcp_inuse: int
    tcp_time_wait: int
    tcp_queued: int
    slab_tcp: int | None = None
    slab_sock_inode: int | None = None
    slab_filp: int | None = None
    slab_dentry: int | None = None
    slab_epoll: int | None = None
    server_open: int | None = None
    server_logins: int | None = None
    server_rejected: int | None = None
    server_slow: int | None = None
    messages: int = 0
    server_messages: int | None = None
    server_routed: int | None = None
    router_cpu: float | None = None
    latency_p50: float | None = None
    latency_p99: float | None = None
    latency_max: float | None = None
    machine_cpu: float | None = None
    kernel_cpu: float | None = None
    swapped: int | None = None
    jumps: int = 0
    pings: int = 0
    misdelivered: int = 0
    polls: int = 0
    server_begun: int | None = None
    client_begun: int | None = None
    mem_obtainable: int | None = None
    packets_dropped: int | None = None

    @property
    def kernel(self) -> int:
        """Bytes the kernel keeps for sockets, files and processes."""
        return self.slab + self.kernel_stack + self.page_tables + self.percpu


def memory_left(sample: Sample) -> int:
    """Return the bytes of memory that could be had; in records from before `mem_obtainable` those of MemAvailable."""
    return sample.mem_available if sample.mem_obtainable is None else sample.mem_obtainable


def filling(samples: list[Sample]) -> list[int]:
    """Return which samples show connections being opened: the hold adds none, and ticks would pass for slope."""
    stages = [sample.stage for sample in samples]
    before = [at for at, stage in enumerate(stages) if stage == Stage.START][-1:]
    ramp = [at for at, stage in enumerate(stages) if stage == Stage.RAMP]
    held = [at for at, stage in enumerate(stages) if stage == Stage.HOLD][:1]
    return [*before, *ramp, *held]


FIELDS = Sample.__struct_fields__

_UNIT_OF = {
    "seconds": ("time", "server_cpu", "client_cpu", "router_cpu", "machine_cpu", "kernel_cpu"),
    "milliseconds": ("latency_p50", "latency_p99", "latency_max"),
    "bytes": (
        *("bytes", "server_private", "client_private", "mem_available", "slab", "kernel_stack", "page_tables"),
        *("percpu", "tcp_queued", "slab_tcp", "slab_sock_inode", "slab_filp", "slab_dentry", "slab_epoll", "swapped"),
        "mem_obtainable",
    ),
    "name": ("stage",),
}
UNITS = dict.fromkeys(FIELDS, "count") | {field: unit for unit, fields in _UNIT_OF.items() for field in fields}
"""The unit of each field of a sample: seconds, milliseconds, bytes, count, or name for the stage."""
