"""What connections over TLS have done, in a worker's row of the ledger.

Fields: `ciphers`: handshakes that are over, by place in `wire.tls.counts.CIPHERS` · kept: connections of TLS 1.2 ·
resumed: handshakes with a session from before · tickets, key_updates: of servers · cpu_ns: CPU time of handshakes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.wire.tls.counts import CIPHERS, OTHER, TlsCounts

_NUMBERS = ("kept", "resumed", "tickets", "key_updates", "cpu_ns")

TLS_ROW = np.dtype([("ciphers", "i8", (len(CIPHERS),)), *((name, "i8") for name in _NUMBERS)])


class TlsAccount:
    """The part of one worker."""

    def __init__(self, row: npt.NDArray[Any]) -> None:
        self._row = row["tls"]
        self._ciphers = row["tls"]["ciphers"][0]

    def post(self, counts: TlsCounts) -> None:
        """Add what has happened."""
        for cipher, count in counts.ciphers.items():
            self._ciphers[CIPHERS.index(cipher if cipher in CIPHERS else OTHER)] += count
        for name in _NUMBERS:
            self._row[name] += getattr(counts, name)
