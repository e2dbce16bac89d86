"""What a router and its front machines say to each other besides row frames: JSON in channels of Valkey.

A machine hears in `MACHINES` what is for all of them, and in a channel of its own (`channel_of`). A router hears in
`ROUTER`. A machine begins with `Hello`, again each second until `Welcome` answers it. From then on it sends a `Report`
after another: the next one when the last was `Heard`, and at least one a second. A report brings behind its JSON, after
a line feed, who has come and gone since the last one, as two columns of little-endian 32-bit numbers: places and users,
0 for nobody. The first reports of a session have all who are connected. So no side ever has more than a report and a
few orders under way to the other, whichever of them stands still.

A `session` is a text that a machine makes up for each hello, so that what was meant for an earlier one is passed over.
`docs/cluster.md` has what is said when. No I/O, no clock. Fails: `read_order` and `read_word` raise msgspec's errors.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from floodtest.server_under_test.routing.whereabouts import Column

MACHINES = "comet:machines"
ROUTER = "comet:router"
"""Channels: of all machines, and of the router."""

PLACES = 1 << 24
"""Places of a machine at the most, where a place is a descriptor of a front: fronts times their limits of files. As
many descriptors as a front of the router's may have (see `routing.turn_writer`)."""

CHANGES = 1 << 13
"""Logins and logouts that one report brings at the most."""

HELLO_SECONDS = 1.0
"""Between two hellos that nobody answers."""

REPORT_SECONDS = 1.0
"""Between two reports at the most."""

UNHEARD_SECONDS = 3.0
"""After which a report is not heard any more: the machine begins a session anew."""

SILENCE_SECONDS = 5.0
"""Without a report, after which a router gives a machine up, and counts its users as lost."""


def channel_of(machine: str) -> str:
    """Return the channel of one machine."""
    return f"comet:machine:{machine}"


Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
"""What fits into columns of 64 bits, and sums of it as well."""

Span = Annotated[int, msgspec.Meta(ge=-(1 << 60), le=1 << 60)]
"""Nanoseconds."""


class Said(msgspec.Struct, frozen=True, tag_field="type", tag=lambda name: name.lower()):
    """A base of all that is said: its `type` is the name of its class in small letters."""


class Figures(msgspec.Struct, frozen=True):
    """What a machine's fronts have counted since it started, for GET /stats."""

    counters: dict[str, Count]
    """Fields of the fronts' ledger that are numbers; those that are 0 are left out."""
    tables: dict[str, dict[int, Count]]
    """Fields of it that are tables, by index."""
    ticks: list[tuple[Count, Count, Span, Span]]
    """The last ticks: number, deliveries, and nanoseconds from when the order came to the first and to the last one."""
    fronts: list[int | None]
    fronts_begun: Count
    fronts_given_up: Count
    fronts_left_out: Count
    private: Count
    """Bytes of memory of all its processes."""
    extra: Count
    """Deliveries to connections that the router did not know of when it sent their frame."""
    gaps: Count
    """Frames that never arrived."""
    malformed: Count
    """Frames and lines that were none."""


class Hello(Said, frozen=True):
    """A machine is there."""

    machine: str
    session: str
    life: str
    """Of this start of the machine."""
    router: str
    """The life of the router that its counts of frames are of; empty: none yet."""
    places: Count
    last_tick: Count
    model: str
    has_tls: bool


class Report(Said, frozen=True):
    """How far a machine has come; what changed follows behind the JSON."""

    machine: str
    session: str
    number: Count
    """Counts the reports of a session from 1."""
    frame: Count
    """The number of the last frame that its fronts have been told of."""
    synced: Count
    """The number of the last `Sync` that came before what this report brings was looked up."""
    is_whole: bool
    """Whether all is told that had changed until then."""
    ticked: Count
    """The number of the last tick that its fronts have written, be it in an earlier session."""
    figures: Figures | None = None


class Goodbye(Said, frozen=True):
    """A machine ends in order."""

    machine: str
    session: str


Word = Hello | Report | Goodbye


class Who(Said, frozen=True):
    """Whoever is there is to say hello."""


class Welcome(Said, frozen=True):
    """A session begins: what was the last frame until now, and how many deliveries were in all frames."""

    session: str
    router: str
    """The life of this router."""
    frame: int
    deliveries: int


class Refusal(Said, frozen=True):
    """There is no place for a machine, for a reason."""

    session: str
    reason: str


class Heard(Said, frozen=True):
    """A report has been taken in."""

    session: str
    number: int


class Sync(Said, frozen=True):
    """Report all that has changed until now, at once."""

    number: int
    wants_figures: bool
    """Whether figures are to be those of now as well."""


class Tick(Said, frozen=True):
    """Send a tick to every connection, whose number is higher than all before."""

    number: Count


Order = Who | Welcome | Refusal | Heard | Sync | Tick

_ORDERS = msgspec.json.Decoder(Order)
_WORDS = msgspec.json.Decoder(Word)

encode = msgspec.json.Encoder().encode


def read_order(data: bytes) -> Order:
    """Return what a router says."""
    order: Order = _ORDERS.decode(data)
    return order


def encode_report(report: Report, places: Sequence[int] | Column, users: Sequence[int] | Column) -> bytes:
    """Return a report with what has changed."""
    columns = (np.asarray(column, "<u4").tobytes() for column in (places, users))
    return b"\n".join([encode(report), b"".join(columns)])


def read_word(data: bytes) -> tuple[Word, Column, Column]:
    """Return what a machine says, and places and users of what has changed, which only a report brings."""
    text, _, columns = data.partition(b"\n")
    word: Word = _WORDS.decode(text)
    if len(columns) % 8 or len(columns) > 8 * CHANGES:
        raise msgspec.ValidationError(f"{len(columns):,} bytes are not two columns of up to {CHANGES:,} numbers")
    places, users = np.frombuffer(columns, "<u4").astype(np.uint32).reshape(2, -1)
    return word, places, users
