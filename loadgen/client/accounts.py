"""The accounts: what became of each user and each connection, kept where the parent and the run record can read it.

A user has connections one after another: its life. Two columns with one entry a user live in files of the run record,
mapped by every worker: `states.u8` (a `State`: what the user's latest connection is) and `ports.u16` (the source port
that it last had, 0 for none). After SIGKILL of anything they say how far each user got. Sums over all users and all
their connections (attempts, opens, failures and ends by name, messages, bytes, ticks) are the worker's row of the
ledger.
"""

import enum
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.intake import Reads
from floodtest.flyweight.engine.ledger import TICK, TICKS, Counter, TickTable
from floodtest.flyweight.engine.shared import map_shared
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason
from floodtest.loadgen.client import durations
from floodtest.loadgen.client.durations import Durations
from floodtest.loadgen.client.kept_answers import SLOT, SLOTS, KeptAnswers
from floodtest.loadgen.client.latency_account import LATENCY_FIELDS, LatencyAccount
from floodtest.loadgen.client.tls_account import TLS_ROW, TlsAccount
from floodtest.wire.causes import CODES, Cause
from floodtest.wire.incoming import Received
from floodtest.wire.names import PROTOCOLS
from floodtest.wire.sequence import OutOfSequence
from floodtest.wire.tls.counts import TlsCounts

Users = npt.NDArray[np.integer[Any]]


class State(enum.IntEnum):
    """What became of a user's latest connection; planned = the sum over all of them, always."""

    NOT_REACHED = 0
    IN_FLIGHT = 1
    OPEN = 2
    FAILED = 3
    CLOSED_EARLY = 4


_IN_FLIGHT, _OPEN = State.IN_FLIGHT.value, State.OPEN.value
"""An assignment takes numpy half as long again where it has to make a number of an enum."""


class Phase(enum.IntEnum):
    """How far a connection had got when it ended; OPEN is for those that closed early."""

    BIND = 0
    CONNECT = 1
    TLS = 2
    REQUEST = 3
    RESPONSE = 4
    OPEN = 5


class End(NamedTuple):
    """A user's connection ended by itself: how far it had got, and by which code (see `code_name`)."""

    user: int
    phase: Phase
    code: int


LEDGER = np.dtype(
    [
        ("attempts", "i8"),
        ("opens", "i8"),
        ("protocols", "i8", (len(PROTOCOLS),)),
        ("closed", "i8"),
        ("put_off", "i8"),
        ("received", "i8"),
        ("bytes", "i8"),
        ("missing", "i8"),
        ("repeated", "i8"),
        ("jumps", "i8"),
        ("pings", "i8"),
        ("polls", "i8"),
        ("messages", "i8"),
        ("misdelivered", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        *LATENCY_FIELDS,
        ("failures", "i8", (len(Phase), CODES)),
        ("ticks", TICK, (TICKS,)),
        *((field, "i8", (durations.BUCKETS,)) for field in durations.FIELDS),
        ("tls", TLS_ROW),
        ("answers_kept", "i8"),
        ("answers", SLOT, (SLOTS,)),
    ]
)
"""attempts: connections that were begun · opens: those that became open · protocols: those by what their answers were,
places in `wire.names.PROTOCOLS` · closed: open ones that we closed · put_off: those that had to wait for room in the
queue of a Unix socket · missing, repeated, jumps: see `wire.sequence` · pings: of servers, which want an answer ·
polls: those behind the first of each connection · messages: numbered ones that are no ticks, repeated ones and those
that jump included · misdelivered: messages for another user than who has got them, which count in `received` only ·
first_ns, last_ns: when the first and the last message was read (CLOCK_MONOTONIC) · failures: connections that ended by
themselves, by phase and code, where those of phase OPEN closed early · connect_us and so on: see `client.durations` ·
`LATENCY_FIELDS`: see `client.latency_account` · tls: see `client.tls_account` · answers: see `client.kept_answers`.

Over all connections of all users, attempts = opens + failures + those in flight, and opens = open now + closed early +
closed. Who reads while a worker counts reads the right-hand sides first: the left-hand sides are counted first."""


_PLACES = {name: place for place, name in enumerate(PROTOCOLS)}


def code_name(code: int) -> str:
    """Name a failure code: `ECONNRESET`, `HTTP_404`, or a cause of our own such as `not_a_stream`."""
    if code < 200:
        return errno.errorcode.get(code, f"E{code}")
    return f"HTTP_{code}" if code < min(Cause) else Cause(code).name.lower()


def failure_name(phase: int, code: int) -> str:
    """Name a failure, or an early end, as a summary does."""
    return code_name(code) if phase == Phase.OPEN else f"{code_name(code)}@{Phase(phase).name.lower()}"


def named_failures(table: npt.NDArray[np.int64]) -> tuple[dict[str, int], dict[str, int]]:
    """Turn a table of failures into {`NAME@phase`: n} for the failed and {`NAME`: n} for the closed early."""
    failed: dict[str, int] = {}
    closed: dict[str, int] = {}
    for phase, code in zip(*(axis.tolist() for axis in np.nonzero(table)), strict=True):
        (closed if phase == Phase.OPEN else failed)[failure_name(phase, code)] = int(table[phase, code])
    return failed, closed


def create_columns(folder: Path, connections: int) -> None:
    """Make the two column files, all zero, with room on the disk; Refused when there is none.

    A mapped file that is sparse ends whoever writes to it by SIGBUS when the disk is full.
    """
    try:
        for name, width in (("states.u8", 1), ("ports.u16", 2)):
            with open(folder / name, "xb") as file:
                os.posix_fallocate(file.fileno(), 0, connections * width)
    except OSError as error:
        raise Refused(f"Can't write the run record {folder}: {reason(error)}. Name another --out.") from error


def map_columns(folder: Path, first: int, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Map `count` entries of both files from number `first` (from 1) on, for reading and writing."""
    with open(folder / "states.u8", "r+b") as states, open(folder / "ports.u16", "r+b") as ports:
        return (
            np.frombuffer(map_shared(states.fileno(), count, first - 1), np.uint8),
            np.frombuffer(map_shared(ports.fileno(), 2 * count, 2 * (first - 1)), np.dtype("<u2")),
        )


class Accounts:
    """One worker's part of the accounts: `count` users from `first_user` on, and its row of the ledger.

    `before` users have their entries before these in the columns: by default all with lower numbers. The clock of the
    stamps in messages is so many ns ahead of this machine's.
    """

    def __init__(
        self,
        folder: Path,
        first_user: int,
        count: int,
        row: npt.NDArray[Any],
        before: int | None = None,
        stamps_ahead_ns: int = 0,
    ) -> None:
        self._first_user = first_user
        self._states, self._ports = map_columns(folder, 1 + (first_user - 1 if before is None else before), count)
        self._attempts, self._opens, self._closed, self._put_off = (
            Counter(row, name) for name in ("attempts", "opens", "closed", "put_off")
        )
        self._received, self._bytes = Counter(row, "received"), Counter(row, "bytes")
        self._missing, self._repeated, self._jumps = (Counter(row, name) for name in ("missing", "repeated", "jumps"))
        self._messages, self._first_ns, self._last_ns = (
            Counter(row, name) for name in ("messages", "first_ns", "last_ns")
        )
        self._pings, self._polls, self._misdelivered = (
            Counter(row, name) for name in ("pings", "polls", "misdelivered")
        )
        self._protocols = row["protocols"][0].data
        self.latency = LatencyAccount(row, stamps_ahead_ns)
        self._failures = row["failures"][0]
        self.connect, self.tls, self.first_byte, self.open, self._life, self._quiet = (
            Durations(row, field) for field in durations.FIELDS
        )
        self._answers = KeptAnswers(row)
        self._tls = TlsAccount(row)
        self.ticks = TickTable(row)

    @property
    def ends(self) -> int:
        """How many connections that were open have ended, by themselves or by us."""
        return int(self._failures[Phase.OPEN].sum()) + self._closed.value

    def started(self, users: Users) -> None:
        """Count a connection of each of the users as begun, its first or a further one."""
        self._attempts.add(len(users))
        self._states[users - self._first_user] = _IN_FLIGHT

    def put_off(self, count: int) -> None:
        """Count connections that were begun and have to wait for room in the queue of a Unix socket."""
        self._put_off.add(count)

    def bound(self, users: Users, ports: Sequence[int]) -> None:
        """Record the source ports that were really had."""
        self._ports[users - self._first_user] = ports

    def opened(self, users: Users, protocol: str) -> None:
        """Count connections as open whose answers are of a protocol."""
        self._opens.add(len(users))
        self._protocols[_PLACES[protocol]] += len(users)
        self._states[users - self._first_user] = _OPEN

    def failed(self, user: int, phase: Phase, code: int) -> None:
        self._states[user - self._first_user] = State.FAILED
        self._failures[phase, code] += 1

    def closed_early(self, user: int, code: int) -> None:
        self._states[user - self._first_user] = State.CLOSED_EARLY
        self._failures[Phase.OPEN, code] += 1

    def answered(self, user: int, phase: Phase, code: int, begin: bytes, note: str | None) -> None:
        """Keep the beginning of an answer that did not open its connection, and the header that says more."""
        self._answers.add(user, phase, code, begin, note)

    def secured(self, counts: TlsCounts) -> None:
        """Count what connections over TLS have done since they were last counted."""
        self._tls.post(counts)

    def lived(self, life_ms: int, quiet_ms: int) -> None:
        """Count how long a connection that ended by itself had been open, and since when it had got nothing."""
        self._life.count(life_ms)
        self._quiet.count(quiet_ms)

    def closed(self, count: int) -> None:
        """Count open connections that we closed; the states stay what they were."""
        self._closed.add(count)

    def received(self, count: int, size: int) -> None:
        """Count messages of any kind, and bytes of the stream (their framing included)."""
        self._received.add(count)
        self._bytes.add(size)

    def post(self, received: Received, sequence: OutOfSequence, reads: Reads) -> None:
        """Count all that a batch of reads brought: what was taken out of it, and what its numbers show."""
        self.received(received.count, received.size)
        self.out_of_sequence(sequence)
        if received.pings:
            self.pings(received.pings)
        for number, deliveries in received.ticks.items():
            self.ticks.count(number, deliveries, reads.first, reads.last)
        if received.misdelivered:
            self.misdelivered(received.misdelivered)
        if received.messages:
            self.messages(received.messages, reads.first, reads.last)
        self.latency.post(received, reads)

    def polled(self, count: int) -> None:
        """Count polls of connections that have had an answer."""
        self._polls.add(count)

    def out_of_sequence(self, found: OutOfSequence) -> None:
        """Count what the numbers of messages show."""
        self._missing.add(found.missing)
        self._repeated.add(found.repeated)
        self._jumps.add(found.jumps)

    def pings(self, count: int) -> None:
        """Count what servers have asked for an answer to."""
        self._pings.add(count)

    def misdelivered(self, count: int) -> None:
        """Count messages that came to another user than the one whom they are for."""
        self._misdelivered.add(count)

    def messages(self, number: int, first_ns: int, last_ns: int) -> None:
        """Count messages that are no ticks, read between these times."""
        self._messages.add(number)
        if not self._first_ns.value:
            self._first_ns.set(first_ns)
        self._last_ns.set(last_ns)


def count_states(states: npt.NDArray[np.uint8]) -> dict[State, int]:
    """Count the users in each state, at one moment: a few hundred microseconds for a million."""
    states = states.copy()  # workers go on writing, and each user is to be counted once
    # `.value`: numpy takes five times as long to compare with an enum
    return {state: int(np.count_nonzero(states == state.value)) for state in State}
