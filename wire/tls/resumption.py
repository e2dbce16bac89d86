"""Sessions taken up again: a share of a client's handshakes begins with a ticket of the server, and is cheaper.

In: connections as their handshakes begin and end. Out: a session for those that are to take one up, and how many these
are. The first connection of a worker keeps its object until a ticket has come, and to its end; all of the share that
begin later take up that session. Where the server sends no ticket, none does. Cost: one object a worker. Fails: never.
"""

import ssl
from collections.abc import Iterable


class Resumption:
    """What one worker has of it."""

    def __init__(self, share: float) -> None:
        """`share`: of handshakes, from 0 to 1, that take up a session once there is one."""
        self._share = share
        self._begun = 0
        self.due = 0
        """Handshakes of the share that have begun, those before there was a session included."""
        self._session: ssl.SSLSession | None = None
        self._waiting: int | None = None  # the connection whose ticket is waited for

    def session(self) -> ssl.SSLSession | None:
        """Return what the next handshake takes up; None: it begins anew."""
        self._begun += 1
        before, self.due = self.due, int(self._begun * self._share)
        return self._session if self.due > before else None

    def keeps(self, fd: int) -> bool:
        """Whether a connection has to keep its object behind its handshake, for a ticket may come."""
        if not self._share or self._session is not None or self._waiting is not None:
            return False
        self._waiting = fd
        return True

    def look(self, fd: int, session: ssl.SSLSession | None) -> bool:
        """Take the session of the connection whose ticket is waited for, if that has come; return whether it has."""
        if fd != self._waiting or self._session is not None or session is None or not session.has_ticket:
            return False
        self._session = session
        return True

    def forget(self, fds: Iterable[int]) -> None:
        """Wait for the ticket of another one where this connection is closed next."""
        if self._waiting is not None and self._session is None and self._waiting in fds:
            self._waiting = None
