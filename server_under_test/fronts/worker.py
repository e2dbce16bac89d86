"""What every front is given when it starts, whatever its model is: its channel, its part of what all fronts share.

In: a specification, a channel and the shared descriptors, as `flyweight.processes.nursery` hands them to `worker_main`.
Out: a trio run of the model's `run` in this thread, which ends when that does. Fails: what can't be decoded or mapped
raises, which ends the front, and its parent sees that.
"""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import FILES_RESERVE, raise_files_limit
from floodtest.flyweight.processes.channel import Channel, decoder
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.orders import Specification, ToWorker
from floodtest.server_under_test.fronts.resuming import Resuming
from floodtest.server_under_test.routing.bus import FrontBus
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import places_of
from floodtest.server_under_test.routing.whereabouts import Places
from floodtest.wire.answers import allowing
from floodtest.wire.requests import Requests


@dataclass(frozen=True)
class Shared:
    """One front's view of its server."""

    spec: Specification
    channel: Channel[ToWorker]
    files_limit: int
    row: npt.NDArray[Any]
    """Of the ledger."""
    listener: socket.socket
    places: Places
    bus: FrontBus

    @property
    def capacity(self) -> int:
        """How many connections there are descriptors for."""
        return self.files_limit - FILES_RESERVE

    @property
    def more_headers(self) -> bytes:
        """Headers that streams have as this server was asked to."""
        return allowing(self.spec.allow_origin)

    def make_resuming(self) -> Resuming:
        """Make what knows of this front's clients that come back."""
        return Resuming(self.bus, self.spec.life, self.spec.retry)

    def make_requests(self) -> Requests:
        """Make what reads the requests of this front's clients."""
        return Requests(self.spec.max_users, self.spec.limits.head_size, self.spec.allow_origin)


def be_worker(
    run: Callable[[Shared], Awaitable[None]], specification: bytes, sock: socket.socket, descriptors: list[int]
) -> None:
    """Run a front in this thread; the descriptors: ledger, listener, whereabouts, bus."""
    spec = decoder(Specification).decode(specification)
    files_limit = raise_files_limit()
    ledger = Ledger(FRONT_LEDGER, spec.workers, descriptors[0])
    places = places_of(spec.worker, spec.workers, files_limit, descriptors[2])
    bus = SharedBus(spec.workers, descriptors[3])
    channel = Channel[ToWorker](sock, ToWorker)
    with socket.socket(fileno=descriptors[1]) as listener:
        trio.run(run, Shared(spec, channel, files_limit, ledger.row(spec.worker), listener, places, bus))
