"""What the controller of a run and the process that has the Dask client say to each other. Types only."""

import msgspec

from floodtest.flyweight.processes.channel import Message


class Machine(msgspec.Struct, frozen=True):
    """A worker of the cluster."""

    address: str
    name: str


class Start(Message, frozen=True):
    """Find the workers of a cluster, and start a host at each, for the run of that name.

    One of the first three is given: a scheduler's address, how many workers to start here, or machines for ssh.
    """

    run: str
    scheduler: str | None = None
    local: int | None = None
    by_ssh: tuple[str, ...] = ()


class ToMachine(Message, frozen=True):
    """Bytes for the host on a machine, by its place in `Found`."""

    number: int
    data: bytes


ToCarrier = Start | ToMachine


class Found(Message, frozen=True):
    """The workers, in the order in which they are numbered from here on."""

    machines: list[Machine]


class NotFound(Message, frozen=True):
    """There is no such cluster, or it has no workers: a sentence for a person."""

    why: str


class FromMachine(Message, frozen=True):
    """Bytes that the host on a machine has written."""

    number: int
    data: bytes


class Gone(Message, frozen=True):
    """The host on a machine has ended, or can't be reached any more: how, or why."""

    number: int
    why: str
    has_left: bool
    """Whether it ended by itself with status 0."""


FromCarrier = Found | NotFound | FromMachine | Gone
