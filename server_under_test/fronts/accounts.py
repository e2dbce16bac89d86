"""What a front counts: its row of the ledger, read by the parent for `GET /stats`."""

from typing import Any

import numpy as np

from floodtest.flyweight.engine.ledger import TICK, TICKS

FIRST_STATUS = 1000
"""Of the close of a WebSocket; violations are counted from here."""

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
    ]
)
"""open: streams open now · logins: streams ever opened · bytes: written · dropped: bytes read and dropped after a
request · slow: disconnected because they did not read · excess: disconnected because they kept sending · silent:
disconnected because their machine did not answer · deliveries: messages of the router that were written ·
undeliverable: those whose user had gone by then · turn: the last one of the router's that is written · rejected:
refusals by HTTP status · violations: WebSockets failed for what their clients sent, by the status of the close, from
FIRST_STATUS on · unanswered: disconnected because they did not answer a ping."""
