"""Keys in columns: what is left of a TLS 1.3 connection behind its handshake, and the records of many at once.

A connection is a row in columns by descriptor: suite, records without data since the last data, and for each direction
key, IV, number of the next record, and the secret from which the next key comes. In: rows of descriptors, each once,
and what they sent or are to be sent. Out: their texts; sealed records. Who ends, and by which cause, is said beside the
texts, and what came before is in them. Nothing else is kept for a connection but by the few whose last record, or
message behind the handshake, is not whole: they stand in dicts.

Most reads are one record of data, or a few. They are opened as a batch; a row in which anything else comes, such as a
ticket, an update of keys, an alert or what can't be opened, is opened record by record, from where it was. Both ways
give one result (tests/wire/test_tls_key_columns.py).

Cost: 202 bytes a connection, of memory of which all but the suite and the count of records is left out of core dumps
and overwritten when it ends; about 1 µs for a small record.
Fails: never by what a peer sends; LookupError for a descriptor without keys, whose text would go out under a key of
zeros.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.engine.intake import END
from floodtest.flyweight.engine.sparse import sparse_column
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_records
from floodtest.wire.tls.failures import cause_of_alert
from floodtest.wire.tls.key_direction import Direction, Rows
from floodtest.wire.tls.suites import SUITES, Suite
from floodtest.wire.tls.tls_records import DATA, HEAD, HEADER, MOST, MOST_SEALED, VERSION, RecordFault

UPDATE_AFTER = 1 << 24
"""Records that are sealed with one key, at the most: AES-GCM is safe for 2^24.5 full ones (RFC 8446, section 5.5)."""

MOST_IDLE = 32
"""Records in a row of one connection that bring no data: tickets, updates of keys, empty ones."""

FEW = 6
"""Rows below which a batch costs more than one by one."""

_SUITES = tuple(SUITES.values())
_PLACES = {name: place for place, name in enumerate(SUITES, 1)}
_DATA_TYPE = bytes([DATA])

Split = tuple[list[bytes], RecordFault | None]
"""Whole sealed records, and what is wrong with what stands behind them."""


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
    asked: set[int] = field(default_factory=set)
    """Whose peers asked for an update of keys: one is owed, however often they asked."""
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
        self.asked |= other.asked
        self.tickets += other.tickets
        self.key_updates += other.key_updates


class KeyColumns:
    """The TLS 1.3 connections of one worker, behind their handshakes."""

    def __init__(self, length: int, takes_tickets: bool = True, update_after: int = UPDATE_AFTER) -> None:
        """`length`: descriptors are below it; Refused where there are no addresses for so many. `takes_tickets`: as
        clients do, and servers may not.
        """
        self._suites = np.zeros(length, np.uint8)  # places in SUITES, from 1 on; 0 where there is no connection
        self._suite_of = self._suites.data
        self._read, self._write = Direction("read", length), Direction("write", length)
        self._idle: npt.NDArray[np.uint8] = sparse_column("records without data", length, np.uint8)
        self._idle_of = self._idle.data
        self._rest: dict[int, bytes] = {}  # of records that are not whole
        self._begun: dict[int, bytes] = {}  # of messages behind the handshake that are not whole
        self._not_whole = [self._rest, self._begun]
        self._kinds = {tls_records.KEY_UPDATE, tls_records.NEW_TICKET} if takes_tickets else {tls_records.KEY_UPDATE}
        self._update_after = update_after

    def __contains__(self, fd: int) -> bool:
        return self._suite_of[fd] != 0

    def _suite(self, fd: int) -> Suite:
        place = self._suite_of[fd]
        if not place:
            raise LookupError(f"Descriptor {fd} has no keys of TLS.")
        return _SUITES[place - 1]

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
            self._idle[rows] = 0
            self._read.erase(rows)
            self._write.erase(rows)
            for rare in self._not_whole:
                for fd in rare.keys() & set(rows.tolist()):
                    del rare[fd]

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
        suite = self._suite(fds[0])
        whole = [text + _DATA_TYPE for text in texts]
        heads = _heads([len(text) + tls_records.TAG for text in whole])
        found = suite.aead.seal(self._write.keys_of(rows, suite), self._write.nonces(rows), whole, heads)
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
        suite = self._suite(fd)
        key, nonce = self._write.key(fd, suite), self._write.take_nonce(fd)
        return suite.aead.seal_one(key, nonce, text + bytes([kind]), head)

    def alert(self, fd: int, alert: bytes) -> bytes:
        """Return an alert for a connection, such as `tls_records.CLOSE_NOTIFY`."""
        return self._seal_as_is(fd, alert, tls_records.ALERT)

    def update(self, fd: int) -> bytes:
        """Return the record that tells a peer of new keys, with which all that is sealed from now on is sealed."""
        sealed = self._seal_as_is(fd, tls_records.KEYS_UPDATED, tls_records.HANDSHAKE)
        self._write.update(fd, self._suite(fd))
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
        """Open reads of one whole record each; None, with nothing changed, where one of them is not that."""
        if min(map(len, reads)) < HEADER or not all(rare.keys().isdisjoint(fds) for rare in self._not_whole):
            return None
        if [read[:HEADER] for read in reads] != _heads([len(read) - HEADER for read in reads]):
            return None
        rows = np.array(fds, np.intp)
        texts = self._decrypt(rows, 0, reads)
        if not all(texts):
            return self._take_texts(fds, [([read], None) for read in reads], texts)
        self._read.numbers[rows] += 1
        self._idle[rows] = 0
        return Opened(fds, texts)

    def _open_any(self, fds: list[int], reads: list[bytes]) -> Opened:
        """Open rows of any number of records."""
        split = list(map(self._split, fds, reads))
        counts = np.array([len(whole) for whole, _ in split])
        behind = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        sealed = [record for whole, _ in split for record in whole]
        return self._take_texts(fds, split, self._decrypt(np.repeat(np.array(fds, np.intp), counts), behind, sealed))

    def _take_texts(self, fds: list[int], split: list[Split], texts: list[bytes]) -> Opened:
        """Take in rows of one batch, with the texts of all their records: those that are not data go one by one."""
        found = Opened()
        at = 0
        for fd, (whole, fault) in zip(fds, split, strict=True):
            count = len(whole)
            own = texts[at : at + count]
            at += count
            if count and all(own) and fd not in self._begun:
                self._read.numbers[fd] += np.uint64(count)
                self._idle_of[fd] = 0
                found.add_text(fd, b"".join(own))
                whole = []
            self._open_one(fd, whole, fault, found)
        return found

    def _open_one_by_one(self, fds: list[int], reads: list[bytes]) -> Opened:
        """Open rows record by record."""
        found = Opened()
        for fd, read in zip(fds, reads, strict=True):
            self._open_one(fd, *self._split(fd, read), found)
        return found

    def _split(self, fd: int, read: bytes) -> Split:
        """Return the records that are whole now, and what is wrong with what stands behind them; keep the rest."""
        whole, rest, fault = tls_records.split(self._rest.pop(fd, b"") + read)
        if rest:
            self._rest[fd] = rest
        return whole, fault

    def _decrypt(self, rows: Rows, behind: Rows | int, sealed: list[bytes]) -> list[bytes]:
        """Open records of one suite, of which each row names its connection. Empty is the text of one that does not
        open, or that brings anything else than data.

        What is opened ends with its type: what is padded ends with zeros, and is opened record by record.
        """
        if not sealed:
            return []
        suite = self._suite(int(rows[0]))
        keys, nonces = self._read.keys_of(rows, suite), self._read.nonces(rows, behind)
        return [
            text[:-1] if text and text[-1:] == _DATA_TYPE and len(text) <= MOST + 1 else b""
            for text in suite.aead.open(keys, nonces, sealed)
        ]

    def _open_one(self, fd: int, sealed: list[bytes], fault: RecordFault | None, found: Opened) -> None:
        """Open the records of one connection one after another, up to what ends it, which may be behind them."""
        texts: list[bytes] = []
        try:
            for record in sealed:
                if not self._take_record(fd, record, texts, found):
                    break
            if fault is not None and fd not in found.over:
                raise fault
        except RecordFault as broken:
            found.over[fd] = broken.cause
            found.replies[fd] = self.alert(fd, broken.alert)
        found.add_text(fd, b"".join(texts))
        if fd in found.asked and fd not in found.over:
            found.replies[fd] = self.update(fd)

    def _take_record(self, fd: int, record: bytes, texts: list[bytes], found: Opened) -> bool:
        """Take one record in; return whether another one may follow."""
        kind, text = self._open_record(fd, record)
        if fd in self._begun and kind != tls_records.HANDSHAKE:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        if kind == DATA and text:
            self._idle_of[fd] = 0
            texts.append(text)
            return True
        if kind == tls_records.ALERT and len(text) == tls_records.ALERT_SIZE:
            return self._take_alert(fd, text[1], found)
        if self._idle_of[fd] == MOST_IDLE:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        self._idle_of[fd] += 1
        if kind == tls_records.HANDSHAKE and text:
            self._take_messages(fd, text, found)
        elif kind != DATA:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        return True

    def _open_record(self, fd: int, record: bytes) -> tuple[int, bytes]:
        """Open one record; return the type and the bytes of what is in it."""
        suite = self._suite(fd)
        text = suite.aead.open_one(self._read.key(fd, suite), self._read.take_nonce(fd), record)
        if text is None:
            raise RecordFault(Cause.TLS_BAD_MAC, tls_records.BAD_MAC)
        return tls_records.unwrap(text)

    def _take_alert(self, fd: int, description: int, found: Opened) -> bool:
        """Take an alert in; return whether another record may follow."""
        if description == tls_records.USER_CANCELED:  # the end is announced by one that follows
            return True
        found.over[fd] = END if description == tls_records.CLOSE_NOTIFY[1] else cause_of_alert(description)
        return False

    def _take_messages(self, fd: int, text: bytes, found: Opened) -> None:
        """Take in messages behind a handshake: tickets are counted, and keys updated."""
        whole, rest = tls_records.messages(self._begun.pop(fd, b"") + text)
        if rest:
            self._begun[fd] = rest
        for place, (kind, body) in enumerate(whole):
            if kind == tls_records.NEW_TICKET and kind in self._kinds:
                found.tickets += 1
            elif kind == tls_records.KEY_UPDATE and body in (b"\0", b"\1") and not rest and place == len(whole) - 1:
                found.key_updates += 1
                self._read.update(fd, self._suite(fd))
                if body == b"\1":
                    found.asked.add(fd)
            else:
                raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)
        if rest and rest[0] not in self._kinds:
            raise RecordFault(Cause.TLS_BAD_RECORD, tls_records.UNEXPECTED)


def _alike(places: npt.NDArray[np.uint8]) -> list[list[int]]:
    """Return the rows of each suite."""
    return [np.flatnonzero(places == place).tolist() for place in np.unique(places)]


def _heads(sizes: list[int]) -> list[bytes]:
    """Return what stands before encrypted parts of these sizes, which in a batch are mostly alike; nothing stands
    before one that is larger than any may be.
    """
    if sizes.count(sizes[0]) == len(sizes):
        return [_head(sizes[0])] * len(sizes)
    return list(map(_head, sizes))


def _head(size: int) -> bytes:
    return HEAD.pack(DATA, VERSION, size) if size <= MOST_SEALED else b""
