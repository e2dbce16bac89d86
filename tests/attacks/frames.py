"""Attack: mutated frames on WebSockets of both models, some behind the handshake and some in one piece with it.

Each client sends all it has and closes its sending side. What comes back is held against wsproto, which is given the
frames that were sent: which pings it reads, whether it sees a close, and the status for which it breaks off.
"""

import base64
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from floodtest.server_under_test.models import MODELS
from floodtest.wire.framing.frames import MAX_PAYLOAD
from floodtest.wire.framing.websocket import (
    CLOSE,
    NOT_UTF_8,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    accept_of,
    close,
    frame,
    masked,
)
from tests.attacks.mutations import ANYWHERE, Mutation, mutate, pieces_of
from tests.attacks.order import Order, Tally
from tests.attacks.serving import MIB, PATIENCE, fault, figures, note_growth, serving
from tests.rigs.support import Comet
from tests.rigs.websocket import frames_in, handshake

STREAMS = 40_000
AT_ONCE = 100
MAX_USERS = 5000
MOST_GROWTH = 64 * MIB

STATUSES = [None, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 0, 65535]
TEXTS = [b"", b"a", "é".encode(), b"\xc3", b"\xa9", b"\xff", b"x" * 125, b"y" * 126, b"z" * 5000]

BAD_GATEWAY = 1014
"""A status that was registered after RFC 6455, and that wsproto takes for one that was not."""

WHOLE_HEAD = bytes(14)
"""As many bytes as the longest head of a frame has."""


def _message(random: Random) -> bytes:
    """Return a message, in fragments now and then, with a control frame between them now and then."""
    text = random.choice(TEXTS) if random.random() < 0.3 else b"text %d" % random.randrange(10**6)
    if random.random() < 0.7:
        return masked(frame(TEXT, text))
    middle = random.randrange(len(text) + 1)
    first, last = masked(frame(TEXT, text[:middle])), masked(frame(0, text[middle:]))
    return bytes([first[0] & 0x7F]) + first[1:] + (_control(random) if random.random() < 0.5 else b"") + last


def _control(random: Random) -> bytes:
    payload = b"%d" % random.randrange(10**9)
    return masked(frame(random.choice([PING, PING, PONG]), payload))


def valid(random: Random) -> bytes:
    """Return what a client may send, a close at its end now and then."""
    sent = [random.choice([_message, _control])(random) for _ in range(random.randrange(1, 7))]
    if random.random() < 0.5:
        sent.append(masked(close(random.choice(STATUSES), random.choice(["", "gone", "é"]))))
    return b"".join(sent)


def _unmasked(random: Random, data: bytes) -> bytes:
    return data + frame(TEXT, b"bare")


def _long(random: Random, data: bytes) -> bytes:
    """Announce a frame of a length about the bounds of its fields, or of what is accepted."""
    size = random.choice([0, 125, 126, 65_535, 65_536, MAX_PAYLOAD, MAX_PAYLOAD + 1, 1 << 32, 1 << 62, (1 << 64) - 1])
    first = random.choice([0x81, 0x82, 0x01, 0x80, 0x89])
    return data + bytes([first, 0xFF]) + size.to_bytes(8, "big") + random.randbytes(random.randrange(20))


MUTATIONS: list[Mutation] = [*ANYWHERE, _unmasked, _long]


@dataclass(frozen=True)
class Expected:
    """What wsproto makes of the frames of a client."""

    pings: list[bytes]
    status: int | None
    """For which it breaks off; None: it does not."""
    is_closed: bool
    """Whether it has read a close."""
    is_unregistered: bool = False
    """Whether it breaks off because it does not know the status of a close."""


def expected(sent: bytes) -> Expected:
    """Have wsproto read all that a client sends behind its handshake."""
    protocol = FrameProtocol(client=False, extensions=[])
    pings: list[bytes] = []
    try:
        protocol.receive_bytes(sent)
        for one in protocol.received_frames():
            if one.opcode is Opcode.PING:
                pings.append(bytes(one.payload))  # type: ignore[arg-type]  # a tuple is what a close has
            elif one.opcode is Opcode.CLOSE:
                return Expected(pings, None, is_closed=True)
    except ParseFailed as failed:
        is_unregistered = "unknown reserved code" in str(failed)
        return Expected(pings, int(failed.code), is_closed=False, is_unregistered=is_unregistered)
    return Expected(pings, None, is_closed=False)


def is_too_big(sent: bytes) -> bool:
    """Whether a frame head of more bytes than are accepted may stand in what was sent: then a close may say so."""
    return len(sent) > MAX_PAYLOAD or any(
        int.from_bytes(sent[at + 2 : at + 10], "big") > MAX_PAYLOAD
        for at in range(len(sent) - 9)
        if sent[at + 1] == 0xFF
    )


def wrong_with(got: bytes, key: bytes, sent: bytes) -> str | None:
    """Return what is wrong with all that a client has got until the end; None if it is right."""
    head, end, rest = got.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"HTTP/1.1 101 ") or accept_of(key) not in head:
        return "the handshake is not answered"
    (opcode, text), *others = frames_in(rest)
    if opcode != TEXT or not text.startswith(b"Welcome, user "):
        return "the first frame is no welcome"
    wanted = expected(sent)
    pongs = [payload for opcode, payload in others if opcode == PONG]
    closes = [payload for opcode, payload in others if opcode == CLOSE]
    if len(pongs) + len(closes) != len(others):
        return "there are frames that nobody has asked for"
    if wanted.status == NOT_UTF_8:
        return None  # wsproto says so at the fragment that is not, and the server at the end of the message
    if not _is_within(pongs, wanted.pings):
        return f"the pongs {pongs} answer no pings {wanted.pings}"
    if wanted.pings[-1:] != pongs[-1:] and wanted.status is None:
        return f"the last ping of {wanted.pings} is not answered by {pongs}"
    return _wrong_with_end(closes, wanted, sent)


def _is_within(some: list[bytes], all_of_them: list[bytes]) -> bool:
    """Whether some are there in that order, perhaps with others between them."""
    left = iter(all_of_them)
    return all(one in left for one in some)


def _wrong_with_end(closes: list[bytes], wanted: Expected, sent: bytes) -> str | None:
    status = int.from_bytes(closes[0][:2], "big") if closes and closes[0] else None
    if len(closes) > 1:
        return "there is more than one close"
    if status == TOO_BIG and is_too_big(sent):
        return None  # wsproto takes frames of any size
    if status == PROTOCOL_ERROR and expected(sent + WHOLE_HEAD).status == PROTOCOL_ERROR:
        return None  # wsproto waits for both of the first bytes of a head, where one shows what is wrong
    if wanted.is_unregistered and status in (BAD_GATEWAY, NOT_UTF_8):
        return None  # a close with 1014 is answered, or refused for a reason that is not UTF-8
    if wanted.status is not None and status != wanted.status:
        return f"it is closed with {status} and not with {wanted.status}"
    if wanted.status is None and wanted.is_closed != bool(closes):
        return "a close is not answered" if wanted.is_closed else f"it is closed with {status} though nothing is wrong"
    return None


@dataclass(slots=True)
class Visit:
    """One client."""

    sock: socket.socket
    key: bytes
    sent: bytes
    """Its frames."""
    pieces: list[bytes]
    """What is still to be sent, the next one last."""
    deadline: float
    got: bytearray = field(default_factory=bytearray)

    def send_next(self) -> None:
        """Send the next piece; close the sending side behind the last one."""
        with suppress(ConnectionResetError, BrokenPipeError, OSError):
            self.sock.send(self.pieces.pop())
            if not self.pieces:
                self.sock.shutdown(socket.SHUT_WR)


def _visit(server: Comet, random: Random) -> Visit:
    sent = valid(random) if random.random() < 0.2 else mutate(random, valid(random), MUTATIONS)
    key = base64.b64encode(random.randbytes(16))
    head = handshake(random.randrange(1, MAX_USERS + 1), key)
    pieces = pieces_of(random, head + sent) if random.random() < 0.3 else [head, *pieces_of(random, sent)]
    sock = server.connect()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Visit(sock, key, sent, pieces[::-1], time.monotonic() + PATIENCE)


def visit(server: Comet, tally: Tally, random: Random, count: int) -> None:
    """Have so many clients visit a server, some at a time, and judge what each has got."""
    left = count
    here: dict[int, Visit] = {}
    with select.epoll() as poll:
        while left or here:
            while left and len(here) < AT_ONCE:
                one = _visit(server, random)
                here[one.sock.fileno()] = one
                poll.register(one.sock, select.EPOLLIN)
                tally.did["clients with frames"] += 1
                left -= 1
            for one in here.values():
                if one.pieces:
                    one.send_next()
            for fd, _ in poll.poll(0 if any(one.pieces for one in here.values()) else 1):
                if _has_ended(here[fd]):
                    poll.unregister(fd)
                    _judge(here.pop(fd), tally)
            now = time.monotonic()
            for fd in [fd for fd, one in here.items() if one.deadline < now]:
                fault(
                    tally, f"{here[fd].sent[:300]!r}: not over within {PATIENCE:g} s: {bytes(here[fd].got[-200:])!r}."
                )
                here.pop(fd).sock.close()


def _has_ended(one: Visit) -> bool:
    """Read what has come; return whether nothing more will."""
    try:
        data = one.sock.recv(65536)
    except ConnectionResetError:
        return True  # the server has closed before it had read all
    one.got += data
    return not data


def _judge(one: Visit, tally: Tally) -> None:
    one.sock.close()
    got = bytes(one.got)
    if problem := wrong_with(got, one.key, one.sent):
        fault(tally, f"{one.sent[:300]!r} ({len(one.sent)} bytes): {problem}: {got[:400]!r}.")
    ends = [payload[:2] for opcode, payload in frames_in(got.partition(b"\r\n\r\n")[2]) if opcode == CLOSE]
    tally.saw[f"closed with {int.from_bytes(ends[0], 'big') or 'no status'}" if ends else "ended without a close"] += 1


def _shares(order: Order) -> Iterator[tuple[str, int]]:
    for model in MODELS:
        yield model, order.count(STREAMS) // len(MODELS) or 1


def attack(order: Order) -> Tally:
    """Send mutated frames to a server of each model."""
    tally, random = Tally(), order.random
    for model, count in _shares(order):
        with serving(order, tally, "--model", model, "--max-users", str(MAX_USERS)) as server:
            visit(server, tally, random, count // 10 or 1)
            before = figures(server)
            visit(server, tally, random, count - count // 10)
            note_growth(
                tally, f"{model}, from a tenth of the clients to the last", before, figures(server), MOST_GROWTH
            )
    return tally
