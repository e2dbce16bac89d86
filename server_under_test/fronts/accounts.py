"""What a front counts: its row of the ledger, read by the parent for `GET /stats`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.ledger import TICK, TICKS, Counter
from floodtest.wire.causes import Cause
from floodtest.wire.tls.counts import CIPHERS, OTHER, TlsCounts

FIRST_STATUS = 1000
"""Of the close of a WebSocket; violations are counted from here."""

TLS_CAUSES = [cause for cause in Cause if cause >= Cause.TLS_EXPIRED]
"""Why a connection over TLS has ended, in the order in which they are counted."""

FRONT_LEDGER: np.dtype[Any] = np.dtype(
    [
        ("open", "i8"),
        ("logins", "i8"),
        ("bytes", "i8"),
        ("dropped", "i8"),
        ("slow", "i8"),
        ("excess", "i8"),
        ("silent", "i8"),
        ("accept_errors", "i8"),
        ("deliveries", "i8"),
        ("undeliverable", "i8"),
        ("turn", "i8"),
        ("rejected", "i8", (600,)),
        ("violations", "i8", (16,)),
        ("unanswered", "i8"),
        ("ticks", TICK, (TICKS,)),
        ("tls_ciphers", "i8", (len(CIPHERS),)),
        ("tls_resumed", "i8"),
        ("tls_tickets", "i8"),
        ("tls_key_updates", "i8"),
        ("tls_cpu_ns", "i8"),
        ("tls_late", "i8"),
        ("tls_ends", "i8", (len(TLS_CAUSES),)),
    ]
)
"""open: streams open now · logins: streams ever opened · bytes: written · dropped: bytes read and dropped after a
request · slow: disconnected because they did not read · excess: disconnected because they kept sending · silent:
disconnected because their machine did not answer · deliveries: messages of the router that were written ·
undeliverable: those whose user had gone by then · turn: the last one of the router's that is written · rejected:
refusals by HTTP status · violations: WebSockets failed for what their clients sent, by the status of the close, from
FIRST_STATUS on · unanswered: disconnected because they did not answer a ping · tls_ciphers: handshakes that came to
their end · tls_late: those that did not in the time for a head · tls_ends: connections by TLS_CAUSES."""


class TlsAccounts:
    """What a front that speaks TLS counts besides."""

    def __init__(self, row: npt.NDArray[Any]) -> None:
        self._ciphers, self._ends = row["tls_ciphers"][0], row["tls_ends"][0]
        self._resumed, self._tickets = Counter(row, "tls_resumed"), Counter(row, "tls_tickets")
        self._key_updates, self._cpu_ns = Counter(row, "tls_key_updates"), Counter(row, "tls_cpu_ns")
        self.late = Counter(row, "tls_late")

    def add(self, counts: TlsCounts) -> None:
        """Add what has happened since the last time."""
        for cipher, number in counts.ciphers.items():
            self._ciphers[CIPHERS.index(cipher if cipher in CIPHERS else OTHER)] += number
        self._resumed.add(counts.resumed)
        self._tickets.add(counts.tickets)
        self._key_updates.add(counts.key_updates)
        self._cpu_ns.add(counts.cpu_ns)

    def end(self, code: int) -> None:
        """Count a connection that is over by one of TLS_CAUSES; other codes are none of TLS."""
        if code == Cause.HTTP2_PORT:
            code = Cause.TLS_ALERT  # of a client that speaks HTTP/2 only
        if code >= Cause.TLS_EXPIRED:
            self._ends[code - Cause.TLS_EXPIRED] += 1
