"""Certificates of a server that speaks TLS: its files are read again while it serves.

In: which files. Out: a context for the handshakes that begin from now on, or None and a line on standard error.
"""

import ssl
import sys

from floodtest.flyweight.errors import UsageError
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.settings import ServerTls


def read_again(tls: ServerTls) -> ssl.SSLContext | None:
    """Return a new context; None, said in a line, where its files can't be used, and the one from before stays."""
    try:
        return server_context(tls)
    except UsageError as error:
        print(f"comet: SIGHUP: {error} The certificate from before stays.", file=sys.stderr, flush=True)
        return None
