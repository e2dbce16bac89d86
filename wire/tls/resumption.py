"""Sessions taken up again: a share of a client's handshakes begins with a ticket of the server, and is cheaper.

In: connections as their handshakes begin and end. Out: a session for those that are to take one up. The first
connection of a worker keeps its object until a ticket has come, and to its end; all later ones of the share take up
that session. Where the server sends no ticket, none does. Cost: one object a worker. Fails: never.
"""

import ssl
from collections.abc import Iterable


class Resumption:
    """What one worker has of it."""

    def __init__(self, share: float) -> None:
        """`share`: of handshakes, from 0 to 1, that take up a session once there is one."""
        self._share = share
        self._begun = 0
        self._session: ssl.SSLSession | None = None
        self._waiting: int | None = None  # the connection whose ticket is waited for

    def session(self) -> ssl.SSLSession | None:
        """Return what the next handshake takes up; None: it begins anew."""
        if self._session is None:
            return None
        before, self._begun = int(self._begun * self._share), self._begun + 1
        return self._session if int(self._begun * self._share) > before else None

    def keeps(self, fd: int) -> bool:
        """Whether a connection has to keep its object behind its handshake, for a ticket may come."""
        if not self._share or self._session is not None or self._waiting is not None:
            return False
        self._waiting = fd
        return True

    def look(self, fd: int, session: ssl.SSLSession | None) -> None:
        """Take the session of the connection whose ticket is waited for, if that has come."""
        if fd == self._waiting and self._session is None and session is not None and session.has_ticket:
            self._session = session

    def forget(self, fds: Iterable[int]) -> None:
        """Wait for the ticket of another one where this connection is closed next."""
        if self._waiting is not None and self._session is None and self._waiting in fds:
            self._waiting = None
