"""What connections over TLS have done, in a worker's row of the ledger.

Fields: `ciphers`: handshakes that are over, by place in `wire.tls.counts.CIPHERS` · kept: connections of TLS 1.2 ·
to_resume: handshakes of the share of `--tls-resume` that were begun · resumed: handshakes with a session from before ·
tickets, key_updates: of servers · cpu_ns: CPU time of handshakes.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.wire.tls.counts import CIPHERS, OTHER, TlsCounts

_NUMBERS = ("kept", "to_resume", "resumed", "tickets", "key_updates", "cpu_ns")

TLS_ROW = np.dtype([("ciphers", "i8", (len(CIPHERS),)), *((name, "i8") for name in _NUMBERS)])


class TlsReading(msgspec.Struct, frozen=True, kw_only=True):
    """What connections over TLS have done so far."""

    ciphers: dict[str, int]
    """Handshakes that are over, by what they agreed on (`wire.tls.counts.CIPHERS`)."""
    kept: int
    to_resume: int
    resumed: int
    tickets: int
    key_updates: int
    cpu_ns: int

    @property
    def handshakes(self) -> int:
        return sum(self.ciphers.values())


def read_tls(rows: npt.NDArray[Any]) -> TlsReading | None:
    """Return what the rows of a ledger have of it together; None: nobody has spoken TLS."""
    found = rows["tls"]
    if not (found["cpu_ns"].any() or found["ciphers"].any()):
        return None
    ciphers = zip(CIPHERS, found["ciphers"].sum(axis=0).tolist(), strict=True)
    numbers = {name: int(found[name].sum()) for name in _NUMBERS}
    return TlsReading(ciphers={cipher: count for cipher, count in ciphers if count}, **numbers)


def total_tls(readings: Sequence[TlsReading | None]) -> TlsReading | None:
    """Add up what sites say."""
    spoken = [each for each in readings if each is not None]
    if not spoken:
        return None
    ciphers: Counter[str] = Counter()
    for each in spoken:
        ciphers.update(each.ciphers)
    return TlsReading(ciphers=dict(ciphers), **{name: sum(getattr(each, name) for each in spoken) for name in _NUMBERS})


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
