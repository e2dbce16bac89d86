"""Keys in columns: what is left of a TLS 1.3 connection behind its handshake, and the records of many at once.

A connection is a row in columns by descriptor: suite, and for each direction key, IV, number of the next record, and
the secret from which the next key comes. In: rows of descriptors, each once, and what they sent or are to be sent.
Out: their texts; sealed records. Who ends, and by which cause, is said beside the texts, and what came before is in
them. Nothing else is kept for a connection but by the few whose last record, or message behind the handshake, is not
whole: they stand in dicts.

Most reads are one record of data, or a few. They are opened as a batch; a row in which anything else comes, such as a
ticket, an update of keys, an alert or what can't be opened, is opened record by record, from where it was. Both ways
give one result (tests/wire/test_tls_key_columns.py).

Cost: 201 bytes a connection, of memory that is not in core dumps and is overwritten when it ends; about 2 µs a record
for its AEAD, made for the record, since one that is kept has 2.3 KB. Fails: never by what a peer sends.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag

from floodtest.flyweight.engine.intake import END
from floodtest.flyweight.engine.sparse import sparse_column
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_records
from floodtest.wire.tls.suites import IV, MAX_KEY, MAX_SECRET, SUITES, Suite
from floodtest.wire.tls.tls_records import DATA, HEAD, HEADER, MOST, VERSION, RecordFault

UPDATE_AFTER = 1 << 24
"""Records that are sealed with one key, at the most: AES-GCM is safe for 2^24.5 full ones (RFC 8446, section 5.5)."""

MOST_IDLE = 32
"""Records in a row of one connection that bring no data: tickets, updates of keys, empty ones."""

FEW = 8
"""Rows below which a batch costs more than one by one."""

_SUITES = tuple(SUITES.values())
_PLACES = {name: place for place, name in enumerate(SUITES, 1)}
_IVS = struct.Struct(f"{IV}s")
_KEYS = {size: struct.Struct(f"{size}s") for size in {suite.key_size for suite in _SUITES}}

Rows = npt.NDArray[np.intp]


@dataclass
class Opened:
    """What came in for some connections."""

    fds: list[int] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    """The texts of each, joined; those that had none are not there."""
    over: dict[int, int] = field(default_factory=dict)
    """Connections that have ended: `END` for those whose peer said so, or a `Cause`."""
    replies: dict[int, bytes] = field(default_factory=dict)
    """Sealed records that these are owed: updates of keys, alerts."""
    tickets: int = 0
    key_updates: int = 0

    def add_text(self, fd: int, text: bytes) -> None:
        if text:
            self.fds.append(fd)
            self.data.append(text)

    def add(self, other: "Opened") -> None:
        """Add what came in for other connections."""
        self.fds += other.fds
        self.data += other.data
        self.over |= other.over
        self.replies |= other.replies
        self.tickets += other.tickets
        self.key_updates += other.key_updates


class _Direction:
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

    def aead(self, fd: int, suite: Suite) -> Any:
        return suite.aead(bytes(self._key[fd * MAX_KEY : fd * MAX_KEY + suite.key_size]))

    def take_nonce(self, fd: int) -> bytes:
        """Return the nonce of the next record of one connection, which is used up (RFC 8446, section 5.3)."""
        number = self._number[fd]
        self._number[fd] = number + 1
        return (int.from_bytes(self._iv[fd * IV : (fd + 1) * IV], "big") ^ number).to_bytes(IV, "big")

    def aeads(self, rows: Rows, suite: Suite) -> Iterable[Any]:
        """Return an AEAD for each row."""
        size = suite.key_size
        return [suite.aead(key) for (key,) in _KEYS[size].iter_unpack(self.keys[rows, :size].tobytes())]

    def nonces(self, rows: Rows, behind: Rows | int = 0) -> list[bytes]:
        """Return the nonce of a record of each row, so many behind the next one."""
        nonces = self.ivs[rows]
        numbers = (self.numbers[rows] + np.asarray(behind, np.uint64)).astype(">u8")
        nonces[:, IV - 8 :] ^= numbers.view(np.uint8).reshape(-1, 8)
        return [nonce for (nonce,) in _IVS.iter_unpack(nonces.tobytes())]


class KeyColumns:
    """The TLS 1.3 connections of one worker, behind their handshakes."""

    def __init__(self, length: int, update_after: int = UPDATE_AFTER) -> None:
        """`length`: descriptors are below it; Refused where there are no addresses for so many."""
        self._suites = np.zeros(length, np.uint8)  # places in SUITES, from 1 on; 0 where there is no connection
        self._suite_of = self._suites.data
        self._read, self._write = _Direction("read", length), _Direction("write", length)
        self._rest: dict[int, bytes] = {}  # of records that are not whole
        self._begun: dict[int, bytes] = {}  # of messages behind the handshake that are not whole
        self._idle: dict[int, int] = {}  # records since the last data
        self._update_after = update_after

    def __contains__(self, fd: int) -> bool:
        return self._suite_of[fd] != 0

    def install(self, fd: int, suite: str, read: bytes, write: bytes, written: int = 0) -> None:
        """Take a connection over from its handshake: two traffic secrets, and how many records were written since."""
        self._suites[fd] = _PLACES[suite]
        self._read.install(fd, SUITES[suite], read, 0)
        self._write.install(fd, SUITES[suite], write, written)

    def forget(self, fds: Iterable[int]) -> None:
        """Overwrite the keys of connections that are over; others that are named have none."""
        rows = np.array([fd for fd in fds if self._suite_of[fd]], np.intp)
        if len(rows):
            self._suites[rows] = 0
            self._read.erase(rows)
            self._write.erase(rows)
            for rare in (self._rest, self._begun, self._idle):
                for fd in rare.keys() & set(rows.tolist()):
                    del rare[fd]

    def is_inside(self, fd: int) -> bool:
        """Whether a record of a connection has begun and is not whole."""
        return fd in self._rest

    # Sealing.

    def seal(self, fds: list[int], texts: list[bytes]) -> list[bytes]:
        """Return what has to be written to each connection for its text."""
        if len(fds) < FEW:
            return list(map(self._seal_one, fds, texts))
        rows = np.array(fds, np.intp)
        places = self._suites[rows]
        if not (places == places[0]).all():
            by_row = dict[int, bytes]()
            for alike in _alike(places):
                some = self.seal([fds[row] for row in alike], [texts[row] for row in alike])
                by_row.update(zip(alike, some, strict=True))
            return [by_row[row] for row in range(len(fds))]
        is_one_each = max(map(len, texts)) <= MOST and all(texts)
        if not is_one_each or int(self._write.numbers[rows].max()) >= self._update_after:
            return list(map(self._seal_one, fds, texts))
        suite = _SUITES[places[0] - 1]
        whole = [text + b"\x17" for text in texts]
        heads = [HEAD.pack(DATA, VERSION, len(text) + tls_records.TAG) for text in whole]
        sealed = map(_encrypt(suite), self._write.aeads(rows, suite), self._write.nonces(rows), whole, heads)
        found = [head + text for head, text in zip(heads, sealed, strict=True)]
        self._write.numbers[rows] += 1
        return found

    def _seal_one(self, fd: int, text: bytes) -> bytes:
        """Seal a text of any length, with an update of keys where one is due."""
        pieces = [text[at : at + MOST] for at in range(0, len(text), MOST)]
        return b"".join(self._seal_record(fd, piece, DATA) for piece in pieces)

    def _seal_record(self, fd: int, text: bytes, kind: int) -> bytes:
        update = self.update(fd) if self._write.numbers[fd] >= self._update_after else b""
        return update + self._seal_as_is(fd, text, kind)

    def _seal_as_is(self, fd: int, text: bytes, kind: int) -> bytes:
        head = HEAD.pack(DATA, VERSION, len(text) + 1 + tls_records.TAG)
        aead, nonce = self._write.aead(fd, _SUITES[self._suite_of[fd] - 1]), self._write.take_nonce(fd)
        sealed: bytes = aead.encrypt(nonce, text + bytes([kind]), head)
        return head + sealed

    def alert(self, fd: int, alert: bytes) -> bytes:
        """Return an alert for a connection, such as `tls_records.CLOSE_NOTIFY`."""
        return self._seal_as_is(fd, alert, tls_records.ALERT)

    def update(self, fd: int, asks: bool = False) -> bytes:
        """Return the record that tells a peer of new keys, with which all that is sealed from now on is sealed."""
        sealed = self._seal_as_is(fd, tls_records.key_update(asks), tls_records.HANDSHAKE)
        self._write.update(fd, _SUITES[self._suite_of[fd] - 1])
        return sealed

    # Opening.

    def open(self, fds: list[int], reads: list[bytes]) -> Opened:
        """Open what came for each connection."""
        if len(fds) < FEW:
            return self._open_one_by_one(fds, reads)
        places = self._suites[np.array(fds, np.intp)]
        if (places == places[0]).all():
            return self._open_singles(fds, reads) or self._open_any(fds, reads)
        found = Opened()
        for rows in _alike(places):
            found.add(self.open([fds[row] for row in rows], [reads[row] for row in rows]))
        return found

    def _open_singles(self, fds: list[int], reads: list[bytes]) -> Opened | None:
        """Open reads of one whole record of data each; None, with nothing changed, where one of them is not that."""
        if (self._rest and not self._rest.keys().isdisjoint(fds)) or min(map(len, reads)) <= HEADER + tls_records.TAG:
            return None
        if list(map(HEAD.unpack_from, reads)) != [(DATA, VERSION, len(read) - HEADER) for read in reads]:
            return None
        rows = np.array(fds, np.intp)
        texts = self._decrypt(rows, 0, reads)
        if texts is None:
            return None
        self._read.numbers[rows] += 1
        self._heard(fds)
        return Opened(fds, [text[:-1] for text in texts])

    def _open_any(self, fds: list[int], reads: list[bytes]) -> Opened:
        """Open rows of any number of records: in a batch where they are data, one by one where they are not."""
        found = Opened()
        rows = [(fd, *self._split(fd, read)) for fd, read in zip(fds, reads, strict=True)]
        counts = np.array([len(whole) for _, whole, _ in rows])
        behind = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        sealed = [record for _, whole, _ in rows for record in whole]
        texts = self._decrypt(np.repeat(np.array(fds, np.intp), counts), behind, sealed)
        at = 0
        for (fd, whole, fault), count in zip(rows, counts.tolist(), strict=True):
            if texts is None:
                self._open_one(fd, whole, found)
            elif count:
                self._read.numbers[fd] += np.uint64(count)
                self._heard([fd])
                found.add_text(fd, b"".join([text[:-1] for text in texts[at : at + count]]))
            at += count
            if fault is not None and fd not in found.over:
                self._fail(fd, fault, found)
        return found

    def _open_one_by_one(self, fds: list[int], reads: list[bytes]) -> Opened:
        """Open rows record by record."""
        found = Opened()
        for fd, read in zip(fds, reads, strict=True):
            whole, fault = self._split(fd, read)
            self._open_one(fd, whole, found)
            if fault is not None and fd not in found.over:
                self._fail(fd, fault, found)
        return found

    def _split(self, fd: int, read: bytes) -> tuple[list[bytes], RecordFault | None]:
        """Return the records that are whole now, and what is wrong with what stands behind them; keep the rest."""
        whole, rest, fault = tls_records.split(self._rest.pop(fd, b"") + read)
        if rest:
            self._rest[fd] = rest
        return whole, fault

    def _heard(self, fds: list[int]) -> None:
        """Note that data have come."""
        if self._idle:
            for fd in self._idle.keys() & set(fds):
                del self._idle[fd]

    def _decrypt(self, rows: Rows, behind: Rows | int, sealed: list[bytes]) -> list[bytes] | None:
        """Open records of one suite, of which each row names its connection; None where one of them is not data, or
        is empty.

        A text ends with its type: what is padded ends with zeros, and is none of these.
        """
        if not len(rows):
            return None
        suite = _SUITES[self._suites[rows[0]] - 1]
        bodies, heads = [record[HEADER:] for record in sealed], [record[:HEADER] for record in sealed]
        try:
            texts = list(
                map(_decrypt(suite), self._read.aeads(rows, suite), self._read.nonces(rows, behind), bodies, heads)
            )
        except (InvalidTag, ValueError):  # ValueError: what is shorter than a tag
            return None
        sizes = list(map(len, texts))
        is_data = all(map(bytes.endswith, texts, repeat(b"\x17"))) and min(sizes) > 1 and max(sizes) <= MOST + 1
        return texts if is_data else None

    def _open_one(self, fd: int, sealed: list[bytes], found: Opened) -> None:
        """Open the records of one connection one after another, up to what ends it."""
        texts: list[bytes] = []
        try:
            for record in sealed:
                if not self._take_record(fd, record, texts, found):
                    break
        except RecordFault as fault:
            self._fail(fd, fault, found)
        found.add_text(fd, b"".join(texts))

    def _take_record(self, fd: int, record: bytes, texts: list[bytes], found: Opened) -> bool:
        """Take one record in; return whether another one may follow."""
        kind, text = self._open_record(fd, record)
        if kind == DATA and text:
            if fd in self._begun:
                raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
            self._heard([fd])
            texts.append(text)
            return True
        self._idle[fd] = self._idle.get(fd, 0) + 1
        if self._idle[fd] > MOST_IDLE:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        if kind == tls_records.ALERT:
            found.over[fd] = END if text == tls_records.CLOSE_NOTIFY or text[1:] == b"\0" else Cause.TLS_ALERT
            return False
        if kind == tls_records.HANDSHAKE and text:
            self._take_messages(fd, text, found)
        elif kind != DATA:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        return True

    def _open_record(self, fd: int, record: bytes) -> tuple[int, bytes]:
        """Open one record; return the type and the bytes of what is in it."""
        aead, nonce = self._read.aead(fd, _SUITES[self._suite_of[fd] - 1]), self._read.take_nonce(fd)
        try:
            text = aead.decrypt(nonce, record[HEADER:], record[:HEADER])
        except (InvalidTag, ValueError) as error:  # ValueError: what is shorter than a tag
            raise RecordFault(Cause.TLS_BAD_MAC, tls_records.BAD_MAC) from error
        return tls_records.unwrap(text)

    def _take_messages(self, fd: int, text: bytes, found: Opened) -> None:
        """Take in messages behind a handshake: tickets are counted, and keys updated."""
        whole, rest = tls_records.messages(self._begun.pop(fd, b"") + text)
        if rest:
            self._begun[fd] = rest
        for place, (kind, body) in enumerate(whole):
            if kind == tls_records.NEW_TICKET:
                found.tickets += 1
            elif kind == tls_records.KEY_UPDATE and body in (b"\0", b"\1") and not rest and place == len(whole) - 1:
                found.key_updates += 1
                self._read.update(fd, _SUITES[self._suite_of[fd] - 1])
                if body == b"\1":
                    found.replies[fd] = found.replies.get(fd, b"") + self.update(fd)
            else:
                raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)

    def _fail(self, fd: int, fault: RecordFault, found: Opened) -> None:
        """End a connection, and tell its peer why."""
        found.over[fd] = fault.cause
        found.replies[fd] = found.replies.get(fd, b"") + self.alert(fd, fault.alert)


def _alike(places: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Return the rows of each suite."""
    return [np.flatnonzero(places == place).tolist() for place in np.unique(places)]


def _encrypt(suite: Suite) -> Any:
    return suite.aead.encrypt  # type: ignore[attr-defined]


def _decrypt(suite: Suite) -> Any:
    return suite.aead.decrypt  # type: ignore[attr-defined]
