"""What handshakes of TLS cost by themselves: a bare loop over two objects of OpenSSL's, of which nothing else is kept.

In: how many pairs. Out: CPU time of a pair, a client and a server with a key of P-256. One thread does both ends on
buffers in memory, `AT_A_TIME` pairs after one another and step by step, as a worker does what has come in a turn. It is
what opening a connection over TLS is held against: what that takes more is sockets, requests, and the way into columns.
"""

import ssl
import time
from contextlib import suppress

from benchmarks.rounds import Figures
from floodtest.wire.tls.certificates import NAME, certificate_for_now
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls

AT_A_TIME = 32
TO_OPEN = "CPU µs to open"
"""The figure that runs over TLS have as well."""

Pair = tuple[ssl.SSLObject, ssl.SSLObject]


def run_bare_loop(pairs: int) -> Figures:
    """Do so many handshakes."""
    with certificate_for_now() as files:
        client, server = client_context(ClientTls(NAME, cafile=files.cert)), server_context(ServerTls(*files))
    _shake(client, server, AT_A_TIME)  # what OpenSSL makes with its first is not what others cost
    began, done = time.thread_time(), 0
    while done < pairs:
        count = min(AT_A_TIME, pairs - done)
        _shake(client, server, count)
        done += count
    return {TO_OPEN: (time.thread_time() - began) / done * 1e6}


def _shake(client: ssl.SSLContext, server: ssl.SSLContext, count: int) -> None:
    """Do handshakes together, and let their objects go."""
    pairs = [_pair(client, server) for _ in range(count)]
    for end in (0, 1, 0, 1):  # hello; flight of the server; end of the client's; and of the server's
        for pair in pairs:
            with suppress(ssl.SSLWantReadError):
                pair[end].do_handshake()
    assert all(end.version() == "TLSv1.3" for pair in pairs for end in pair), "each is a handshake of TLS 1.3"


def _pair(client: ssl.SSLContext, server: ssl.SSLContext) -> Pair:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    return (
        client.wrap_bio(to_client, to_server, server_hostname=NAME),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
