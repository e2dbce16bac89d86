"""Securing: connections of one worker on their way through the handshake of TLS, behind which their request goes out.

In: descriptors that have just been opened. Out: the first bytes to write to each; the descriptors whose handshake is
complete; for a connection that ends during its handshake, the code, the bytes and the note that the accounts keep.
Cost: that of `wire.tls`. Only workers that speak TLS import this module, since OpenSSL takes 15 MB of a process.
"""

from typing import NamedTuple

from floodtest.flyweight.engine.intake import END
from floodtest.loadgen.client.accounts import Accounts
from floodtest.wire.causes import Cause
from floodtest.wire.template import Requests
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.settings import ClientTls
from floodtest.wire.tls.tls_layer import TlsLayer


class Failure(NamedTuple):
    """What the accounts have of a handshake that failed."""

    code: int
    begin: bytes
    """What the server began with where that was no TLS; otherwise empty."""
    note: str | None


class Securing:
    """The layer of a worker, and the requests that wait for their handshakes."""

    def __init__(self, settings: ClientTls, files_limit: int, requests: Requests, accounts: Accounts) -> None:
        self.layer = TlsLayer(client_context(settings), files_limit, settings.server_name, settings.resume)
        self.requests = requests
        self._accounts = accounts

    @property
    def room(self) -> int:
        """How many more handshakes may begin."""
        return self.layer.room

    def failure(self, fd: int, code: int) -> Failure | None:
        """Return what is known of a connection that ends, if that is within its handshake."""
        heard = self.layer.heard_of(fd)
        if heard is None:
            return None
        begin, note = heard
        if code == END:
            code = Cause.TLS_CUT if begin else Cause.NO_ANSWER
        return Failure(code, begin if code == Cause.TLS_PLAIN else b"", note)

    def post(self) -> None:
        """Bring on the accounts what has happened."""
        self._accounts.secured(self.layer.take_counts())
