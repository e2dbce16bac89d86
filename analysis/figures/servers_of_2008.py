"""What others measured: the servers of 2008 at a million connections, bytes a connection at the server's end."""

HISTORY = {
    "2008, mochiweb": (25_000.0, 13_000.0),
    "2008, libevent": (2_000.0, 8_000.0),
}
"""User memory, and the kernel's. Richard Jones, "A Million-user Comet Application with Mochiweb", part 3 (2008): 25 GB
resident and 38 GB in all; under 2 GB resident and under 10 GB in all."""

LEAST = 500_000
"""Connections that a run has at the least that is set beside these."""


def is_as_in_2008(server_is_ours: bool, connections: float) -> bool:
    """Whether a run is of their kind: a comet server that does nothing else, at about a million connections."""
    return server_is_ours and connections >= LEAST
