"""Attack: mutated request heads against the stream ports of both models, a few hundred connections at a time. Some ask
for a WebSocket.

Each answer is held against `tests.attacks.head_reference`: the status, and for a stream the id in the welcome.
"""

import base64
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.models import MODELS
from tests.attacks.head_reference import MAX_HEAD, NO_ANSWER, Expected, expected, wrong_with
from tests.attacks.mutations import ANYWHERE, Mutation, mutate, pieces_of
from tests.attacks.order import Order, Tally
from tests.attacks.serving import MIB, PATIENCE, fault, figures, note_growth, serving
from tests.rigs.support import Comet

HEADS = 100_000
AT_ONCE = 250
LIMITS = Limits()
MAX_USERS = 5000
MOST_GROWTH = 64 * MIB

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no seconds. A close is then a reset, which leaves no TIME_WAIT behind."""

FIELDS = [
    *(b"User-Agent: curl/8.5.0", b"Accept: */*", b"Accept-Encoding: gzip, deflate, br", b"Connection: keep-alive"),
    *(b"Connection: close", b"Cookie: a=b; c=d", b"Content-Length: 0", b"Cache-Control: no-cache", b"X-Empty:"),
]
HOSTILE_FIELDS = [
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 5", b"Content-Length: +5"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: " + b"9" * 5000, b"content-length : 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked"),
    *(b"transfer-encoding: CHUNKED", b"Transfer-Encoding: identity", b"Transfer-Encoding:\tchunked, chunked"),
    *(b"Host: other", b"Host:", b"Host: a b", b"Expect: 100-continue", b"Upgrade: h2c", b"Upgrade: websocket"),
    *(b"X: " + b"y" * 8000, b"X: " + b"y" * 9000, b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\n b", b"X: a\x00b", b"X: \xff"),
    *(b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Version: 13, 8", b"sec-websocket-version:13", b"Connection: x"),
    *(b"Sec-WebSocket-Key: " + b"A" * 22 + b"==", b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Extensions: x; y=1"),
    *(b": empty", b"no colon", b" X: y", b"X y: z", b"X\x00: y", b"\x7f: y", b"\r\n".join([b"A: b"] * 300)),
]
TARGETS = ["/test/{}", "/test/{}/", "/test/{}?since=1", "/test/00{}", "http://comet/test/{}", "HTTP://[::1]:80/test/{}"]
ODD_TARGETS = ["/test/{}//", "//test/{}", "/test/%37{}", "http:///test/{}", "https://comet/test/{}", "*", "comet:{}"]
ODD_TARGETS += ["/test/-{}", "/test/{}.0", "/test/{}#x", "/tes/{}", "/test/{}/x", "http://a?/test/{}", "/../test/{}"]
UPGRADES = [b"Upgrade: websocket", b"upgrade:WebSocket", b"Upgrade: h2c, websocket"]
CONNECTIONS = [b"Connection: Upgrade", b"Connection: keep-alive, Upgrade", b"CONNECTION:\tupgrade "]
VERSIONS = [b"1.0", b"1.2", b"1.9", b"0.9", b"2.0", b"9.9", b"1.10", b"10.1", b"1", b"", b"1.1 ", b"1.\xc2\xb2"]
METHODS = [b"HEAD", b"POST", b"PUT", b"get", b"OPTIONS", b"CONNECT", b"PRI", b"G\x00T", b"G" * 300]


def valid(random: Random) -> bytes:
    """Return a head that is served: most are alike but for the id."""
    user = random.randrange(1, MAX_USERS + 1)
    if random.random() < 0.3:
        return b"GET /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n" % user
    if random.random() < 0.3:
        return _handshake(random, user)
    target = random.choice(TARGETS).format(user).encode()
    fields = random.sample(FIELDS, random.randrange(5))
    fields.insert(random.randrange(len(fields) + 1), b"Host: comet")
    version = b"1.1" if random.random() < 0.9 else b"1.0"
    return b"GET %b HTTP/%b\r\n%b\r\n\r\n" % (target, version, b"\r\n".join(fields))


def _handshake(random: Random, user: int) -> bytes:
    """Return a head that opens a WebSocket."""
    fields = [random.choice(UPGRADES), random.choice(CONNECTIONS), b"Sec-WebSocket-Version: 13", b"Host: comet"]
    fields += [b"Sec-WebSocket-Key: " + base64.b64encode(random.randbytes(16)), *random.sample(FIELDS[:3], 1)]
    random.shuffle(fields)
    return b"GET /ws/%d HTTP/1.1\r\n%b\r\n\r\n" % (user, b"\r\n".join(fields))


def _in_lines(change: Callable[[Random, list[bytes]], None]) -> Mutation:
    """Make a mutation from what changes the lines of a head."""

    def changed(random: Random, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        change(random, lines)
        return b"\r\n".join(lines)

    return changed


def _more_fields(random: Random, lines: list[bytes]) -> None:
    for _ in range(random.randrange(1, 3)):
        lines.insert(random.randrange(1, len(lines) + 1), random.choice(HOSTILE_FIELDS))


def _twice(random: Random, lines: list[bytes]) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))


def _shuffled(random: Random, lines: list[bytes]) -> None:
    random.shuffle(lines)


def _folded(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    lines[at] = random.choice([b" ", b"\t"]) + lines[at]


def _first_line(random: Random, lines: list[bytes]) -> None:
    method, _, rest = lines[0].partition(b" ")
    target, _, version = rest.rpartition(b" ")
    match random.randrange(3):
        case 0:
            method = random.choice(METHODS)
        case 1:
            target = random.choice(ODD_TARGETS).format(random.randrange(MAX_USERS)).encode()
        case _:
            version = b"HTTP/" + random.choice(VERSIONS)
    lines[0] = b" ".join([method, target, version])


def _other_id(random: Random, data: bytes) -> bytes:
    digits = random.choice([0, MAX_USERS, MAX_USERS + 1, 999_999_999, 10**9, 10**40, random.randrange(MAX_USERS)])
    path = b"/ws/" if b" /ws/" in data else b"/test/"
    return data.replace(path, path + b"%d" % digits, 1)


def _bare_line_feeds(random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n", random.choice([-1, 1, 2]))


def _bare_returns(random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\r", random.choice([-1, 1]))


def _pipelined(random: Random, data: bytes) -> bytes:
    return data + random.choice([valid(random), b"x" * random.randrange(1, 3000), data[:-1], b"0\r\n\r\n"])


MUTATIONS: list[Mutation] = [
    *ANYWHERE,
    *map(_in_lines, (_more_fields, _more_fields, _twice, _shuffled, _folded, _first_line, _first_line)),
    *(_other_id, _bare_line_feeds, _bare_returns, _pipelined),
]


def some_head(random: Random) -> bytes:
    """Return what one client sends: a mutated head, or now and then one that is valid."""
    return valid(random) if random.random() < 0.1 else mutate(random, valid(random), MUTATIONS)


@dataclass(slots=True)
class Visit:
    """One connection of the attack."""

    sock: socket.socket
    pieces: list[bytes]
    """What is still to be sent, the next one last."""
    sent: bytes
    """All that is sent in the end."""
    wanted: Expected
    goes: bool
    """Whether the client resets when all is sent, whatever comes."""
    deadline: float
    got: bytearray = field(default_factory=bytearray)

    def send_next(self) -> None:
        """Send the next piece; close the sending side behind the last one if nothing else can be answered."""
        with suppress(ConnectionResetError, BrokenPipeError):
            self.sock.send(self.pieces.pop())
            if not self.pieces and NO_ANSWER in self.wanted.statuses:
                self.sock.shutdown(socket.SHUT_WR)

    @property
    def has_welcome(self) -> bool:
        """Whether what has come goes as far as the line that welcomes."""
        _, end, body = self.got.partition(b"\r\n\r\n")
        is_stream = self.got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 101 "))
        return bool(self.wanted.user and end and is_stream) and len(body) >= len(self.wanted.welcome)


class Visits:
    """Makes visits to a server, so many at a time, and judges what comes of each."""

    def __init__(self, server: Comet, tally: Tally, random: Random) -> None:
        self._server = server
        self._tally = tally
        self._random = random
        self._poll = select.epoll()
        self._here: dict[int, Visit] = {}
        self._sending: dict[int, Visit] = {}

    def make(self, count: int) -> None:
        """Make so many visits."""
        left = count
        while left or self._here:
            while left and len(self._here) < AT_ONCE:
                self._begin()
                left -= 1
            for fd, visit in list(self._sending.items()):
                visit.send_next()
                if not visit.pieces:
                    del self._sending[fd]
                    if visit.goes:
                        self._end(fd, "reset by the client")
            for fd, _ in self._poll.poll(0 if self._sending else 1):
                self._read(fd)
            if left % 100 == 0:
                self._give_up_late_ones()
        self._poll.close()

    def _begin(self) -> None:
        head = some_head(self._random)
        sock = socket.create_connection(("127.0.0.1", self._server.port), PATIENCE)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = pieces_of(self._random, head)[::-1]
        goes = self._random.random() < 0.02
        visit = Visit(sock, pieces, head, expected(head, MAX_USERS), goes, time.monotonic() + PATIENCE)
        self._here[sock.fileno()] = self._sending[sock.fileno()] = visit
        self._poll.register(sock, select.EPOLLIN)
        self._tally.did["heads"] += 1

    def _read(self, fd: int) -> None:
        visit = self._here.get(fd)
        if visit is None:
            return
        try:
            data = visit.sock.recv(65536)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._end(fd, "reset by the server")
            return
        visit.got += data
        if visit.has_welcome or not data:
            self._judge(visit)
            self._end(fd, f"{visit.got[9:12].decode()}" if visit.got else "ended without an answer")

    def _judge(self, visit: Visit) -> None:
        took = time.monotonic() - (visit.deadline - PATIENCE)
        if visit.got.startswith(b"HTTP/1.1 408 ") and took >= LIMITS.head_seconds:
            return  # the machine was too busy to send the pieces in time
        if problem := wrong_with(bytes(visit.got), visit.wanted):
            self._fault(visit, problem)

    def _fault(self, visit: Visit, problem: str) -> None:
        wanted = "/".join(map(str, sorted(visit.wanted.statuses)))
        fault(
            self._tally,
            f"{visit.sent[:300]!r} ({len(visit.sent)} bytes) has to get {wanted}, but {problem}: {visit.got[:200]!r}.",
        )

    def _end(self, fd: int, how: str) -> None:
        visit = self._here.pop(fd)
        self._sending.pop(fd, None)
        self._poll.unregister(fd)
        visit.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        visit.sock.close()
        self._tally.saw[how] += 1
        if how == "reset by the server":
            self._fault(visit, "the connection was reset")

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for fd in [fd for fd, visit in self._here.items() if visit.deadline < now]:
            self._fault(self._here[fd], f"not so within {PATIENCE:g} s")
            self._end(fd, "late")


def shares(order: Order) -> Iterator[tuple[str, int]]:
    """Share the heads out among the models."""
    for model in MODELS:
        yield model, order.count(HEADS) // len(MODELS) or 1


def attack(order: Order) -> Tally:
    """Send mutated heads to a server of each model."""
    tally, random = Tally(), order.random
    assert LIMITS.head_size == MAX_HEAD, "the reference knows another bound"
    for model, count in shares(order):
        with serving(order, tally, "--model", model, "--max-users", str(MAX_USERS)) as server:
            Visits(server, tally, random).make(count // 10 or 1)
            before = figures(server)
            Visits(server, tally, random).make(count - count // 10)
            note_growth(tally, f"{model}, from a tenth of the heads to the last", before, figures(server), MOST_GROWTH)
    return tally
