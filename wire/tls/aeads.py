"""AEADs by the column: records of many connections sealed and opened, each with a key of its own. Pure.

In: rows of a key, a nonce and a text with its head, or a whole record. Out: whole records, or the texts that were in
them. Nothing is kept for a key: what is kept has 1 to 2.3 KB, of which a million connections would have too many.

`cryptography` makes an object for each key, which takes 0.9 µs, and has a call of 0.6 µs with it for 105 bytes.
Columns of AES-256-GCM and ChaCha20-Poly1305 are libsodium's by way of PyNaCl, whose calls take a key as it is: 0.4 and
0.6 µs in all. It does not have AES-128-GCM, nor AES-256-GCM on a processor without instructions for it, and it is
slower with full records: 16 KB take it a fifth longer, and half as long again with ChaCha20-Poly1305. So it has the
columns, which are short messages, and nothing that comes by itself. Its functions are called by way of a private module
of PyNaCl, since the public ones take 3.7 µs, to check arguments which columns have right by what they are; the lock
file names the version that is tested.

Fails: never. What does not open is None.
"""

import operator
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl._sodium import ffi, lib
from nacl.bindings import sodium_init

from floodtest.wire.tls.tls_records import HEADER, TAG

sodium_init()


class Aead:
    """One of `cryptography`'s. Rows have a key, of the size that it takes, and a nonce each."""

    def __init__(self, of_key: Callable[[bytes], Any]) -> None:
        self._of_key = of_key

    def seal(
        self, keys: Iterable[bytes], nonces: Iterable[bytes], texts: Sequence[bytes], heads: Sequence[bytes]
    ) -> list[bytes]:
        """Return for each text a record: its head, and the text sealed with the head beside it."""
        return list(map(self.seal_one, keys, nonces, texts, heads))

    def seal_one(self, key: bytes, nonce: bytes, text: bytes, head: bytes) -> bytes:
        """Do this for one text."""
        sealed: bytes = self._of_key(key).encrypt(nonce, text, head)
        return head + sealed

    def open(self, keys: Iterable[bytes], nonces: Iterable[bytes], records: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the text of each record, or None for one that does not open."""
        return list(map(self.open_one, keys, nonces, records))

    def open_one(self, key: bytes, nonce: bytes, record: bytes) -> bytes | None:
        """Do this for one record."""
        try:
            text: bytes = self._of_key(key).decrypt(nonce, record[HEADER:], record[:HEADER])
        except (InvalidTag, ValueError):  # ValueError: what is shorter than a tag
            return None
        return text


class SodiumAead(Aead):
    """One whose columns are libsodium's: two functions, which take nine arguments and return 0 if all went well."""

    def __init__(self, of_key: Callable[[bytes], Any], seals: Callable[..., int], opens: Callable[..., int]) -> None:
        super().__init__(of_key)
        self._seals, self._opens = seals, opens

    def seal(
        self, keys: Iterable[bytes], nonces: Iterable[bytes], texts: Sequence[bytes], heads: Sequence[bytes]
    ) -> list[bytes]:
        """Return for each text a record."""
        sizes = list(map(len, texts))
        room = _Room([size + TAG for size in sizes])
        none = repeat(ffi.NULL)
        calls = map(self._seals, room.places, none, texts, sizes, heads, repeat(HEADER), none, nonces, keys)
        deque(calls, 0)  # none of them can fail
        return list(map(operator.add, heads, room.rows()))

    def open(self, keys: Iterable[bytes], nonces: Iterable[bytes], records: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the text of each record, or None for one that does not open."""
        bodies, heads = [record[HEADER:] for record in records], [record[:HEADER] for record in records]
        sizes = list(map(len, bodies))
        room = _Room([max(0, size - TAG) for size in sizes])
        none = repeat(ffi.NULL)
        failed = list(map(self._opens, room.places, none, none, bodies, sizes, heads, repeat(HEADER), nonces, keys))
        texts = room.rows()
        return [None if code else text for code, text in zip(failed, texts, strict=True)] if any(failed) else texts


_BYTES = ffi.typeof("unsigned char[]")
_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class _Room:
    """Memory that C writes to: rows of these sizes, one behind another."""

    def __init__(self, sizes: list[int]) -> None:
        self._ends = [0, *accumulate(sizes)]
        self._memory = _allocate(_BYTES, self._ends[-1])
        self.places = [self._memory + begin for begin in self._ends[:-1]]

    def rows(self) -> list[bytes]:
        """Return what was written."""
        whole = ffi.buffer(self._memory)
        return [whole[begin:end] for begin, end in pairwise(self._ends)]


AES_128_GCM = Aead(AESGCM)
AES_256_GCM = (
    SodiumAead(AESGCM, lib.crypto_aead_aes256gcm_encrypt, lib.crypto_aead_aes256gcm_decrypt)
    if lib.crypto_aead_aes256gcm_is_available()
    else Aead(AESGCM)
)
CHACHA20_POLY1305 = SodiumAead(
    ChaCha20Poly1305, lib.crypto_aead_chacha20poly1305_ietf_encrypt, lib.crypto_aead_chacha20poly1305_ietf_decrypt
)
