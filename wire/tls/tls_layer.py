"""TLS for one worker, at either end: a layer below intake and outbox (`flyweight.engine.layer`).

In: descriptors whose handshake begins, what is read of them, what is to be said to them. Out: the flights of their
handshakes, which the layer writes itself; sealed records; texts; who is over, by an errno, `END` or a `Cause`. A
connection of TLS 1.3 moves into columns behind its handshake (`wire.tls.key_columns`); one of TLS 1.2 keeps its object,
up to `MOST_KEPT` of them. An end that its peer has not announced by an alert is `Cause.TLS_CUT`: somebody between the
two may have cut it. Fails: connections one by one, never the worker.
"""

import ssl
import time
from collections.abc import Callable, Iterable

from floodtest.flyweight.engine.intake import END
from floodtest.flyweight.engine.layer import Over, Sweep
from floodtest.flyweight.engine.outbox import Gone
from floodtest.flyweight.engine.sweep import without
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_records
from floodtest.wire.tls.counts import TlsCounts
from floodtest.wire.tls.handshaking import MOST_HANDSHAKES, Failed, Handshake, Kept, KeyLog
from floodtest.wire.tls.key_columns import KeyColumns
from floodtest.wire.tls.resumption import Resumption
from floodtest.wire.tls.settings import MOST_KEPT


class TlsLayer:
    """The connections of one worker."""

    def __init__(
        self, context: ssl.SSLContext, length: int, server_name: str | None = None, resume: float = 0.0
    ) -> None:
        """`length`: descriptors are below it. A client's `server_name` is sent, and verified if the context says so;
        `resume` is the share of its handshakes that take up a session.
        """
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._context = context
        self._is_server = context.protocol is ssl.PROTOCOL_TLS_SERVER
        self._server_name = server_name
        self._key_log = KeyLog(context)
        self._columns = KeyColumns(length, takes_tickets=not self._is_server)
        self._kept: dict[int, Kept] = {}
        self._resumption = Resumption(resume)
        self.handshakes: dict[int, Handshake] = {}
        """Those under way, by descriptor."""
        self._counts = TlsCounts()
        self._notes: dict[int, str] = {}
        self._passing: set[int] = set()  # whose bytes are handed on as they are
        self._last_flights: dict[int, bytes] = {}  # of handshakes, to go out with what is said next
        self._write: Callable[[list[int], list[bytes]], Gone] = lambda fds, data: {}
        self._secured: Callable[[list[int]], None] = lambda fds: None

    def bind(
        self, write: Callable[[list[int], list[bytes]], Gone], secured: Callable[[list[int]], None] | None = None
    ) -> None:
        """Have flights written by `write`, as they are, and `secured` told of connections behind their handshake."""
        self._write = write
        self._secured = secured or self._secured

    def take_counts(self) -> TlsCounts:
        """Return what has happened since the last time."""
        counts, self._counts = self._counts, TlsCounts()
        return counts

    def heard_of(self, fd: int) -> tuple[bytes, str | None] | None:
        """Return what a peer began with in a handshake that is not over, and what more there is to say of its failure;
        None where there is no such handshake.
        """
        handshake = self.handshakes.get(fd)
        return None if handshake is None else (handshake.begin, self._notes.get(fd))

    def renew(self, context: ssl.SSLContext) -> None:
        """Have handshakes that begin from now on use another context; those under way go on with theirs."""
        self._key_log.follow(context, {handshake.context for handshake in self.handshakes.values()})
        self._context = context

    def let_pass(self, fd: int) -> None:
        """Take a connection whose handshake has failed for one without TLS: bytes pass as they are, both ways."""
        self.forget([fd])
        self._passing.add(fd)

    @property
    def room(self) -> int:
        """How many handshakes may begin."""
        return MOST_HANDSHAKES - len(self.handshakes)

    @property
    def has_room(self) -> bool:
        """Whether another handshake may begin."""
        return self.room > 0

    def begin(self, fds: list[int]) -> list[bytes]:
        """Begin handshakes; return the first flight of each, which is empty at a server."""
        began = time.thread_time_ns()
        flights = []
        due = self._resumption.due
        for fd in fds:
            session = self._resumption.session()
            handshake = Handshake(self._context, self._key_log, self._is_server, self._server_name, session)
            self.handshakes[fd] = handshake
            flights.append(b"" if self._is_server else handshake.step()[0])
        self._counts.to_resume += self._resumption.due - due
        self._counts.cpu_ns += time.thread_time_ns() - began
        return flights

    def open(self, sweeps: list[Sweep], over: Over) -> tuple[list[Sweep], Over]:
        """Return the texts of what was read, of connections behind their handshake; write what handshakes have to."""
        texts: list[Sweep] = []
        ended: dict[int, int] = {}
        for fds, data, began, now in sweeps:
            of_kept: dict[int, bytes] = {}
            if ended and not ended.keys().isdisjoint(fds):  # what comes behind an end is of no interest
                fds, data = without({row for row, fd in enumerate(fds) if fd in ended}, fds, data)
            if self.handshakes or self._kept or self._passing:
                fds, data = self._take_others(fds, data, of_kept, ended)
            found = self._columns.open(fds, data)
            self._counts.tickets += found.tickets
            self._counts.key_updates += found.key_updates
            if found.replies:
                self._reply(found.replies, ended)
            ended.update(found.over)
            if found.fds or of_kept:
                texts.append(([*found.fds, *of_kept], [*found.data, *of_kept.values()], began, now))
        over = [(fd, self._code_of(fd, code)) for fd, code in over if fd not in ended]
        return texts, [*ended.items(), *over]

    def _code_of(self, fd: int, code: int) -> int:
        """Return why a connection is over that came to its end without an alert."""
        is_secured = fd in self._columns or fd in self._kept
        return Cause.TLS_CUT if code == END and is_secured else code

    def _reply(self, replies: dict[int, bytes], ended: dict[int, int]) -> None:
        """Write records as they are; who can't be written to any more is over."""
        gone = self._write(list(replies), self._behind_flights(list(replies), list(replies.values())))
        for fd, code in gone.items():
            ended.setdefault(fd, code)

    def _take_others(
        self, fds: list[int], data: list[bytes], texts: dict[int, bytes], ended: dict[int, int]
    ) -> tuple[list[int], list[bytes]]:
        """Take in what came for handshakes, and for connections with an object or without TLS, whose texts are added;
        return what columns have to open.
        """
        rows: dict[int, bytes] = dict(zip(fds, data, strict=True))
        begun = [fd for fd in fds if fd in self.handshakes]
        if begun:
            self._take_flights({fd: rows.pop(fd) for fd in begun}, rows, ended)
        texts.update((fd, rows.pop(fd)) for fd in self._passing & rows.keys())
        kept = [fd for fd in rows if fd in self._kept]
        if kept:
            self._open_kept({fd: rows.pop(fd) for fd in kept}, texts, ended)
        return list(rows), list(rows.values())

    def _open_kept(self, rows: dict[int, bytes], texts: dict[int, bytes], ended: dict[int, int]) -> None:
        """Open what came for connections that have an object."""
        replies: dict[int, bytes] = {}
        for fd, data in rows.items():
            found = self._kept[fd].open(data)
            self._counts.tickets += self._resumption.look(fd, self._kept[fd].session)
            if found.text:
                texts[fd] = found.text
            if found.reply:
                replies[fd] = found.reply
            if found.code is not None:
                ended[fd] = found.code
        if replies:
            self._reply(replies, ended)

    def _take_flights(self, flights: dict[int, bytes], rows: dict[int, bytes], ended: dict[int, int]) -> None:
        """Go on with handshakes; what has come behind those that are over is added to the rows."""
        began = time.thread_time_ns()
        replies: dict[int, bytes] = {}
        done: list[int] = []
        for fd, flight in flights.items():
            try:
                reply, is_over = self.handshakes[fd].step(flight)
            except Failed as failed:
                # To who speaks no TLS an alert is garbage before the text of an answer.
                reply, is_over = b"" if failed.cause == Cause.TLS_PLAIN else failed.last, False
                ended[fd] = failed.cause
                if failed.note:
                    self._notes[fd] = failed.note
            if reply:
                replies[fd] = reply
            if is_over:
                done.append(fd)
        for fd in done:
            self._secure(fd, rows, replies, ended)
        self._counts.cpu_ns += time.thread_time_ns() - began
        self._leave_last_flights(done, replies)
        if replies:
            self._reply(replies, ended)
        if secured := [fd for fd in done if fd not in ended]:
            self._secured(secured)
        if self._last_flights and not self._is_server:  # of those that have said nothing
            self._reply(dict.fromkeys(self._last_flights, b""), ended)

    def _leave_last_flights(self, done: list[int], replies: dict[int, bytes]) -> None:
        """Leave the last flights of handshakes for what is said next.

        By itself a flight would hold up what is said behind it until the other machine acknowledges it (Nagle), which
        takes 40 ms where the other side has nothing to say. At a server that is about tickets, which may wait; in TLS
        1.2 the client waits for its last flight.
        """
        for fd in done:
            if fd in replies and (not self._is_server or fd in self._columns):
                self._last_flights[fd] = replies.pop(fd)

    def _behind_flights(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        """Return what is to be written, behind the flights that were left for it."""
        if not self._last_flights:
            return data
        return [self._last_flights.pop(fd, b"") + each for fd, each in zip(fds, data, strict=True)]

    def _secure(self, fd: int, rows: dict[int, bytes], replies: dict[int, bytes], ended: dict[int, int]) -> None:
        """Move a connection behind its handshake into columns, or keep its object; what came behind the handshake is
        added to the rows. One more than are kept is over, as if its handshake had failed.
        """
        done = self.handshakes[fd].done()
        if not done.has_keys and len(self._kept) >= MOST_KEPT:
            ended[fd] = Cause.TLS_TOO_MANY_KEPT
            replies[fd] = replies.get(fd, b"") + done.kept().close_notify()
            return
        del self.handshakes[fd]
        self._counts.ciphers[done.cipher] += 1
        self._counts.resumed += done.is_resumed
        waits = self._resumption.keeps(fd)
        if done.has_keys and not waits:
            self._counts.tickets += done.written
            self._columns.install(fd, done.cipher, done.read_secret, done.write_secret, done.written)
            if unread := done.unread():
                rows[fd] = unread
        else:
            self._counts.kept += not done.has_keys
            self._kept[fd] = done.kept()
            rows[fd] = done.behind  # the rest is in the object already

    def seal(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        return self._behind_flights(fds, self._seal(fds, data))

    def _seal(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        rare = {row for row, fd in enumerate(fds) if self._is_rare(fd)} if self._kept or self._passing else ()
        if not rare:
            return self._columns.seal(fds, data)
        rest = iter(self._columns.seal(*without(rare, fds, data)))
        return [self._seal_rare(fds[row], text) if row in rare else next(rest) for row, text in enumerate(data)]

    def _is_rare(self, fd: int) -> bool:
        return fd in self._kept or fd in self._passing

    def _seal_rare(self, fd: int, text: bytes) -> bytes:
        """Return what is to be written for a connection that keeps its object, or that has no TLS."""
        return self._kept[fd].seal(text) if fd in self._kept else text

    def seal_last(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        """Return what is said last, and the alert that nothing follows; nothing for who is in a handshake."""
        return self._behind_flights(fds, list(map(self._seal_last, fds, data)))

    def _seal_last(self, fd: int, text: bytes) -> bytes:
        if self._is_rare(fd):
            sealed = self._seal_rare(fd, text)
            return sealed + self._kept[fd].close_notify() if fd in self._kept else sealed
        if fd not in self._columns:
            return b""
        return self._columns.seal([fd], [text])[0] + self._columns.alert(fd, tls_records.CLOSE_NOTIFY)

    def forget(self, fds: Iterable[int]) -> None:
        fds = list(fds)
        self._columns.forget(fds)
        self._resumption.forget(fds)
        for fd in fds:
            self.handshakes.pop(fd, None)
            self._kept.pop(fd, None)
            self._notes.pop(fd, None)
            self._last_flights.pop(fd, None)
            self._passing.discard(fd)

    def close(self) -> None:
        """Leave no file behind; connections are closed by who has them."""
        self._key_log.close()
