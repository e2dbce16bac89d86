"""What a site says of itself at one moment, as one value, and the sums over several sites.

In: the columns and the ledger of a site. Out: a `Reading` of plain numbers and text, which can be sent over a network
as it is. `total` is the only place in which sites are added up. No I/O, no clock. Cost: some hundred microseconds for
50 workers, and for each tick or bucket of latency that is in use about a microsecond.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.loadgen.client import durations, histogram
from floodtest.loadgen.client.accounts import State, failure_name, named_failures
from floodtest.loadgen.client.kept_answers import KeptAnswer, few_of_each, read_kept
from floodtest.loadgen.client.tls_account import TlsReading, read_tls, total_tls
from floodtest.wire.names import PROTOCOLS

LOST = "LOST"
"""How connections are said to have ended that ended with their worker."""


class States(msgspec.Struct, frozen=True):
    """Connections by what became of them."""

    not_reached: int
    in_flight: int
    open: int
    failed: int
    closed_early: int

    @property
    def planned(self) -> int:
        """All of them: each planned connection is in one of the states, always."""
        return self.not_reached + self.in_flight + self.open + self.failed + self.closed_early


class Counters(msgspec.Struct, frozen=True):
    """What connections have received so far; the names are those of a `Sample`."""

    received: int
    bytes: int
    missing: int
    repeated: int
    jumps: int
    messages: int
    pings: int = 0
    misdelivered: int = 0
    polls: int = 0


class Sent(msgspec.Struct, frozen=True):
    """Messages whose time of sending, as their server says it, gives no latency."""

    ahead: int
    """It is after they were read."""
    old: int
    """It is longer ago than a latency can be."""
    unreadable: int
    """It is no time."""


class Negative(msgspec.Struct, frozen=True):
    """Stamped messages that took less than no time, and so have no latency: the clocks of two hosts are off."""

    planned: int = 0
    """They were read before they were planned, as the stamp says."""
    published: int = 0
    """They were read before they were published."""
    most_us: int = 0
    """By how much they were read before they were planned, at the most."""


class ReceivedTick(msgspec.Struct, frozen=True):
    """A tick as it was received: by how many connections, and when first and last (seconds of CLOCK_MONOTONIC)."""

    count: int
    first: float
    last: float


class Figures(msgspec.Struct, frozen=True):
    """What a site's processes and its machine cost; the names and units are those of a `Sample`."""

    client_private: int
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
    machine_cpu: float
    kernel_cpu: float
    swapped: int
    slab_tcp: int | None = None
    slab_sock_inode: int | None = None
    slab_filp: int | None = None
    slab_dentry: int | None = None
    slab_epoll: int | None = None
    mem_obtainable: int | None = None
    packets_dropped: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a site says of itself, or what several sites say together."""

    states: States
    counters: Counters
    attempts: int
    """Connections that were begun: all of each user's, where users have several one after another."""
    opens: int
    """Connections that opened."""
    begun: int
    """Workers that have begun a connection: each took memory of its own with its first."""
    put_off: int
    """Connections that had to wait for room in the queue of a Unix socket."""
    protocols: dict[str, int]
    """Connections that opened, by the protocol of their answer."""
    failed: dict[str, int]
    """Connections that failed, by `NAME@phase`."""
    closed_by: dict[str, int]
    """Connections that closed early, by NAME."""
    durations: dict[str, dict[int, int]]
    """How long connections took to open, and lived: by field, and by bucket (`client.durations`)."""
    answers: list[KeptAnswer]
    """The beginnings of a few answers that did not open their connection, of each cause."""
    ticks: dict[int, ReceivedTick]
    """By the number of the tick; the last ones only (`flyweight.engine.ledger.TICKS`)."""
    latency: dict[int, int]
    """Stamped messages by the bucket (`client.histogram`) of what they took from their planned time."""
    latency_published: dict[int, int]
    """Stamped messages by the bucket of what they took from the time at which they were published."""
    watched: int
    """Connections on which the kernel said when messages arrived."""
    watched_read: dict[int, int]
    """Messages of `latency` that came on these, and whose arrival is known, by the bucket of what they took."""
    watched_arrival: dict[int, int]
    """Messages of `watched_read`, by the bucket of how long they took until they arrived in the kernel."""
    watched_shared: int
    """Messages on these whose arrival is not known, since a later one was read together with them."""
    sent: Sent
    """Messages that say when they were sent (`wire.times`) and are not in `latency`."""
    negative: Negative = Negative()
    tls: TlsReading | None = None
    """None: TLS was not spoken."""
    first_message_ns: int
    """When the first message was read (CLOCK_MONOTONIC), 0 when none was."""
    last_message_ns: int
    replaced_ports: int
    """Connections whose planned port could not be had; counted when no more connections are begun."""
    workers: int
    files_limit: int
    """Open files that each worker may have: the least, where sites differ."""
    reasons: list[str]
    """What has gone wrong at the site: a sentence each, in the order in which it happened."""
    figures: Figures | None
    """None: they were not asked for, or could not be read, which is one of the reasons then."""


def read_accounts(
    counts: Mapping[State, int],
    ledger: Ledger,
    lost: Mapping[State, int],
    *,
    files_limit: int,
    replaced_ports: int = 0,
    reasons: Sequence[str] = (),
    figures: Figures | None = None,
) -> Reading:
    """Return the reading of a site from its accounts; `lost` are connections that ended with their worker, by state."""
    failed, closed_by = named_failures(ledger.total("failures"))
    if lost.get(State.IN_FLIGHT):
        failed[f"{LOST}@worker"] = lost[State.IN_FLIGHT]
    if lost.get(State.OPEN):
        closed_by[LOST] = lost[State.OPEN]
    return Reading(
        states=States(**{state.name.lower(): counts[state] for state in State}),
        counters=Counters(**{name: int(ledger.total(name)) for name in Counters.__struct_fields__}),
        attempts=int(ledger.total("attempts")),
        opens=int(ledger.total("opens")),
        begun=int(np.count_nonzero(ledger.rows["attempts"])),
        put_off=int(ledger.total("put_off")),
        protocols={
            name: count for name, count in zip(PROTOCOLS, ledger.total("protocols").tolist(), strict=True) if count
        },
        failed=failed,
        closed_by=closed_by,
        durations={field: histogram.sparse(ledger.total(field)) for field in durations.FIELDS},
        answers=read_kept(ledger.rows, failure_name),
        ticks={number: ReceivedTick(*seen) for number, seen in ledger.ticks().items()},
        latency=histogram.sparse(ledger.total("latency")),
        latency_published=histogram.sparse(ledger.total("latency_published")),
        watched=int(ledger.total("watched")),
        watched_read=histogram.sparse(ledger.total("watched_latency")[0]),
        watched_arrival=histogram.sparse(ledger.total("watched_latency")[1]),
        watched_shared=int(ledger.total("watched_shared")),
        sent=Sent(**{name: int(ledger.total(f"sent_{name}")) for name in Sent.__struct_fields__}),
        negative=_read_negative(ledger),
        tls=read_tls(ledger.rows),
        first_message_ns=min((int(ns) for ns in ledger.rows["first_ns"] if ns), default=0),
        last_message_ns=int(ledger.rows["last_ns"].max()),
        replaced_ports=replaced_ports,
        workers=len(ledger.rows),
        files_limit=files_limit,
        reasons=list(reasons),
        figures=figures,
    )


def _read_negative(ledger: Ledger) -> Negative:
    planned, published = ledger.total("negative").tolist()
    return Negative(planned, published, int(ledger.rows["most_negative_us"].max()))


def total(readings: Sequence[Reading]) -> Reading:
    """Add up the readings of sites, of which there is one at the least; figures only if each of them has some."""
    if len(readings) == 1:
        return readings[0]
    figures = [each.figures for each in readings if each.figures is not None]
    return Reading(
        states=_sum_of_fields([each.states for each in readings]),
        counters=_sum_of_fields([each.counters for each in readings]),
        attempts=sum(each.attempts for each in readings),
        opens=sum(each.opens for each in readings),
        begun=sum(each.begun for each in readings),
        put_off=sum(each.put_off for each in readings),
        protocols=_sum_of_counts(each.protocols for each in readings),
        failed=_sum_of_counts(each.failed for each in readings),
        closed_by=_sum_of_counts(each.closed_by for each in readings),
        durations={
            field: _sum_of_counts(each.durations.get(field, {}) for each in readings) for field in durations.FIELDS
        },
        answers=few_of_each([answer for each in readings for answer in each.answers]),
        ticks=_sum_of_ticks(readings),
        latency=_sum_of_counts(each.latency for each in readings),
        latency_published=_sum_of_counts(each.latency_published for each in readings),
        watched=sum(each.watched for each in readings),
        watched_read=_sum_of_counts(each.watched_read for each in readings),
        watched_arrival=_sum_of_counts(each.watched_arrival for each in readings),
        watched_shared=sum(each.watched_shared for each in readings),
        sent=_sum_of_fields([each.sent for each in readings]),
        negative=_sum_of_negative([each.negative for each in readings]),
        tls=total_tls([each.tls for each in readings]),
        first_message_ns=min((each.first_message_ns for each in readings if each.first_message_ns), default=0),
        last_message_ns=max(each.last_message_ns for each in readings),
        replaced_ports=sum(each.replaced_ports for each in readings),
        workers=sum(each.workers for each in readings),
        files_limit=min(each.files_limit for each in readings),
        reasons=[reason for each in readings for reason in each.reasons],
        figures=_sum_of_fields(figures) if len(figures) == len(readings) else None,
    )


def by_this_clock(said: Reading, ahead_ns: int) -> Reading:
    """Return what a site says whose CLOCK_MONOTONIC is so many ns ahead, with all of its times by this host's clock.

    What messages took is not touched: the site itself has counted that by the clock of their stamps.
    """
    return msgspec.structs.replace(
        said,
        ticks={
            number: ReceivedTick(tick.count, tick.first - ahead_ns / 1e9, tick.last - ahead_ns / 1e9)
            for number, tick in said.ticks.items()
        },
        first_message_ns=said.first_message_ns and said.first_message_ns - ahead_ns,  # 0: none was read
        last_message_ns=said.last_message_ns and said.last_message_ns - ahead_ns,
    )


S = TypeVar("S", bound=msgspec.Struct)


def _sum_of_fields(values: Sequence[S]) -> S:
    """Add structs of numbers field by field; a field that one of them has not got (None) is None in the sum."""
    columns = zip(*map(msgspec.structs.astuple, values), strict=True)
    return type(values[0])(*(None if None in column else sum(column) for column in columns))


def _sum_of_negative(values: Sequence[Negative]) -> Negative:
    summed = _sum_of_fields(values)
    return Negative(summed.planned, summed.published, max(each.most_us for each in values))


K = TypeVar("K", int, str)


def _sum_of_counts(tables: Iterable[Mapping[K, int]]) -> dict[K, int]:
    found: Counter[K] = Counter()
    for table in tables:
        found.update(table)
    return dict(found)


def _sum_of_ticks(readings: Sequence[Reading]) -> dict[int, ReceivedTick]:
    found: dict[int, ReceivedTick] = {}
    for number, tick in (item for each in readings for item in each.ticks.items()):
        before = found.get(number, ReceivedTick(0, tick.first, tick.last))
        count, first, last = before.count + tick.count, min(before.first, tick.first), max(before.last, tick.last)
        found[number] = ReceivedTick(count, first, last)
    return found
