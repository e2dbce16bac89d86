"""What the subscriptions of a run take of memory: their store, and before the server starts the loading of a file.

The server's router looks subscribers up in mapped pages of its store. They are page cache, which the kernel drops when
memory is short, and then each lookup waits for a disk: so they count as memory that is needed. In: what `--friends` or
`--db` names. Out: bytes, estimated by the size of the file, which is not read: of a graph of 300,000 users with 15
friends each a pair took 5.6 B of the store, 12.4 B of text, 4.1 B of what is packed (gzip, parquet), and 37 B (text) to
58 B (parquet) of memory while it was loaded. Fails: nothing; what can't be looked at takes nothing, and others say so.
"""

from dataclasses import dataclass
from pathlib import Path

PAIR_BYTES = 5.6
"""Of a store, a pair."""

_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r")
"""Bytes of which some are at the beginning of all that is packed (RFC 1952, RFC 8878, the footer's format of parquet),
and none in a text, in whatever language its comments are."""

_LOOK = 256
"""Bytes of a file that tell which it is."""

_STORE_OF, _LOADING_OF = {True: 0.5, False: 1.5}, {True: 3.2, False: 15.0}
"""Bytes of the store, and of memory while it is loaded, for each byte of a file that is plain text, or is not."""

_LOADER = 40 << 20
"""Bytes of the process that loads, without a pair."""


@dataclass(frozen=True)
class SubscriptionSizes:
    """Bytes of the store, and of the process that loads it, which has ended before the server starts."""

    store: int = 0
    loading: int = 0

    @property
    def pairs(self) -> int:
        """About so many subscriptions."""
        return int(self.store / PAIR_BYTES)


NO_SUBSCRIPTIONS = SubscriptionSizes()


def sizes_of(friends: Path | None, db: Path | None) -> SubscriptionSizes:
    """Return what a run takes with this file of friends, or else with this store."""
    if friends is not None:
        return _sizes_of_file(friends)
    return NO_SUBSCRIPTIONS if db is None else SubscriptionSizes(_on_disk(db / "data.mdb"))


def _sizes_of_file(friends: Path) -> SubscriptionSizes:
    try:
        found = friends.rglob("*") if friends.is_dir() else [friends]
        parts = [path for path in found if path.is_file()]  # what is read of a pipe is lost to whoever loads it
        size = sum(path.stat().st_size for path in parts)
        with open(max(parts, key=lambda path: path.stat().st_size), "rb") as file:
            is_text = _CONTROLS.isdisjoint(file.read(_LOOK))
    except (OSError, ValueError):
        return NO_SUBSCRIPTIONS
    return SubscriptionSizes(int(_STORE_OF[is_text] * size), _LOADER + int(_LOADING_OF[is_text] * size))


def _on_disk(file: Path) -> int:
    """Return the bytes that a file takes; it may have holes."""
    try:
        return file.stat().st_blocks * 512
    except OSError:
        return 0
