"""What `comet ring` does: it tells by ketama which server a key belongs to (`wire.ring`).

As a driver it is what 2008's C program was to an Erlang port opened with {packet, 1}: on standard input a byte with the
length of a key, then the key; on standard output a byte with the length of the server's name, then the name. Keys that
were read together are answered together. It ends with standard input; Refused where that ends within a key.
"""

import os
from collections.abc import Iterator

from floodtest.flyweight.command.stdio import STDOUT
from floodtest.flyweight.errors import Refused, Unread, UsageError
from floodtest.flyweight.machine.reasons import reason
from floodtest.server_under_test.commands.options import RingOptions
from floodtest.wire.ring import Ring
from floodtest.wire.ring_servers import read_servers

_STDIN = 0

_READ = 1 << 16

MAX_NAME = 255
"""Bytes of a server's name that its length can be told of in one byte."""


def place(options: RingOptions) -> None:
    """Answer keys of the command line or of standard input; without any, show the servers."""
    ring = Ring(read_servers(options.servers))
    if options.driver:
        _drive(ring)
    elif options.keys:
        for key in options.keys:
            print(f"{key}\t{ring.owner(key).name}")
    else:
        for line in _table(ring):
            print(line)


def _table(ring: Ring) -> Iterator[str]:
    """Yield a line for each server: its name, memory and points, and the share of all keys that it has."""
    yield "server\tmemory\tpoints\tkeys"
    rows = zip(ring.servers, ring.hashes.tolist(), ring.shares().tolist(), strict=True)
    for (name, memory), hashes, share in rows:
        yield f"{name}\t{memory}\t{4 * hashes}\t{100 * share:.2f}%"


def _drive(ring: Ring) -> None:
    names = [server.name.encode(errors="surrogateescape") for server in ring.servers]
    if too_long := next((name for name in names if len(name) > MAX_NAME), None):
        raise UsageError(f"--driver answers with names of {MAX_NAME} bytes at the most, not of {len(too_long)}.")
    answers = [bytes([len(name)]) + name for name in names]
    rest = b""
    while data := os.read(_STDIN, _READ):
        keys, rest = _cut(rest + data)
        _write(b"".join([answers[owner] for owner in ring.owners_of(keys).tolist()]))
    if rest:
        raise Refused(f"Standard input ended within a key: {len(rest) - 1} of {rest[0]} bytes.")


def _cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the keys that are whole, and the beginning of the one that is not."""
    keys, at = [], 0
    while at < len(data) and (end := at + 1 + data[at]) <= len(data):
        keys.append(data[at + 1 : end])
        at = end
    return keys, data[at:]


def _write(data: bytes) -> None:
    """Write all of it to standard output, past the stream of text."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(STDOUT, rest) :]
    except BrokenPipeError as error:
        raise Unread from error
    except OSError as error:
        raise Refused(f"Can't write to standard output: {reason(error)}.") from error
