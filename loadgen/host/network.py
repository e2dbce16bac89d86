"""The network a run is in: the host's, or one of its own that ends with it.

This module only says what there is; `loadgen.host.namespace` makes it.
"""

from typing import Literal

import msgspec

Link = Literal["loopback", "veth"]


class Network(msgspec.Struct, frozen=True):
    """Where a run is."""

    kind: Literal["host", "isolated"] = "host"
    link: Link = "loopback"
    hash_entries: int | None = None
    """Entries of a table of established connections of its own; None: it shares the host's."""
    server_address: str | None = None
    """Where the bundled server listens, if not on loopback."""
    server_namespace: int | None = None
    """A descriptor of the server's own network namespace, if it has one."""

    @property
    def is_isolated(self) -> bool:
        return self.kind == "isolated"

    @property
    def in_words(self) -> str:
        if not self.is_isolated:
            return "the host's"
        table = "the host's table" if self.hash_entries is None else f"a table of {self.hash_entries:,} entries"
        link = " in two namespaces joined by a veth pair" if self.link == "veth" else ""
        return f"one of its own{link}, gone with the run; established connections are in {table}"


HOST = Network()
