"""The queue in which connections wait for the server to accept them: how full it is in a ramp, and when it overflows.

In: where the server listens, and the network namespace that it is in, as far as it is on this machine. Out: a
`ListenQueue` of what has happened since the first look; None in it for what can't be read. Cost: some 100 microseconds
a look, of which there is one a sample while connections are being opened; a Unix socket is looked at once, since the
kernel walks over all of them for it, and only its backlog is known. Fails: nothing here does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from floodtest.analysis.record.summary import ListenQueue
from floodtest.flyweight.machine.endpoints import is_path
from floodtest.flyweight.machine.listeners import Counters, Listener, listeners_at, read_counters
from floodtest.flyweight.machine.unix_listeners import find_listeners


@dataclass(frozen=True)
class _Look:
    """What was found at one moment."""

    listeners: dict[int, Listener]
    """Those of the server, by inode."""
    ours: Counters | None
    """Of the network that the client is in."""
    theirs: Counters | None
    """Of the network that the server is in."""


class QueueWatch:
    """What becomes of a server's queue from the first look on; `net`: its /proc/net, None for another machine's."""

    def __init__(self, addresses: Sequence[tuple[str, int]], net: Path | None) -> None:
        self._addresses = addresses
        self._net = net
        self._first: _Look | None = None
        self._last: _Look | None = None
        self._is_unix = any(is_path(host) for host, _ in addresses)
        self._queued: list[int] = []
        """The most that were seen to wait at one listener; empty: none was seen."""

    def look(self) -> None:
        """Look now."""
        if self._is_unix:
            self._first = self._last = self._last or _Look(self._listeners(), None, None)
            return
        listeners = self._listeners()  # before the counters: a drop that is seen has its cause among those
        theirs = None if self._net is None else read_counters(self._net)
        self._last = last = _Look(listeners, read_counters(), theirs)
        self._first = self._first or last
        self._queued += [listener.queued for listener in last.listeners.values()]
        self._queued = [max(self._queued)] if self._queued else []

    def _listeners(self) -> dict[int, Listener]:
        if self._net is None:
            return {}
        found = find_listeners(self._addresses, self._net)
        return {one.inode: one for address, port in self._addresses for one in listeners_at(found, address, port)}

    @property
    def found(self) -> ListenQueue | None:
        """What has happened between the first look and the last one; None before there were any."""
        if self._first is None or self._last is None:
            return None
        first, last = self._first, self._last
        return ListenQueue(
            backlog=min((one.backlog for one in last.listeners.values() if one.backlog is not None), default=None),
            most_queued=max(self._queued, default=None),
            dropped=None if self._is_unix else _dropped(first.listeners, last.listeners),
            overflows=_growth(first.theirs, last.theirs, "overflows"),
            drops=_growth(first.theirs, last.theirs, "drops"),
            deferred=_growth(first.theirs, last.theirs, "deferred"),
            syn_retransmits=_growth(first.ours, last.ours, "syn_retransmits"),
        )


def _dropped(first: Mapping[int, Listener], last: Mapping[int, Listener]) -> int | None:
    """Return what listeners have dropped meanwhile; None where that is not told of each. A new one began with none."""
    found = [
        None if one.drops is None else max(0, one.drops - ((first[inode].drops or 0) if inode in first else 0))
        for inode, one in last.items()
    ]
    return None if not found or None in found else sum(filter(None, found))


def _growth(first: Counters | None, last: Counters | None, name: str) -> int | None:
    return None if first is None or last is None else getattr(last, name) - getattr(first, name)
