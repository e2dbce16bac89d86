"""What others measured: the servers of 2008 at a million connections, bytes a connection at the server's end."""

HISTORY = {
    "2008, mochiweb": (25_000.0, 13_000.0),
    "2008, libevent": (2_000.0, 8_000.0),
}
"""User memory, and the kernel's. Richard Jones, "A Million-user Comet Application with Mochiweb", part 3 (2008): 25 GB
resident and 38 GB in all; under 2 GB resident and under 10 GB in all."""
