"""What the controller of a run and a host of it say to each other. Types only.

An order has no answer but its `Done`, which comes behind a reading that is as new as it. Each second a host sends a
reading and the controller an `Alive`: who hears nothing of the other for `SILENCE` seconds takes it for gone. Both ends
are of the same version of floodtest, which `Hello` says first, so that nothing here needs to be read by another one.

Times of CLOCK_MONOTONIC are the host's own, in orders and in readings. Messages are stamped by the controller's clock:
a host is told in `Open` by how much that is ahead.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from floodtest.flyweight.processes.channel import Message
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.checkup import Checkup
from floodtest.loadgen.preflight.demand import Forecast
from floodtest.loadgen.preflight.preview import Preview
from floodtest.loadgen.run.reading import Reading
from floodtest.wire.template import RequestTemplate
from floodtest.wire.tls.settings import ClientTls

SILENCE = 7.0
"""Seconds in which nothing is heard of the other end, after which it is gone. All has to have ended within 10."""

BEAT = 1.0
"""Seconds between two signs of life."""

COLUMN_PIECE = 1 << 20
"""Bytes of a column that are sent at a time."""

Order = Literal["open", "ramp", "halt", "close"]


class Standing(msgspec.Struct, frozen=True):
    """Where a process is, as far as it matters to others: equal values are one and the same kernel, network, clock."""

    hostname: str
    kernel: str
    """The id of this boot of its kernel."""
    network: str
    clock: str
    """The time namespace, which may shift CLOCK_MONOTONIC."""

    def shares_machine_with(self, other: "Standing") -> bool:
        """Whether both have one memory and one kernel."""
        return self.kernel == other.kernel

    def shares_network_with(self, other: "Standing") -> bool:
        """Whether both have the same addresses, loopback included."""
        return (self.kernel, self.network) == (other.kernel, other.network)

    def shares_clock_with(self, other: "Standing") -> bool:
        """Whether both read the same CLOCK_MONOTONIC."""
        return (self.kernel, self.clock) == (other.kernel, other.clock)


class Place(msgspec.Struct, frozen=True):
    """Where connections of a host go: the target as the controller has it."""

    addresses: list[tuple[str, int]]
    asked: RequestTemplate
    host: str
    tls: ClientTls | None


# From the controller.


class Examine(Message, frozen=True):
    """Say how many of the planned connections could be held here, and from which addresses they would come."""

    options: RunOptions
    device: str | None
    """Whose addresses are to be the sources; None: those of the plan, or the one from which the target is reached."""


class Echo(Message, frozen=True):
    """Say what time it is."""

    sent: float


class Prepare(Message, frozen=True):
    """Take the host's own plan, and say what stands in its way."""

    options: RunOptions


class Describe(Message, frozen=True):
    """Say at length what the host's own plan takes of its machine."""


class Open(Message, frozen=True):
    """Start the workers; `place` is None where the host is to go to the target that its own look-up has found."""

    place: Place | None
    reset_at_end: bool
    clock_ahead_ns: int
    marks: str | None


class Ramp(Message, frozen=True):
    """Open all connections, the first at this time of the host's CLOCK_MONOTONIC."""

    start: float


class Halt(Message, frozen=True):
    """Begin no more connections."""


class SendColumns(Message, frozen=True):
    """Send both columns; `number` comes behind them, since those of an earlier order may still be on their way."""

    number: int


class Close(Message, frozen=True):
    """Close all connections."""


class Leave(Message, frozen=True):
    """End."""


class Alive(Message, frozen=True):
    """The controller is there."""


ToHost = Examine | Echo | Prepare | Describe | Open | Ramp | Halt | SendColumns | Close | Leave | Alive


# From a host.


class Hello(Message, frozen=True):
    """The host is up."""

    version: str
    pid: int
    standing: Standing


class Echoed(Message, frozen=True):
    """What time it was when an echo was asked for: by the asker's clock when that was sent, and by the host's now."""

    sent: float
    now: float


class Examined(Message, frozen=True):
    """How many connections the host can hold."""

    connections: int
    reason: str
    """What sets that bound."""
    base_ip: str
    addresses: int
    """How many source addresses it has from `base_ip` on."""
    facts: dict[str, Any]
    """Of the machine, as a run record has them."""


class Prepared(Message, frozen=True):
    """What the host makes of its own plan."""

    refusals: list[str]
    notes: list[str]
    prediction: Forecast


class Described(Message, frozen=True):
    """What `floodtest plan` and `floodtest doctor` show of the host's own plan there, for a program and a person."""

    preview: Preview
    preview_text: str
    checkup: Checkup
    checkup_text: str


class Done(Message, frozen=True):
    """An order was carried out, and this was so afterwards."""

    order: Order
    reading: Reading


class Said(Message, frozen=True):
    """A reading, each second."""

    reading: Reading


class Short(Message, frozen=True):
    """So little memory is left that the run has to end; the reading has the reason."""

    reading: Reading


class Column(Message, frozen=True):
    """A piece of a column of the host's connections, from a byte on."""

    name: str
    offset: int
    data: bytes


class ColumnsSent(Message, frozen=True):
    """All of both columns has been sent, as that order asked for."""

    number: int


class Unable(Message, frozen=True):
    """What was asked for last can't be done; the host ends. `is_refusal`: nothing of ours is at fault."""

    why: str
    is_refusal: bool


class Quiet(Message, frozen=True):
    """The host is there, and has nothing to say yet."""


FromHost = (
    Hello | Echoed | Examined | Prepared | Described | Done | Said | Short | Column | ColumnsSent | Unable | Quiet
)


def encode(message: Message) -> bytes:
    """Write a message."""
    return msgspec.msgpack.encode(message, enc_hook=str)  # a path is its text


def decode_order(data: bytes) -> ToHost:
    """Read what a controller says."""
    order: ToHost = _decoder(ToHost).decode(data)
    return order


def decode_answer(data: bytes) -> FromHost:
    """Read what a host says."""
    answer: FromHost = _decoder(FromHost).decode(data)
    return answer


@cache
def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind, dec_hook=_path)


def _path(kind: type, text: str) -> Path:
    assert kind is Path, kind
    return Path(text)
