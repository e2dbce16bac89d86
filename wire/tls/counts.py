"""What connections over TLS have done, as a layer counts it and accounts take it. Pure."""

from collections import Counter
from dataclasses import dataclass, field

OTHER = "other"

CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", OTHER)
"""Of TLS 1.3, and all those of TLS 1.2."""


@dataclass
class TlsCounts:
    """Since the last time that somebody took them."""

    ciphers: Counter[str] = field(default_factory=Counter)
    """Handshakes that are over, by what they agreed on."""
    kept: int = 0
    """Connections of TLS 1.2, which keep their object."""
    to_resume: int = 0
    """Handshakes that were begun and belong to the share that is to take up a session, whether there was one or not."""
    resumed: int = 0
    tickets: int = 0
    """Received, or at a server sent."""
    key_updates: int = 0
    cpu_ns: int = 0
    """CPU time of handshakes."""
