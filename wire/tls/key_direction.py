"""Keys of one direction of many connections: what seals their records, or opens them (RFC 8446, sections 5.3 and 7.2).

In: descriptors, as a number or an array of rows. Out: keys, and the nonces of the next records. Cost: 100 bytes a
connection, of memory that is not in core dumps. Fails: Refused where there are no addresses for the columns.
"""

import struct

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.sparse import sparse_column
from floodtest.wire.tls.suites import IV, MAX_KEY, MAX_SECRET, SUITES, Suite

_IVS = struct.Struct(f"{IV}s")
_KEYS = {size: struct.Struct(f"{size}s") for size in {suite.key_size for suite in SUITES.values()}}

Rows = npt.NDArray[np.intp]


class Direction:
    """Keys of one direction, by descriptor: arrays for batches, and views of these for one connection, as a view takes
    a tenth of the time for that.
    """

    def __init__(self, name: str, length: int) -> None:
        def secret(what: str, size: int) -> npt.NDArray[np.uint8]:
            return sparse_column(f"{name} {what}", length * size, np.uint8, is_secret=True).reshape(-1, size)

        self.keys, self.ivs, self.secrets = secret("keys", MAX_KEY), secret("IVs", IV), secret("secrets", MAX_SECRET)
        self.numbers: npt.NDArray[np.uint64] = sparse_column(f"{name} records", length, np.uint64)
        self._key, self._iv, self._secret = (column.data.cast("B") for column in (self.keys, self.ivs, self.secrets))
        self._number = self.numbers.data

    def install(self, fd: int, suite: Suite, secret: bytes, number: int) -> None:
        """Have the keys of a secret, whose next record has this number."""
        key, iv = suite.keys(secret)
        self._key[fd * MAX_KEY : fd * MAX_KEY + len(key)] = key
        self._iv[fd * IV : (fd + 1) * IV] = iv
        self._secret[fd * MAX_SECRET : fd * MAX_SECRET + len(secret)] = secret
        self._number[fd] = number

    def update(self, fd: int, suite: Suite) -> None:
        """Go on with the next keys."""
        secret = bytes(self._secret[fd * MAX_SECRET : fd * MAX_SECRET + suite.secret_size])
        self.install(fd, suite, suite.next_secret(secret), 0)

    def erase(self, rows: Rows) -> None:
        self.keys[rows] = 0
        self.ivs[rows] = 0
        self.secrets[rows] = 0
        self.numbers[rows] = 0

    def key(self, fd: int, suite: Suite) -> bytes:
        return bytes(self._key[fd * MAX_KEY : fd * MAX_KEY + suite.key_size])

    def take_nonce(self, fd: int) -> bytes:
        """Return the nonce of the next record of one connection, which is used up (RFC 8446, section 5.3)."""
        number = self._number[fd]
        self._number[fd] = number + 1
        return (int.from_bytes(self._iv[fd * IV : (fd + 1) * IV], "big") ^ number).to_bytes(IV, "big")

    def keys_of(self, rows: Rows, suite: Suite) -> list[bytes]:
        """Return the key of each row."""
        size = suite.key_size
        return [key for (key,) in _KEYS[size].iter_unpack(self.keys[rows, :size].tobytes())]

    def nonces(self, rows: Rows, behind: Rows | int = 0) -> list[bytes]:
        """Return the nonce of a record of each row, so many behind the next one."""
        nonces = self.ivs[rows]
        numbers = (self.numbers[rows] + np.asarray(behind, np.uint64)).astype(">u8")
        nonces[:, IV - 8 :] ^= numbers.view(np.uint8).reshape(-1, 8)
        return [nonce for (nonce,) in _IVS.iter_unpack(nonces.tobytes())]
