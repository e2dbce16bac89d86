"""A client worker of the other kind: an httpx stream and a trio task for each connection, as programs on httpx are.

It has the limit that HTTP clients had in 2008: it names the address a connection comes from, but not the port, which
the kernel chooses among net.ipv4.ip_local_port_range. Orders, news and accounts are those of every client worker.
httpx hands on the text of an answer, not its chunks: where a chunk is a message, text up to one that ends with a
newline is counted as one, as all do that our server sends, and what never ends with one is no message here. Bytes are
those of the text.

Cost: 24 KiB a connection, and many times the CPU. Fails: connections one by one, on the accounts, by the errno below
what httpx raises; it does not tell a bind from a connect.
"""

import errno
import socket
import ssl
import time
from collections import Counter
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import numpy as np
import trio

from floodtest.flyweight.machine.core_files import forbid_core_files
from floodtest.flyweight.machine.endpoints import is_path
from floodtest.loadgen.client.accounts import Phase
from floodtest.loadgen.client.orders import Closed, Go, Halt
from floodtest.loadgen.client.unix_queue import PAUSE
from floodtest.loadgen.client.worker import Shared, be_worker, report
from floodtest.loadgen.plan.pacer import Pacer
from floodtest.wire import http
from floodtest.wire.answers import SHOWN, NotOpened
from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import MAX_PAYLOAD, Beginning, Framing, begun_behind, decode_all
from floodtest.wire.framing.in_chunks import without_chunks
from floodtest.wire.http import authority
from floodtest.wire.mark import EVERYBODY
from floodtest.wire.names import DEFAULT_PROTOCOL
from floodtest.wire.open_when import OpenWhen, Search
from floodtest.wire.protocols import CLIENT_PROTOCOLS
from floodtest.wire.sequence import OutOfSequence, Window
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.counts import TlsCounts
from floodtest.wire.tls.failures import cause_of

POOL = 250
"""Connections of one httpx client, which looks at all of its own for each request."""

LATER = 0.1
"""Seconds after its own time-out that we wait for httpx to say so: it knows whether it was connected."""


@dataclass(eq=False, slots=True)
class Stream:
    """What is known of one connection."""

    user: int
    search: Search
    protocol: str = DEFAULT_PROTOCOL
    """What its answer is, once its head has come."""
    framing: Framing | None = None
    """What messages are told apart by. None: text up to a read that ends with a line end is one message."""
    waits: bool = False
    """Whether it waits for room in the queue of a Unix socket."""
    is_open: bool = False
    number: int = 0
    """Of the last message."""
    window: Window = field(default_factory=Window)
    """Of the last messages, where they may overtake each other."""
    begun: bytes = b""
    """Text without its end, where nothing else tells of messages."""
    frame: Beginning | None = None
    """The beginning of a message in the framing."""
    ends_with_connection: bool = False
    """Whether the end of its body is that of its connection."""
    said: bytes = b""
    """The beginning of its answer, while it is not open."""
    since: float = 0.0
    """When it was begun, or when it was open (time.monotonic)."""
    last: float = 0.0
    """When it last got something."""

    @property
    def cut(self) -> Cause:
        """What it is when it ends now, and nothing has said that it would."""
        begun = self.begun
        if self.framing is not None and self.frame is not None:
            begun = decode_all(self.framing, bytes(self.frame.data))[0].rest
        return Cause.CUT_INSIDE if self.is_open and begun else Cause.CUT


class HttpxClient:
    """The ramp of one worker, and its connections, whose tasks run in `tasks`."""

    def __init__(self, shared: Shared, tasks: trio.Nursery, clients: AsyncExitStack) -> None:
        spec = shared.spec
        self._channel = shared.channel
        self._share = spec.share
        self._pacer = Pacer(spec.stages)
        self._accounts = shared.accounts
        self._tasks = tasks
        self._clients = clients
        self._timeout = spec.connect_timeout
        self._protocol = CLIENT_PROTOCOLS[spec.protocol]
        self._open_when = OpenWhen(spec.open_when)
        self._names_users = spec.grammar.names_users
        self._may_overtake = spec.grammar.may_overtake
        self._said = spec.grammar.reader()
        # Without TLS it is not used, but httpx makes one for each client.
        self._tls = httpx.create_ssl_context(verify=False) if spec.tls is None else client_context(spec.tls)
        if spec.tls is not None:
            forbid_core_files()
        self._server_name = None if spec.tls is None else spec.tls.server_name
        self._path = next((host for host, _ in spec.targets if is_path(host)), None)
        scheme = "http" if spec.tls is None else "https"
        self._urls = [
            "http://localhost/" if self._path else f"{scheme}://{authority(*target)}/" for target in spec.targets
        ]
        self._choice = spec.choice
        self._requests = shared.requests()
        self._room = trio.Semaphore(0)
        self._halted = False
        self.in_flight = 0
        self.started = trio.Event()
        self.settled = trio.Event()

    async def obey(self) -> None:
        """Carry out orders until told to close, or until the parent is gone."""
        while True:
            match await self._channel.receive():
                case Go() as order:
                    self._tasks.start_soon(self.ramp, order)
                case Halt():
                    self.halt()
                case _:
                    return

    async def ramp(self, order: Go) -> None:
        """Begin the connections of the share, each when it is due and there is room for it in flight."""
        self._room = trio.Semaphore(order.in_flight)
        for piece in self._share.pieces:
            users = range(piece.first_user, piece.first_user + piece.count)
            for first in range(0, piece.count, POOL):
                client = await self._new_client(piece.address)
                for user in users[first : first + POOL]:
                    connection = self._share.before + 1 + user - self._share.first_user
                    await trio.sleep(max(0.0, order.start + self._pacer.time_of(connection) - time.monotonic()))
                    await self._room.acquire()
                    if self._halted:
                        return
                    self._accounts.started(np.array([user]))
                    self.in_flight += 1
                    self._tasks.start_soon(self._follow, client, user)
        self._all_begun()

    def halt(self) -> None:
        """Begin no more."""
        self._halted = True
        self._all_begun()

    def _all_begun(self) -> None:
        self.started.set()
        if not self.in_flight:
            self.settled.set()

    async def _new_client(self, address: str) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None)
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls, local_address=address or None, uds=self._path, limits=limits
        )
        timeout = httpx.Timeout(None, connect=self._timeout)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # one user's are not the next one's
        client = httpx.AsyncClient(
            transport=transport,
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
            cookies=no_cookies,
            event_hooks={"response": [self._read_head]},
            trust_env=False,
        )
        return await self._clients.enter_async_context(client)

    async def _follow(self, client: httpx.AsyncClient, user: int) -> None:
        """Be one connection, from its request to its end."""
        stream = Stream(user, Search(self._open_when, user), since=time.monotonic())
        phase, code, note = Phase.RESPONSE, 0, None
        try:
            with trio.move_on_after(self._timeout + LATER) as patience:
                async with aclosing(await self._ask(client, stream)) as response:
                    if self._open_when.is_head:
                        self._open(stream, patience)
                    async for text in response.aiter_raw():
                        self._read(stream, text, patience)
                    code = stream.cut if stream.ends_with_connection else Cause.FINISHED
            if patience.cancelled_caught:
                phase = Phase.CONNECT if stream.waits else phase
                code = Cause.OPEN_WHEN_UNMET if stream.search.has_messages else errno.ETIMEDOUT
        except NotOpened as error:
            code, note = error.code, error.note
        except httpx.TransportError as error:
            phase, code = cause(error)
            code = stream.cut if code == Cause.CUT else code
        except trio.Cancelled:
            self._accounts.closed(int(stream.is_open))
            raise
        if stream.is_open:
            now = time.monotonic()
            self._accounts.lived(*(int((now - at) * 1000) for at in (stream.since, stream.last)))
            self._accounts.closed_early(user, code)
        else:
            self._accounts.failed(user, phase, code)
            if stream.said:
                self._accounts.answered(user, phase, code, stream.said, note)
            self._settle()

    async def _ask(self, client: httpx.AsyncClient, stream: Stream) -> httpx.Response:
        """Send a user's request, and return the head of the answer to it.

        Where the queue of a Unix socket is full, connect(2) answers EAGAIN, which trio 0.35 takes for a connection that
        is under way, and the first read fails with EINVAL: then it is tried again.
        """
        request = self._request(client, stream)
        while True:
            try:
                response = await client.send(request, stream=True)
            except httpx.ReadError as error:
                if self._path is None or cause(error)[1] != errno.EINVAL:
                    raise
                self._accounts.put_off(not stream.waits)
                stream.waits = True
                await trio.sleep(PAUSE)
            else:
                stream.waits = False
                return response

    def _request(self, client: httpx.AsyncClient, stream: Stream) -> httpx.Request:
        """Return a user's request; httpx is given its parts, and the target of its first line as it is to be sent."""
        (request,) = self._requests([stream.user])
        head, _, body = request.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        method, target, _ = line.split(b" ")
        headers = [(name, value) for name, _, value in (one.partition(b": ") for one in lines)]
        extensions = {"stream": stream, "target": target}
        if self._server_name is not None:
            extensions["sni_hostname"] = self._server_name  # which is verified as well
        (index,) = self._choice.of([stream.user])
        url = self._urls[index]
        return client.build_request(method.decode(), url, headers=headers, content=body, extensions=extensions)

    async def _read_head(self, response: httpx.Response) -> None:
        """Judge the head of an answer; a hook of httpx, which calls it before it looks where a redirect goes.

        Looking there raises InvalidURL for some values of Location, which is no error of a transport.
        """
        stream: Stream = response.request.extensions["stream"]
        if self._path is None:
            port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
            self._accounts.bound(np.array([stream.user]), [port])
        self._accounts.first_byte.count(int((time.monotonic() - stream.since) * 1e6))
        if self._server_name is not None:
            self._count_handshake(response.extensions["network_stream"].get_extra_info("ssl_object"))
        stream.said = _head_of(response)[:SHOWN]
        if not response.http_version.startswith("HTTP/1."):
            raise NotOpened(Cause.NOT_HTTP)
        head = http.response_of(response.status_code, [(name.lower(), value) for name, value in response.headers.raw])
        framing = self._protocol.framing_of(head)
        stream.protocol, stream.framing = self._protocol.name_of(framing), without_chunks(framing)
        stream.ends_with_connection = head.coding is None

    def _count_handshake(self, of: ssl.SSLObject) -> None:
        """Count what a handshake agreed on; each connection here keeps its object, be it of TLS 1.2 or 1.3."""
        cipher = of.cipher()
        assert cipher is not None
        counts = TlsCounts(Counter([cipher[0]]), kept=int(of.version() != "TLSv1.3"), resumed=int(of.session_reused))
        self._accounts.secured(counts)

    def _open(self, stream: Stream, patience: trio.CancelScope) -> None:
        now = time.monotonic()
        self._accounts.open.count(int((now - stream.since) * 1e6))
        stream.is_open, stream.said, stream.since, stream.last = True, b"", now, now
        patience.deadline = float("inf")
        self._accounts.opened(np.array([stream.user]), stream.protocol)
        self._settle()

    def _read(self, stream: Stream, text: bytes, patience: trio.CancelScope) -> None:
        """Take the next text of an answer, with any number of messages in it, or a part of one."""
        payloads, broken = split_text(stream, text)
        if not stream.is_open:
            stream.said += text[: SHOWN - len(stream.said)]
        stream.last = time.monotonic()
        if not stream.is_open and stream.search.add(payloads, has_borders=stream.framing is not None):
            self._open(stream, patience)
        for payload in payloads:
            self._count(stream, payload)
        self._accounts.received(len(payloads), len(text))
        if broken is not None:
            raise NotOpened(broken)
        if not stream.is_open and stream.search.is_over:
            raise NotOpened(Cause.OPEN_WHEN_UNMET)

    def _count(self, stream: Stream, payload: bytes) -> None:
        """Account for what a message says of itself."""
        now = time.monotonic_ns()
        found = self._said([payload])
        if self._names_users:
            of_all, found = len(found.numbers), found.only_for(EVERYBODY, stream.user)
            self._accounts.misdelivered(of_all - len(found.numbers))
        sequence = OutOfSequence()
        for number in found.numbers:
            if self._may_overtake:
                stream.window.follow(number, sequence)
            else:
                stream.number = sequence.follow(stream.number, number)
        self._accounts.out_of_sequence(sequence)
        for tick in found.ticks:
            self._accounts.ticks.count(tick, 1, now, now)
        if len(found.numbers) > len(found.ticks):
            self._accounts.messages(len(found.numbers), now, now)
        for planned, late in found.stamps:
            self._accounts.latency.stamped(*(np.array([number]) for number in (now, now, planned, late)))
        for sent in found.sent:
            self._accounts.latency.sent(*(np.array([number]) for number in (now, now, sent)))
        self._accounts.latency.unreadable(found.unreadable)

    def _settle(self) -> None:
        """Give the room of a connection that is open or has failed to the next."""
        self.in_flight -= 1
        self._room.release()
        if self.started.is_set():
            self._all_begun()


def _head_of(response: httpx.Response) -> bytes:
    """Return the head of an answer as it may have come: httpx does not hand it on."""
    line = f"{response.http_version} {response.status_code} {response.reason_phrase}".encode("latin-1", "replace")
    return b"\r\n".join([line, *(name + b": " + value for name, value in response.headers.raw), b"", b""])


def split_text(stream: Stream, text: bytes) -> tuple[list[bytes], int | None]:
    """Return the messages that end in a text, and what is wrong with what follows; keep the beginning of one."""
    if stream.framing is None:
        is_whole = text.endswith(b"\n")
        said = (stream.begun + text)[:MAX_PAYLOAD]
        stream.begun = b"" if is_whole else said
        return [said] if is_whole else [], None
    data = text if stream.frame is None else stream.frame.add(text)
    if data is None:
        return [], None
    decoded, broken = decode_all(stream.framing, data)
    stream.frame = begun_behind(stream.framing, stream.frame, decoded)
    return decoded.payloads, broken


_IN_WORDS = (
    ("Server disconnected", Cause.NO_ANSWER),
    ("peer closed", Cause.CUT),
    ("peer unexpectedly closed", Cause.CUT),
    ("Only Transfer-Encoding: chunked", Cause.TRANSFER_CODING),
    ("illegal chunk header", Cause.BAD_FRAMING),
    ("malformed chunk footer", Cause.BAD_FRAMING),
    ("illegal status line", Cause.NOT_HTTP),
    ("illegal request line", Cause.NOT_HTTP),  # h11 calls it so at a first byte that is no letter
    ("Receive buffer too long", Cause.HEAD_TOO_LARGE),
)
"""How errors of httpx begin that come from h11; what begins otherwise is about a head."""


def cause(error: httpx.TransportError) -> tuple[Phase, int]:
    """Return how far a connection had got, and what ended it: an errno, or a cause as far as h11's words tell it."""
    phase = Phase.RESPONSE
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        phase = Phase.CONNECT
    elif isinstance(error, httpx.WriteError):
        phase = Phase.REQUEST
    if isinstance(error, httpx.TimeoutException):
        return phase, errno.ETIMEDOUT
    if isinstance(error, httpx.RemoteProtocolError):
        return phase, next((code for words, code in _IN_WORDS if str(error).startswith(words)), Cause.BAD_HEAD)
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLError):
            return Phase.TLS if phase == Phase.CONNECT else phase, cause_of(below, b"")[0]
        if isinstance(below, OSError) and below.errno:
            return phase, below.errno
        below = below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below.__cause__ or below.__context__
    return phase, errno.EIO


async def run(shared: Shared) -> None:
    """Be a client worker until told to close, or until the parent is gone."""
    async with AsyncExitStack() as clients, trio.open_nursery() as tasks:
        client = HttpxClient(shared, tasks, clients)
        tasks.start_soon(report, shared.channel, client)
        await client.obey()
        tasks.cancel_scope.cancel()
    await shared.channel.send(Closed())


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Entry of the worker process (see `flyweight.processes.nursery`)."""
    be_worker(run, specification, sock, descriptors)
