"""What the parent and a client worker say to each other, whatever the worker's model is.

In: a `Specification` at its start, then `Go` (when its turn to ramp has come), `Halt`, `Close`. Out: `Ready`, `Started`
once every connection of the share was begun, `Settled` once each is open or failed, `Closed`. All else is in the
accounts, where the parent reads it.
"""

import os
from pathlib import Path

import msgspec

from floodtest.flyweight.engine.texts import Shape
from floodtest.flyweight.processes.channel import Message
from floodtest.loadgen.client.target_choice import TargetChoice
from floodtest.loadgen.plan.choices import Ports
from floodtest.loadgen.plan.pacer import Stage
from floodtest.loadgen.plan.plan import Share
from floodtest.wire.grammar import Grammar
from floodtest.wire.poll_options import Polling
from floodtest.wire.template import RequestTemplate
from floodtest.wire.tls.settings import ClientTls


class Specification(msgspec.Struct, frozen=True):
    """What one client worker needs to know; `worker` is its row of the ledger, of `workers`."""

    worker: int
    workers: int
    share: Share
    folder: bytes
    """Of the run record, as the kernel has its name, which need not be UTF-8."""
    targets: list[tuple[str, int]]
    """Addresses of the target: user i goes to number (i - 1) mod n of them, unless a choice was made."""
    request: RequestTemplate
    protocol: str
    """A name of `wire.protocols.CLIENT_PROTOCOLS`."""
    open_when: str
    """What opens a connection, as `wire.open_when` has it."""
    grammar: Grammar
    """What messages say of themselves."""
    ports: Ports
    reserved: list[tuple[int, int]]
    """Ports that are not ours to bind: ranges, both ends included."""
    stages: tuple[Stage, ...]
    connect_timeout: float
    reset_at_end: bool
    """Close by reset, which spares the host a million sockets in TIME_WAIT; for a server that knows of it."""
    columns: tuple[str, ...] = ()
    """Placeholders in the request whose values are in shared memory, a row for each user of the plan."""
    shape: Shape | None = None
    """Of that memory; None where there is none."""
    polling: Polling | None = None
    """How connections poll; None: they do not."""
    tls: ClientTls | None = None
    """How TLS is spoken; None: it is not."""
    is_target_chosen: bool = False
    """Whether the record has a file that says which address each user goes to (`client.target_choice`)."""
    stamps_ahead_ns: int = 0
    """By how much the clock of the stamps in messages is ahead of this machine's (CLOCK_MONOTONIC of both)."""
    watch_every: int = 0
    """Of about one connection in so many the kernel says when messages arrive; 0: of none."""

    @property
    def choice(self) -> TargetChoice:
        """Which of the addresses each user of the share goes to."""
        return TargetChoice.of_share(len(self.targets), self.is_target_chosen, self.path, self.share)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(os.fsdecode(self.folder))


class Go(Message, frozen=True):
    """Ramp: connection 1 of the plan is due at `start` (time.monotonic, past or to come), `in_flight` at a time."""

    start: float
    in_flight: int


class Halt(Message, frozen=True):
    """Begin no more connections; those that are in flight may still open."""


class Close(Message, frozen=True):
    """Close all connections and end."""


class Ready(Message, frozen=True):
    """The worker is up."""


class Started(Message, frozen=True):
    """All connections of the share have been begun; `in_flight` of them are not settled."""

    in_flight: int


class Settled(Message, frozen=True):
    """Every connection of the share is open or has failed."""


class Closed(Message, frozen=True):
    """All connections are closed."""


ToWorker = Go | Halt | Close
FromWorker = Ready | Started | Settled | Closed
