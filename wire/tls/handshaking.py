"""Handshakes: OpenSSL does them on buffers, and leaves the secrets of a connection, which then goes into columns.

In: what a peer sends. Out: what to answer; at the end the traffic secrets (TLS 1.3), or the object that stays (TLS 1.2,
whose keys can't be had). OpenSSL does not read ahead, so that what it has left unread is the beginning of the stream.
Secrets come by the key log, a pipe of this worker that is emptied by each step: what is in it then is of the one
handshake that made the step. The kernel never writes what is in a pipe to a disk, not even to swap as it would a file
in memory, and to read it is to empty it.

Cost: about 0.4 ms of CPU at a client, 0.2 at a server with a key of P-256, and 20 to 35 KiB while it lasts. Fails:
`Failed`, with the cause, and what is still to be written, an alert.
"""

import os
import ssl
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from floodtest.flyweight.engine.intake import END
from floodtest.wire.causes import Cause
from floodtest.wire.tls import tls_records
from floodtest.wire.tls.failures import cause_behind, cause_of
from floodtest.wire.tls.suites import SUITES

MOST_HANDSHAKES = 256
"""Handshakes of a worker that are under way at a time, of 20 to 35 KiB each."""

PIECE = 1 << 14
"""Bytes that OpenSSL is given at a time. Its buffers never become smaller, so that a connection that keeps its object
would keep a buffer for the largest read that it ever had.
"""

MOST_TAKEN = 1 << 17
"""Bytes that a peer may send before its handshake is over: OpenSSL takes certificates of 100 KiB."""

SHOWN = 64
"""Bytes of what a peer began with that are kept: enough to tell what else than TLS it speaks."""

MOST_LOGGED = 1 << 14
"""Bytes that a step may write into the key log: it writes 940, in five lines, and the smallest pipe has room for 4,096.
"""

_SECRETS = (b"CLIENT_TRAFFIC_SECRET_0 ", b"SERVER_TRAFFIC_SECRET_0 ")
_BEFORE = len(_SECRETS[0]) + 64 + len(" ")
"""Characters of a line before its secret: whose it is, and 32 bytes of the client's hello."""


class Failed(Exception):
    """A handshake that has come to nothing; `last` is to be written, and may be empty."""

    def __init__(self, cause: Cause, note: str | None, last: bytes) -> None:
        super().__init__(cause)
        self.cause = cause
        self.note = note
        self.last = last


class KeyLog:
    """Where the context of a worker writes secrets; only its own thread may use it, and has to close it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Fails: OSError where there is no /proc."""
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.close(writer)  # contexts open ends of their own
        self._contexts: list[ssl.SSLContext] = []
        self.follow(context)

    def follow(self, context: ssl.SSLContext, besides: Collection[ssl.SSLContext] = ()) -> None:
        """Have another context write its secrets here; of those before only who is among `besides` goes on, as
        connections of TLS 1.2 keep a context, and its end of the pipe, for as long as they live.
        """
        self._leave(one for one in self._contexts if one not in besides)
        self._contexts = [*(one for one in self._contexts if one in besides and one is not context), context]
        # The kernel opens a pipe anew by the name of either end, to be written if that is asked for. A worker thread
        # has files of its own, which are not those of /proc/self.
        context.keylog_filename = f"/proc/thread-self/fd/{self._reader}"

    def take(self) -> bytes:
        """Return what has been written since the last time, of which nothing is left."""
        try:
            return os.read(self._reader, MOST_LOGGED)
        except BlockingIOError:
            return b""

    def _leave(self, contexts: Iterable[ssl.SSLContext]) -> None:
        for context in contexts:
            context.keylog_filename = None  # type: ignore[assignment]  # closes OpenSSL's end

    def close(self) -> None:
        self._leave(self._contexts)
        os.close(self._reader)


class Handshake:
    """One that is under way, at either end."""

    def __init__(
        self,
        context: ssl.SSLContext,
        key_log: KeyLog,
        is_server: bool,
        server_name: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """`session`: what a client takes up again."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, is_server, server_name, session)
        self._key_log = key_log
        self._logged = self._last = self._behind = b""
        self._is_server = is_server
        self._taken = 0
        self.begin = b""
        """The first bytes that came."""

    @property
    def context(self) -> ssl.SSLContext:
        return self._object.context

    def step(self, data: bytes = b"") -> tuple[bytes, bool]:
        """Take in what came; return what is to be written, and whether the handshake is over."""
        if len(self.begin) < SHOWN:
            self.begin += data[: SHOWN - len(self.begin)]
        at = 0
        while not self._go_on(data[at : at + PIECE]):
            at += PIECE
            if self._taken > MOST_TAKEN:
                raise Failed(Cause.TLS_FAILED, "it is longer than one may be", self._outgoing.read())
            if at >= len(data):
                return self._outgoing.read(), False
        self._last, self._behind = self._outgoing.read(), data[at + PIECE :]
        return self._last, True

    def done(self) -> "Done":
        """Return what has come of a handshake that is over.

        Its cost is half when many are asked for this one after another, and no step is between them: OpenSSL leaves
        nothing else in a processor's caches.
        """
        return Done(
            self._object, self._incoming, self._outgoing, self._logged, self._is_server, self._last, self._behind
        )

    def _go_on(self, piece: bytes) -> bool:
        """Go on with a piece of what came; return whether that was the last of the handshake."""
        self._taken += len(piece)
        self._incoming.write(piece)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            cause, note = cause_of(error, self.begin)
            raise Failed(cause, note, self._outgoing.read()) from error
        except OSError as error:  # where OpenSSL has no error of its own, Python raises what the thread's errno says
            raise Failed(Cause.TLS_FAILED, None, self._outgoing.read()) from error
        finally:
            if self._taken:  # before there is anything of the other side there are no secrets
                self._logged += self._key_log.take()
        return True


class Done:
    """A handshake that is over."""

    def __init__(
        self,
        whole: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        logged: bytes,
        is_server: bool,
        last: bytes,
        behind: bytes,
    ) -> None:
        """`last`: what is written at the end. `behind`: what came, and OpenSSL was not given."""
        self._object, self._incoming, self._outgoing = whole, incoming, outgoing
        cipher, version = whole.cipher(), whole.version()
        assert cipher is not None
        assert version is not None
        self.behind = behind
        self.cipher = cipher[0]
        self.is_resumed = bool(whole.session_reused)
        # A suite that we do not have, which a policy of OpenSSL's may allow: it keeps its object, as TLS 1.2 does.
        self.has_keys = version == "TLSv1.3" and self.cipher in SUITES
        if self.has_keys:
            secrets = [_secret_in(logged, name) for name in _SECRETS]
            self.read_secret, self.write_secret = secrets if is_server else reversed(secrets)
            # What a server writes behind the client's last message are tickets, the first records of the stream.
            whole_records, _, _ = tls_records.split(last) if is_server else ([], b"", None)
            self.written = len(whole_records)

    def unread(self) -> bytes:
        """Return what came behind the handshake; the object is not to be used any more."""
        return self._incoming.read() + self.behind

    def kept(self) -> "Kept":
        """Return the connection with its object, for whose records nobody else has the keys; it has still to be given
        what OpenSSL was not.
        """
        return Kept(self._object, self._incoming, self._outgoing)


def _secret_in(logged: bytes, name: bytes) -> bytes:
    """Return a secret of a key log."""
    start = logged.index(name) + _BEFORE
    return bytes.fromhex(logged[start : logged.index(b"\n", start)].decode())


class Opened(NamedTuple):
    """What came for a connection that keeps its object."""

    text: bytes
    reply: bytes
    code: int | None
    """Why it is over, by a `Cause` or `END`; None: it is not."""


class Kept:
    """A connection that keeps its object: of TLS 1.2, or one that waits for a ticket of TLS 1.3."""

    def __init__(self, whole: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._object, self._incoming, self._outgoing = whole, incoming, outgoing

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later handshake can take up again, if it has a ticket."""
        return self._object.session

    def seal(self, text: bytes) -> bytes:
        """Return the records of a text; nothing where what came has ended the connection already."""
        sealed: list[bytes] = []
        with suppress(ssl.SSLError):
            for at in range(0, len(text), PIECE):
                self._object.write(text[at : at + PIECE])
                sealed.append(self._outgoing.read())
        return b"".join(sealed)

    def open(self, data: bytes) -> Opened:
        """Take in what came, which may be nothing."""
        texts: list[bytes] = []
        reply, code = b"", None
        for at in range(0, len(data) or 1, PIECE):
            self._incoming.write(data[at : at + PIECE])
            code = self._read(texts)
            reply = self._outgoing.read()
            # Of itself OpenSSL only answers what it refuses, such as a renegotiation, and in TLS 1.3 updates of keys.
            if reply and code is None and self._object.version() != "TLSv1.3":
                code = Cause.TLS_BAD_RECORD
            if code is not None:
                break
        return Opened(b"".join(texts), reply, code)

    def _read(self, texts: list[bytes]) -> int | None:
        """Add the texts of what OpenSSL has; return by what the connection is over, if it is."""
        try:
            while text := self._object.read(PIECE):
                texts.append(text)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return END
        except ssl.SSLError as error:
            return cause_behind(error)
        return END

    def close_notify(self) -> bytes:
        """Return the alert that nothing follows."""
        with suppress(ssl.SSLError):  # it waits for the other's
            self._object.unwrap()
        return self._outgoing.read()
