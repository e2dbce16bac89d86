"""What the parent and a front say to each other, whatever the front's model is.

In: a `Specification` at its start, then `Accept`, `Tick`, `Deliver`, `Renew`, `Stop`. Out: `Ready`, `Ticked`, `Full`
and `Room` (the parent hands the listener on), `Resume`, `Stopped`.
"""

import msgspec

from floodtest.flyweight.processes.channel import Message
from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.routing.bus import Deliver
from floodtest.wire.tls.settings import ServerTls


class Specification(msgspec.Struct, frozen=True):
    """What one front needs to know; `worker` is its row of the ledger, of `workers`."""

    worker: int
    workers: int
    max_users: int
    limits: Limits
    allow_origin: str | None = None
    """Of web pages that may read streams."""
    retry: float | None = None
    """Seconds after which clients of events are to come back; None: as they like."""
    life: str = ""
    """What ids of events begin with; empty: they have none, as nothing is kept for who comes back."""
    tls: ServerTls | None = None
    """None: streams are without TLS."""


class Accept(Message, frozen=True):
    """Watch the listener until there is no room; whoever is full stops by itself, and says so."""


class Tick(Message, frozen=True):
    """Send tick `number` to every connection."""

    number: int


class Renew(Message, frozen=True):
    """Read certificate and key again, for the handshakes that begin from now on."""


class Stop(Message, frozen=True):
    """Close all connections and end."""


class Ready(Message, frozen=True):
    """The front is up."""


class Ticked(Message, frozen=True):
    """The tick has been written to every connection."""


class Full(Message, frozen=True):
    """No descriptors are left: somebody else must accept."""


class Room(Message, frozen=True):
    """There is room again."""


class Resume(Message, frozen=True):
    """Connections whose clients come back: descriptor, user, the number of the last message that the client has had
    (below 0: unknown), and a token that what it has missed is to be sent with.
    """

    asked: list[tuple[int, int, int, int]]


class Stopped(Message, frozen=True):
    """All connections are closed."""


ToWorker = Accept | Tick | Deliver | Renew | Stop
FromWorker = Ready | Ticked | Full | Room | Resume | Stopped
