"""Opening: from planned users to descriptors whose request is on its way, by the batch.

Each step is one sweep over the batch: socket, setsockopt, bind, connect, detach, register, write. On loopback the
handshake is over when connect returns, so the request goes out at once; elsewhere its write answers EAGAIN, and the
request waits in the outbox until the descriptor is writable.

In: consecutive users of one piece. Out: (descriptors, users) in flight; what fails is told to the accounts, by phase.
A port that can't be had is replaced by a spare of the same address, one connection at a time.
"""

import errno
import os
import socket
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from floodtest.flyweight.engine.outbox import Outbox
from floodtest.flyweight.engine.readiness import READ, Readiness
from floodtest.flyweight.engine.sweep import sweep, without
from floodtest.loadgen.client.accounts import Accounts, Phase
from floodtest.loadgen.plan.choices import Ports
from floodtest.loadgen.plan.plan import Piece

Address = tuple[Any, ...]
Socket = socket.SocketType

_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of linux/in.h; Python's socket module names it from 3.12 on."""

_TAKEN_AT_BIND = frozenset({errno.EADDRINUSE, errno.EACCES})
_TAKEN_AT_CONNECT = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
"""A lingering socket may let its port be bound again (SO_REUSEADDR) and still hold the pair of pairs."""

_UNDER_WAY = frozenset({0, errno.EINPROGRESS})


@dataclass
class _Batch:
    """Connections on their way through the steps, a row each; what can't be had moves to `taken`."""

    piece: Piece
    users: list[int]
    ports: list[int]
    sockets: list[Any] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    """Users whose port belongs to somebody else."""

    def drop(self, indexes: Container[int]) -> None:
        self.users, self.ports = without(indexes, self.users, self.ports)
        if self.sockets:
            (self.sockets,) = without(indexes, self.sockets)


class Opener:
    """Opens connections of one worker to one target."""

    def __init__(
        self,
        accounts: Accounts,
        readiness: Readiness,
        target: Address,
        ports: Ports,
        reserved: frozenset[int],
        request: Callable[[int], bytes],
        outbox: Outbox,
    ) -> None:
        self._accounts = accounts
        self._readiness = readiness
        self._target = target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._explicit = ports == "explicit"
        self._option = (socket.SOL_SOCKET, socket.SO_REUSEADDR) if self._explicit else (0, _BIND_ADDRESS_NO_PORT)
        self._reserved = reserved if self._explicit else frozenset()
        self._request = request
        self._outbox = outbox
        self._next_spare: dict[str, int] = {}
        self._exhausted: set[str] = set()

    def open(self, piece: Piece, offset: int, count: int) -> tuple[list[int], list[int]]:
        """Open `count` users of a piece from `offset` on; return (descriptors, users) of those in flight."""
        first_user, first_port = piece.first_user + offset, piece.first_port + offset
        self._accounts.started(first_user, count)
        ports = list(range(first_port, first_port + count)) if self._explicit else [0] * count
        batch = _Batch(piece, list(range(first_user, first_user + count)), ports)
        if self._reserved and not self._reserved.isdisjoint(ports):
            reserved = {index for index, port in enumerate(ports) if port in self._reserved}
            batch.taken = [batch.users[index] for index in reserved]
            batch.drop(reserved)
        self._bind(batch)
        self._connect(batch)
        for user in batch.taken:
            self._open_on_spare(batch, user)
        if not self._explicit:
            batch.ports = [sock.getsockname()[1] for sock in batch.sockets]
        self._accounts.bound(np.array(batch.users, np.int64), batch.ports)
        return self._send_requests(list(map(Socket.detach, batch.sockets)), batch.users)

    def _bind(self, batch: _Batch) -> None:
        batch.sockets, failed = sweep(Socket, repeat(self._family, len(batch.users)), repeat(_STREAM))
        if failed:
            self._settle(batch, failed, frozenset(), Phase.BIND)
        level, option = self._option
        sweep(Socket.setsockopt, batch.sockets, repeat(level), repeat(option), repeat(1))
        _, failed = sweep(Socket.bind, batch.sockets, zip(repeat(batch.piece.address), batch.ports, strict=False))
        if failed:
            self._settle(batch, failed, _TAKEN_AT_BIND, Phase.BIND)

    def _connect(self, batch: _Batch) -> None:
        errors = list(map(Socket.connect_ex, batch.sockets, repeat(self._target)))
        if not _UNDER_WAY.issuperset(errors):
            failed = {index: error for index, error in enumerate(errors) if error not in _UNDER_WAY}
            self._settle(batch, failed, _TAKEN_AT_CONNECT, Phase.CONNECT)

    def _settle(self, batch: _Batch, failed: dict[int, int], taken: frozenset[int], phase: Phase) -> None:
        """Take what failed out of the batch: set aside where a spare port may help, on the accounts elsewhere."""
        for index, error in failed.items():
            if batch.sockets[index] is not None:
                batch.sockets[index].close()
            if self._explicit and error in taken:
                batch.taken.append(batch.users[index])
            else:
                self._accounts.failed(batch.users[index], phase, error)
        batch.drop(failed)

    def _open_on_spare(self, batch: _Batch, user: int) -> None:
        """Bind and connect one user from the next spare port that can be had; EADDRINUSE when the address has none."""
        piece = batch.piece
        # Pieces of one address begin their walk at different spares, so that workers do not fight over each.
        start = self._next_spare.setdefault(piece.address, piece.first_port * 7919)
        for step in range(0 if piece.address in self._exhausted else len(piece.spares)):
            port = piece.spares[(start + step) % len(piece.spares)]
            if port in self._reserved:
                continue
            self._next_spare[piece.address] = start + step + 1
            one = _Batch(piece, [user], [port])
            self._bind(one)
            self._connect(one)
            if not one.taken:
                batch.users += one.users
                batch.ports += one.ports
                batch.sockets += one.sockets
                return
        self._exhausted.add(piece.address)
        self._accounts.failed(user, Phase.BIND, errno.EADDRINUSE)

    def _send_requests(self, fds: list[int], users: list[int]) -> tuple[list[int], list[int]]:
        _, failed = sweep(self._readiness.register, fds, repeat(READ))
        if failed:
            fds, users = self._close(failed, fds, users)
        gone = self._outbox.write(fds, list(map(self._request, users)))
        if gone:
            fds, users = self._close({index: gone[fd] for index, fd in enumerate(fds) if fd in gone}, fds, users)
        return fds, users

    def _close(self, failed: dict[int, int], fds: list[int], users: list[int]) -> tuple[list[int], list[int]]:
        """Close the rows that failed, by index, and account for them; return the others."""
        for index, error in failed.items():
            os.close(fds[index])
            self._outbox.forget(fds[index])
            self._accounts.failed(users[index], Phase.CONNECT, error)
        kept = without(failed, fds, users)
        return kept[0], kept[1]
