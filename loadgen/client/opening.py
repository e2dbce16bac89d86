"""Opening: from users to descriptors whose request is on its way, by the batch.

Each step is one sweep over the batch: socket, setsockopt, bind, connect, detach, write, register. On loopback the
handshake is over when connect returns, so the request goes out at once; elsewhere its write answers EAGAIN, and the
request waits in the outbox until the descriptor is writable.

A target that is a Unix socket has no port, and connections to it no source pair: nothing is bound then.

In: rows of any users of the share, who may have had connections before, and are on the accounts as begun. Out:
(descriptors, users) in flight; what fails is told to the accounts, by phase, and appended to `ended`; whom the full
queue of a Unix socket has refused is in `refused` (see `client.unix_queue`). A port that can't be had is replaced by a
spare of the same address, one connection at a time. That may happen to a user who comes back: where we were the first
to close its last connection, the kernel may keep the pair in TIME_WAIT.
"""

import errno
import os
import socket
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from floodtest.flyweight.engine.outbox import Gone, Outbox
from floodtest.flyweight.engine.readiness import READ, WRITE, Readiness
from floodtest.flyweight.engine.sweep import sweep, without
from floodtest.flyweight.machine.endpoints import Endpoint, family_of, sockaddr
from floodtest.loadgen.client.accounts import Accounts, End, Phase
from floodtest.loadgen.client.target_choice import TargetChoice
from floodtest.loadgen.plan.choices import Ports
from floodtest.loadgen.plan.plan import Piece, Rows
from floodtest.wire.template import Requests

if TYPE_CHECKING:
    from floodtest.wire.tls.tls_layer import TlsLayer

Socket = socket.SocketType

_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of linux/in.h; Python's socket module names it from 3.12 on."""

_TAKEN_AT_BIND = frozenset({errno.EADDRINUSE, errno.EACCES})
_TAKEN_AT_CONNECT = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
"""A lingering socket may let its port be bound again (SO_REUSEADDR) and still hold the pair of pairs."""

_UNDER_WAY = frozenset({0, errno.EINPROGRESS})

BROKEN = frozenset({errno.EPIPE, errno.ECONNRESET})
"""What a write says of a connection that its peer has ended: it had been connected."""

TRIES = 16
"""Spares that are tried again for each connection that has ended, once all of an address were tried in vain."""


@dataclass
class _Batch:
    """Connections on their way through the steps, a row each; what can't be had moves to `taken`."""

    users: list[int]
    addresses: list[str]
    ports: list[int]
    sockets: list[Any] = field(default_factory=list)
    taken: list[tuple[int, str]] = field(default_factory=list)
    """Users whose port belongs to somebody else, each with its address."""

    def drop(self, indexes: Container[int]) -> None:
        self.users, self.addresses, self.ports = without(indexes, self.users, self.addresses, self.ports)
        if self.sockets:
            (self.sockets,) = without(indexes, self.sockets)


class Opener:
    """Opens connections of one worker, whose users have the addresses of `pieces`, to their `choice` of `targets`."""

    def __init__(
        self,
        accounts: Accounts,
        readiness: Readiness,
        targets: Sequence[Endpoint],
        choice: TargetChoice,
        ports: Ports,
        reserved: frozenset[int],
        requests: Requests,
        outbox: Outbox,
        pieces: Sequence[Piece],
        ended: list[End] | None = None,
        layer: "TlsLayer | None" = None,
    ) -> None:
        """`layer`: what begins handshakes of TLS, in place of requests, which are written behind these."""
        self._accounts = accounts
        self._layer = layer
        self._readiness = readiness
        self._targets = list(map(sockaddr, targets))
        self._choice = choice
        self._family = family_of(targets[0][0])
        self._binds = self._family != socket.AF_UNIX
        self._explicit = ports == "explicit"
        self._option = (socket.SOL_SOCKET, socket.SO_REUSEADDR) if self._explicit else (0, _BIND_ADDRESS_NO_PORT)
        self._reserved = reserved if self._explicit else frozenset()
        self._requests = requests
        self._outbox = outbox
        self._spares = {piece.address: piece.spares for piece in pieces}
        # Workers that have an address in common begin their walks at different spares, so that one does not try what
        # another one has just taken. The prime sets the beginnings far apart where the first ports are close.
        self._next_spare = {piece.address: piece.first_port * 7919 for piece in pieces}
        self._exhausted: dict[str, int] = {}
        """Addresses that had no spare any more, each with the number of connections that had ended by then."""
        self._ended = ended
        """Users whose connection failed, for who opens them again; None: nobody does."""
        self.connecting: list[int] = []
        """Descriptors of the last batch whose handshake was not over when their request was to be written."""
        self.unwritable: Gone = {}
        """Descriptors of the last batch whose server had gone, on a Unix socket, when their request was to be written,
        each with the errno; nothing is lost by that to those that had nothing to send."""
        self.refused: list[int] = []
        """Users of the last batch that found the queue of a Unix socket full."""
        self.connect_us = 0
        """How long each call of the last batch took that connects: on loopback all of the handshake."""

    def open(self, rows: Rows) -> tuple[list[int], list[int]]:
        """Open a connection for each of the users; return (descriptors, users) of those in flight."""
        users = np.array(rows.users, np.int64)
        self.refused = []
        batch = _Batch(rows.users, rows.addresses, rows.ports if self._explicit else [0] * len(rows.users))
        if self._reserved and not self._reserved.isdisjoint(batch.ports):
            reserved = {index for index, port in enumerate(batch.ports) if port in self._reserved}
            batch.taken = [(batch.users[index], batch.addresses[index]) for index in reserved]
            batch.drop(reserved)
        self._bind(batch)
        began, count = time.monotonic_ns(), max(1, len(batch.sockets))
        self._connect(batch)
        self.connect_us = (time.monotonic_ns() - began) // (1000 * count)
        for user, address in batch.taken:
            self._open_on_spare(batch, user, address)
        if not self._explicit and self._binds:
            batch.ports = [sock.getsockname()[1] for sock in batch.sockets]
        self._accounts.bound(users if batch.users is rows.users else np.array(batch.users, np.int64), batch.ports)
        return self._send_requests(list(map(Socket.detach, batch.sockets)), batch.users)

    def _bind(self, batch: _Batch) -> None:
        batch.sockets, failed = sweep(Socket, repeat(self._family, len(batch.users)), repeat(_STREAM))
        if failed:
            self._take_out(batch, failed, frozenset(), Phase.BIND)
        if not self._binds:
            return
        level, option = self._option
        sweep(Socket.setsockopt, batch.sockets, repeat(level), repeat(option), repeat(1))
        _, failed = sweep(Socket.bind, batch.sockets, zip(batch.addresses, batch.ports, strict=True))
        if failed:
            self._take_out(batch, failed, _TAKEN_AT_BIND, Phase.BIND)

    def _connect(self, batch: _Batch) -> None:
        errors = list(map(Socket.connect_ex, batch.sockets, self._targets_of(batch.users)))
        if not _UNDER_WAY.issuperset(errors):
            failed = {index: error for index, error in enumerate(errors) if error not in _UNDER_WAY}
            self._take_out(batch, failed, _TAKEN_AT_CONNECT, Phase.CONNECT)

    def _targets_of(self, users: list[int]) -> Iterable[Endpoint | str]:
        """Return where users go: a column of addresses, or the only one over and over."""
        targets = self._targets
        return repeat(targets[0]) if self._choice.is_one else [targets[index] for index in self._choice.of(users)]

    def _take_out(self, batch: _Batch, failed: dict[int, int], taken: frozenset[int], phase: Phase) -> None:
        """Take what failed out of the batch: set aside where a spare port may help, on the accounts elsewhere."""
        for index, error in failed.items():
            if batch.sockets[index] is not None:
                batch.sockets[index].close()
            if self._explicit and error in taken:
                batch.taken.append((batch.users[index], batch.addresses[index]))
            elif error == errno.EAGAIN and not self._binds:
                self.refused.append(batch.users[index])
            else:
                self.fail(batch.users[index], phase, error)
        batch.drop(failed)

    def fail(self, user: int, phase: Phase, code: int) -> None:
        """Account for a connection that has come to its end before it had a descriptor."""
        self._accounts.failed(user, phase, code)
        if self._ended is not None:
            self._ended.append(End(user, phase, code))

    def _open_on_spare(self, batch: _Batch, user: int, address: str) -> None:
        """Bind and connect one user from the next spare port that can be had; EADDRINUSE when the address has none."""
        if self._is_exhausted(address):
            self.fail(user, Phase.BIND, errno.EADDRINUSE)
            return
        spares, start = self._spares[address], self._next_spare[address]
        for step in range(len(spares)):
            port = spares[(start + step) % len(spares)]
            if port in self._reserved:
                continue
            self._next_spare[address] = start + step + 1
            one = _Batch([user], [address], [port])
            self._bind(one)
            self._connect(one)
            if not one.taken:
                # New lists, since the old ones may still be the caller's.
                batch.users = batch.users + one.users
                batch.addresses = batch.addresses + one.addresses
                batch.ports = batch.ports + one.ports
                batch.sockets += one.sockets
                return
        self._exhausted[address] = self._accounts.ends
        self.fail(user, Phase.BIND, errno.EADDRINUSE)

    def _is_exhausted(self, address: str) -> bool:
        """Whether all spares of an address were tried in vain, and too few connections have ended to try them again.

        A walk over thousands of spares takes tens of milliseconds. Each end of a connection pays for `TRIES` of them.
        """
        if address not in self._exhausted:
            return False
        ended_since = self._accounts.ends - self._exhausted[address]
        return ended_since == 0 or ended_since * TRIES < len(self._spares[address])

    def _send_requests(self, fds: list[int], users: list[int]) -> tuple[list[int], list[int]]:
        requests = self._requests(users) if self._layer is None else self._layer.begin(fds)
        gone = self._outbox.write_sealed(fds, requests, are_registered=False)
        self.unwritable = {}
        if gone and not self._binds:  # these are connected, and what their server has said is still to be read
            self.unwritable = {
                fd: gone[fd] for fd, request in zip(fds, requests, strict=True) if request and fd in gone
            }
            gone = {}
        # Something of a request is taken at once by each socket that is connected.
        self.connecting = (
            [
                fd
                for fd, request in zip(fds, requests, strict=True)
                if fd in self._outbox and self._outbox.pending(fd) == len(request)
            ]
            if self._outbox
            else []
        )
        if gone:
            fds, users = self._close({index: gone[fd] for index, fd in enumerate(fds) if fd in gone}, fds, users)
        # Registered after the write, so that an answer that has come by now is reported by the first wait.
        wanted = [WRITE if fd in self._outbox else READ for fd in fds] if self._outbox else repeat(READ)
        _, failed = sweep(self._readiness.register, fds, wanted)
        return self._close(failed, fds, users) if failed else (fds, users)

    def _close(self, failed: dict[int, int], fds: list[int], users: list[int]) -> tuple[list[int], list[int]]:
        """Close the rows that failed, by index, and account for them; return the others."""
        if self._layer is not None:
            self._layer.forget([fds[index] for index in failed])
        for index, error in failed.items():
            os.close(fds[index])
            self._outbox.forget(fds[index])
            self.fail(users[index], Phase.REQUEST if error in BROKEN else Phase.CONNECT, error)
        kept = without(failed, fds, users)
        return kept[0], kept[1]
