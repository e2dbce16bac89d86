"""Records of TLS 1.2 by hand, for AES-256-GCM with SHA-384 (RFC 5246, sections 5 and 6; RFC 5288)."""

import hmac
import re

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY, SALT = 32, 4


def _expanded(secret: bytes, seed: bytes, size: int) -> bytes:
    """Return the first bytes of what a secret and a seed expand to."""
    chain, found = seed, b""
    while len(found) < size:
        chain = hmac.digest(secret, chain, "sha384")
        found += hmac.digest(secret, chain + seed, "sha384")
    return found[:size]


class Sender12:
    """What one side seals behind its handshake, whose last message was its first sealed record."""

    def __init__(self, key_log: bytes, server_hello: bytes, is_server: bool) -> None:
        """`server_hello`: what a server has sent first; the key log has the client's part."""
        found = re.search(rb"^CLIENT_RANDOM (\w+) (\w+)$", key_log, re.MULTILINE)
        assert found is not None
        client_random, master = (bytes.fromhex(part.decode()) for part in found.groups())
        server_random = server_hello[11:43]  # behind the heads of record and message, and a version
        block = _expanded(master, b"key expansion" + server_random + client_random, 2 * (KEY + SALT))
        self._key = block[KEY : 2 * KEY] if is_server else block[:KEY]
        salts = block[2 * KEY :]
        self._salt = salts[SALT:] if is_server else salts[:SALT]
        self._number = 1

    def record(self, kind: int, text: bytes) -> bytes:
        number = self._number.to_bytes(8, "big")
        self._number += 1
        about = number + bytes([kind, 3, 3]) + len(text).to_bytes(2, "big")
        sealed = number + AESGCM(self._key).encrypt(self._salt + number, text, about)
        return bytes([kind, 3, 3]) + len(sealed).to_bytes(2, "big") + sealed
