"""Who listens at the path of a Unix socket, and who listens at any endpoint.

In: endpoints. Out: `flyweight.machine.listeners.Listener`s, those at a path with that and port 0. sock_diag(7) tells
their queues and which file each has, so that a path is found by whatever name it was bound; /proc/net/unix, where that
is forbidden, has names only. Both have the sockets of one network namespace, though a path is reached from any. Cost:
the kernel walks over all Unix sockets of the namespace, some 100 ns each: to be done before a million are open.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from floodtest.flyweight.machine.endpoints import Endpoint, is_path
from floodtest.flyweight.machine.listeners import (
    LISTENING,
    NET,
    Listener,
    ask_for_listeners,
    attributes,
    diagnosed,
    read_listeners,
)

_NAME, _FILE, _QUEUE = 0, 1, 4
"""UNIX_DIAG_NAME, _VFS and _RQLEN of linux/unix_diag.h."""

_SHOW = 1 << 0 | 1 << 1 | 1 << 4
"""UDIAG_SHOW_NAME, _VFS and _RQLEN."""

_ASKED, _TOLD = struct.Struct("=BBxxIIII4x"), struct.Struct("=BBBxI8x")
"""unix_diag_req: family, protocol, states, inode, what to show, cookie; unix_diag_msg: family, type, state, inode."""

_ACCEPTS = 1 << 16
"""__SO_ACCEPTCON of linux/net.h, a flag in /proc/net/unix."""


def find_listeners(endpoints: Sequence[Endpoint], net: Path = NET) -> list[Listener]:
    """Return all who may get connections to endpoints: all TCP listeners, or those at the paths of Unix sockets."""
    paths = [host for host, _ in endpoints if is_path(host)]
    if paths:
        return [one for path in paths for one in listening_at(path, net)]
    return (ask_for_listeners() if net == NET else None) or read_listeners(net)


def listening_at(path: str, net: Path = NET) -> list[Listener]:
    """Return who listens at a path; nobody where it can't be looked at."""
    try:
        file = os.stat(path)
    except OSError:
        return []
    try:
        return list(_ask(path, file))
    except (OSError, struct.error):
        return list(_read(path, file, net / "unix"))


def _ask(path: str, file: os.stat_result) -> Iterator[Listener]:
    number = os.major(file.st_dev) << 20 | os.minor(file.st_dev)
    for message in diagnosed(_ASKED.pack(socket.AF_UNIX, 0, 1 << LISTENING, 0, _SHOW, 0xFFFFFFFF)):
        _, _, _, inode = _TOLD.unpack_from(message)
        told = attributes(message[_TOLD.size :])
        is_file = told.get(_FILE) == struct.pack("=II", file.st_ino & 0xFFFFFFFF, number)
        if is_file or told.get(_NAME, b"").rstrip(b"\0") == os.fsencode(path):
            queued, backlog = struct.unpack_from("=II", told[_QUEUE])
            yield Listener(path, 0, file.st_uid, inode, queued, backlog)


def _read(path: str, file: os.stat_result, table: Path) -> Iterator[Listener]:
    try:
        lines = table.read_bytes().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split(maxsplit=7)
        if len(words) == 8 and words[7] == os.fsencode(path) and int(words[3], 16) & _ACCEPTS:
            yield Listener(path, 0, file.st_uid, int(words[6]), 0)
