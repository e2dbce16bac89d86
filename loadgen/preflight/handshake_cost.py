"""What a handshake of TLS costs on this machine: measured, as it differs tenfold between processors and key types.

Out: seconds of CPU at a client and at a server, with a key of P-256 as our own server has. Cost: a quarter of a second.
"""

import time
from contextlib import suppress
from typing import NamedTuple

from floodtest.wire.tls.certificates import NAME, certificate_for_now
from floodtest.wire.tls.settings import ClientTls, ServerTls

SECONDS = 0.25


class HandshakeCost(NamedTuple):
    """Seconds of CPU for one handshake."""

    client: float
    server: float


def measure_handshakes(seconds: float = SECONDS) -> HandshakeCost:
    """Do handshakes within this process for so long, and return what one takes each end."""
    # Not above: OpenSSL takes some MB, and a plan without TLS has none.
    import ssl

    from floodtest.wire.tls.contexts import client_context, server_context

    with certificate_for_now() as files:
        contexts = client_context(ClientTls(NAME, cafile=files.cert)), server_context(ServerTls(*files))
    spent, count, until = [0.0, 0.0], 0, time.monotonic() + seconds
    while not count or time.monotonic() < until:
        buffers = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = (
            contexts[0].wrap_bio(buffers[0], buffers[1], server_hostname=NAME),
            contexts[1].wrap_bio(buffers[1], buffers[0], server_side=True),
        )
        for end in (0, 1, 0, 1):
            began = time.thread_time()
            with suppress(ssl.SSLWantReadError):
                ends[end].do_handshake()
            spent[end] += time.thread_time() - began
        count += 1
    return HandshakeCost(spent[0] / count, spent[1] / count)
