"""The table of hosts in the report of a run on several machines: what each opened, what that cost it, how far off its
clock is. In: hosts. Out: a table of text, or none for a run on one machine. Pure.
"""

from collections.abc import Sequence
from itertools import compress

from floodtest.analysis.figures.formatting import each, number
from floodtest.analysis.pages.html import Table
from floodtest.analysis.record import Record
from floodtest.analysis.record.hosts import Host, HostFacts
from floodtest.analysis.record.summary import Latency
from floodtest.flyweight.command.units import size

HEAD = (
    *("host", "opened", "client, user memory", "each", "kernel, each", "CPU, client", "CPU, whole host"),
    *("latency 50%", "99%", "clock"),
)

UNREAD = "can't be read"


def table_of_hosts(hosts: Sequence[Host]) -> Table | None:
    """Return what each host opened and what that cost it; columns of which no host has anything are left out."""
    if not hosts:
        return None
    caption = (
        "Memory at the most, and of a connection with all of them open; CPU from the first sample to the last. "
        "Latency in milliseconds, by the clock of whoever stamped the messages: across hosts it may be off by what is "
        "said of the clock. Each host's own record is in hosts/."
    )
    rows = [_row(host) for host in hosts]
    shown = [any(column) for column in zip(*rows, strict=True)]
    head, *rows = [tuple(compress(row, shown)) for row in (HEAD, *rows)]
    return Table(head, rows, caption)


def _row(host: Host) -> tuple[str, ...]:
    record = host.record
    if record is None:
        return (host.name, UNREAD, *[""] * (len(HEAD) - 3), _clock(host.facts))
    summary = record.summary
    user, kernel = (None, None)
    if summary is not None:
        user, kernel = summary.memory.client_user_bytes_per_connection, summary.memory.kernel_bytes_per_connection
    most = max((sample.client_private for sample in record.samples), default=None)
    latency = _latency(record)
    return (
        host.name,
        _opened(record),
        size(most),
        each(user),
        each(kernel),
        _used(record, "client_cpu"),
        _used(record, "machine_cpu"),
        "" if latency is None else number(latency.p50),
        "" if latency is None else number(latency.p99),
        _clock(host.facts),
    )


def _opened(record: Record) -> str:
    if record.summary is not None:
        opened, planned = record.summary.connections.opened, record.summary.connections.planned
        return f"{opened:,} of {planned:,}"
    if not record.samples:
        return "lost before its first sample"
    last = record.samples[-1]
    return f"lost with {last.open:,} open"


def _used(record: Record, field: str) -> str:
    """Write the CPU seconds that a host used between its first sample and its last."""
    known = [value for sample in record.samples if (value := getattr(sample, field)) is not None]
    return f"{known[-1] - known[0]:,.1f} s" if known else ""


def _latency(record: Record) -> Latency | None:
    summary = record.summary
    if summary is None:
        return None
    if summary.messages is not None:
        return summary.messages.latency_ms
    return None if summary.server_times is None else summary.server_times.latency_ms


def _clock(facts: HostFacts) -> str:
    clock = facts.clock
    if clock is None:
        return "the run's" if facts.aligned_by == "monotonic" else "not measured"
    moved = "" if clock.drift_us is None else f", moved by {clock.drift_us:+,.1f} µs"
    return f"{clock.ahead_seconds:+,.6f} s ± {clock.bound_us:,.1f} µs{moved}"
