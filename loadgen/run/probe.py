"""One connection with all the options of a run: what is sent, what comes, and what a run would make of it.

In: an outlook that refused nothing. Out: a `Probed`. It opens the connection of the plan's first user to the first
address of the target, waits until it is open, and listens until `MESSAGES` have come, or for `seconds`. Pings are not
answered: no server waits so short a time for that. Where it polls, it polls again after each answer, until one has no
message. Fails: Refused where the connection can't be had; what a server says in answer is never an error, but told.
"""

import errno
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ssl import SSLError

from floodtest.flyweight.engine.texts import Texts
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.endpoints import family_of, sockaddr
from floodtest.loadgen.client.accounts import Phase, failure_name
from floodtest.loadgen.client.unix_queue import PAUSE
from floodtest.loadgen.client.worker import column_of
from floodtest.loadgen.preflight.outlook import Outlook
from floodtest.loadgen.run.probe_tls import Agreed, NotSecured, end_of, secure
from floodtest.wire.answers import Answer, NotOpened, Opened
from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import Beginning, Framing, begun_behind, decode_all
from floodtest.wire.framing.poll_answers import unpacked
from floodtest.wire.http import authority
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.poll_requests import Polls
from floodtest.wire.protocols import client_protocol
from floodtest.wire.template import Column
from floodtest.wire.tls.settings import ClientTls

MESSAGES = 3
KEPT = 1 << 14
"""Bytes of the answer that are kept to be shown."""


@dataclass
class Probed:
    """What was seen; times in seconds from when the connection was begun."""

    address: tuple[str, int]
    source: str
    request: bytes
    sent: bytes | None = None
    """What was sent behind the head of the answer, without its framing; None: nothing was to be sent."""
    connected: float = 0.0
    agreed: Agreed | None = None
    """What was agreed on by the handshake of TLS; None: there was none."""
    secured: float = 0.0
    """When that was over."""
    first_byte: float | None = None
    answer: bytes = b""
    """The first of it."""
    framing: Framing | None = None
    opened: float | None = None
    messages: list[bytes] = field(default_factory=list)
    """The first ones, those that opened it included."""
    failure: str | None = None
    """Why it did not open, or ended, by a name of `analysis.record.causes`; None: it was open to the end."""
    note: str | None = None
    """What more there is to say of that."""

    @property
    def where(self) -> str:
        """Both ends of the connection, in words."""
        return authority(*self.address) + (f" from {self.source}" if self.source else "")


class Probe:
    """The connection, and how far it has come."""

    def __init__(self, outlook: Outlook) -> None:
        assert outlook.target is not None, "the command sees to it"
        options = outlook.options
        (self._share, *_), self._users = options.plan.shares(1), outlook.users
        self._user, protocol = options.plan.first_user, client_protocol(options.spoken, options.polling)
        user = self._user
        request = protocol.request(outlook.target.asked, outlook.target.host)
        self._polls = None if options.polling is None else Polls(request, self._column, 1, options.polling)
        self._held = options.held if options.opens_when == "held" else None
        (sent,) = (protocol.requests(request, self._column) if self._polls is None else self._polls.first)([user])
        self._protocol = protocol
        texts, on_the_wire = request.texts_to_send(self._column), protocol.sends(request, self._column)
        self._first_text = None if texts is None else texts([user])[0]
        self._to_send = None if on_the_wire is None else on_the_wire([user])[0]
        answers = protocol.answers(OpenWhen(options.opens_when), 0, request)
        self._at_once = answers.at_once
        self._answer: Answer = answers.begin(user)
        self._begun: Beginning | None = None
        self._began = 0.0
        self._tls = outlook.target.tls
        self.probed = Probed(outlook.target.address_of(user), self._share.pieces[0].address, sent)

    def _column(self, name: str) -> Column:
        users = self._users
        texts = None if users is None else Texts(users.descriptor, users.shape)
        return column_of(name, self._share, () if users is None else users.columns, texts)

    def run(self, connect_timeout: float, seconds: float) -> Probed:
        """Open the connection and listen to it."""
        probed = self.probed
        self._began = time.monotonic()
        try:
            with ExitStack() as stack:
                sock: socket.socket | None = stack.enter_context(self._connect(connect_timeout))
                probed.connected = self._elapsed()
                if sock is not None and self._tls is not None and (sock := self._secured(sock, self._tls)) is not None:
                    stack.enter_context(sock)
                if sock is not None:
                    self._talk(sock, connect_timeout, seconds)
        except OSError as error:
            raise Refused(f"No connection to {probed.where}: {error.strerror or error}. Is the server up?") from error
        return probed

    def _secured(self, sock: socket.socket, tls: ClientTls) -> socket.socket | None:
        """Do the handshake of TLS; None where it failed."""
        try:
            secured, self.probed.agreed = secure(sock, tls)
        except NotSecured as error:
            self._fail(Phase.TLS, error.code)
            self.probed.note = error.note
            return None
        self.probed.secured = self._elapsed()
        return secured

    def _talk(self, sock: socket.socket, connect_timeout: float, seconds: float) -> None:
        _send(sock, self.probed.request)
        if self._at_once is not None:
            self._open(sock, self._at_once)
        self._listen(sock, connect_timeout, seconds)

    def _connect(self, timeout: float) -> socket.socket:
        sock = socket.socket(family_of(self.probed.address[0]))
        try:
            sock.settimeout(timeout)
            if self.probed.source:
                sock.bind((self.probed.source, 0))
            self._find_room(sock, timeout)
        except OSError:
            sock.close()
            raise
        return sock

    def _find_room(self, sock: socket.socket, timeout: float) -> None:
        """Connect; where the queue of a Unix socket is full, wait for room in it."""
        while True:
            try:
                sock.connect(sockaddr(self.probed.address))
            except BlockingIOError as error:
                if self._elapsed() >= timeout:
                    raise TimeoutError(errno.ETIMEDOUT, f"its queue was full for {timeout:g} s") from error
                time.sleep(PAUSE)  # nothing tells when there is room
            else:
                return

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _listen(self, sock: socket.socket, connect_timeout: float, seconds: float) -> None:
        probed = self.probed
        while (probed.opened is None or len(probed.messages) < MESSAGES) and probed.failure is None:
            until = self._patience(connect_timeout) if probed.opened is None else probed.opened + seconds
            try:
                sock.settimeout(max(0.001, until - self._elapsed()))
                data = sock.recv(1 << 16)
            except TimeoutError:
                if probed.opened is None and self._held is not None and probed.first_byte is None:
                    probed.opened, probed.framing = self._elapsed(), self._protocol.framings[0]
                    continue
                if probed.opened is None:
                    self._fail(
                        Phase.RESPONSE, Cause.OPEN_WHEN_UNMET if self._answer.search.has_messages else errno.ETIMEDOUT
                    )
                return
            except (ConnectionResetError, SSLError) as error:
                self._fail(Phase.RESPONSE if probed.opened is None else Phase.OPEN, end_of(error))
                return
            if not data:
                cause = Cause.NO_ANSWER if probed.first_byte is None else Cause.CUT
                self._fail(Phase.RESPONSE if probed.opened is None else Phase.OPEN, cause)
                return
            probed.first_byte = self._elapsed() if probed.first_byte is None else probed.first_byte
            probed.answer += data[: max(0, KEPT - len(probed.answer))]
            self._take(sock, data)

    def _patience(self, connect_timeout: float) -> float:
        """Until when what opens the connection has to come; a poll that nobody answers is open at some time."""
        if self._held is None or self.probed.first_byte is not None:
            return connect_timeout
        return self.probed.connected + self._held

    def _take(self, sock: socket.socket, data: bytes) -> None:
        probed = self.probed
        if probed.opened is not None:
            self._decode(sock, data)
            return
        try:
            opened = self._answer.add(data)
        except NotOpened as error:
            self._fail(Phase.RESPONSE, error.code)
            return
        if self._answer.has_head and self._to_send is not None:
            _send(sock, self._to_send)
            probed.sent, self._to_send = self._first_text, None
        probed.messages += self._answer.heard
        if opened is not None:
            self._open(sock, opened)
        elif self._answer.reply:
            self._poll_again(sock, self._answer.reply)

    def _open(self, sock: socket.socket, opened: Opened) -> None:
        self.probed.opened, self.probed.framing = self._elapsed(), opened.framing
        for body in opened.bodies:
            self._decode(sock, body)

    def _poll_again(self, sock: socket.socket, reply: bytes) -> None:
        """Write the next poll where connections poll; a server that answers at once and has nothing is left alone."""
        if self._polls is None:
            return
        answer = unpacked(reply)
        self._polls.take([0], [answer.cursor])
        if answer.has_message:
            _send(sock, self._polls.next([0], [self._user])[0])

    def _decode(self, sock: socket.socket, data: bytes) -> None:
        probed = self.probed
        assert probed.framing is not None
        whole = data if self._begun is None else self._begun.add(data)
        if whole is None:
            return
        decoded, broken = decode_all(probed.framing, whole)
        probed.messages += decoded.payloads
        if broken or decoded.ended:
            self._fail(Phase.OPEN, broken or Cause.FINISHED)
        else:
            self._begun = begun_behind(probed.framing, self._begun, decoded)
            if decoded.reply:
                self._poll_again(sock, decoded.reply)

    def _fail(self, phase: Phase, code: int) -> None:
        self.probed.failure = failure_name(phase, code)


def _send(sock: socket.socket, data: bytes) -> None:
    """Send, unless the server has gone: what it has said before, and how it ended, is read after that."""
    with suppress(BrokenPipeError, ConnectionResetError, SSLError):
        sock.sendall(data)
