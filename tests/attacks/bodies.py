"""Attack: mutated bodies to the control API, over a few connections that are kept alive.

What gets 200 must have its effect, exactly: the answer counts it, connected clients get the messages in order, the
store has the pairs. What gets 4xx must have none. `tests.attacks.body_reference` says which of the two it has to be.
"""

import json
import re
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import h11

from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.framing.chunked import decode
from tests.attacks.body_reference import MAX_BYTES, MAX_TICK_BYTES, Subject, Verdict, World, read
from tests.attacks.mutations import ANYWHERE, NUMBERS, mutate, pieces_of
from tests.attacks.order import Order, Tally
from tests.attacks.serving import MIB, PATIENCE, fault, figures, note_growth, serving
from tests.rigs.support import Comet

BODIES = 10_000
KEPT = 8
"""Connections to the control API."""

LISTENERS = [1, 2, 3, 3, 12, 4999]
"""Users of the connections that listen; one has two."""

SETTLE = 100
"""Requests between two looks at what has arrived."""

SUBJECTS: list[Subject] = [*LISTENERS, "3", "012", "photo:789", "a", "é" * 20, "x" * 255, 4_294_967_295]
ASKED: list[Subject] = [1, 2, 3, "photo:789", "a"]
VALUES = ["null", "true", "[]", "{}", '""', "0", "-0", "-1", "1.0", "3.5", "1e2", "1e999", "NaN", "Infinity", '"x"']
VALUES += ['"\\ud800"', '"\\u0000"', '"\\u0031"', '"1 "', '"٣"', '"²"', '"+1"', "4294967296", "1" * 30, "9" * 5000]
VALUES += ["[" * 50 + "]" * 50, "[" * 100_000, '{"a":' * 2000 + "1" + "}" * 2000, '"%s"' % ("x" * 256)]

Call = tuple[str, str]
CALLS: list[Call] = [("POST", "/publish")] * 5 + [("POST", "/subscriptions")] * 2 + [("DELETE", "/subscriptions")] * 2
CALLS += [("PUT", "/tick")]


class Listener:
    """A connection of a user, and what has come on it."""

    def __init__(self, server: Comet, user: int) -> None:
        self.sock = server.connect()
        self.sock.sendall(b"GET /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n" % user)
        self._unread = b""
        while b"Welcome, user %d\n\r\n" % user not in self._unread:
            self._unread += self.sock.recv(65536)
        self._unread = self._unread.partition(b"\n\r\n")[2].partition(b"\n\r\n")[2]
        self._number = 0

    def receive(self, count: int) -> list[bytes]:
        """Return the next messages that are no ticks, as many as are told, and what else has come meanwhile."""
        texts: list[bytes] = []
        while True:
            decoded = decode(self._unread)
            self._unread = decoded.rest
            for payload in decoded.payloads:
                match = re.fullmatch(rb"Recvd msg #(\d+): (.*)\n", payload, re.DOTALL)
                assert match, payload
                self._number += 1
                assert int(match[1]) == self._number, (match[1], self._number)
                if not re.fullmatch(rb"tick \d+", match[2]):
                    texts.append(match[2])
            if not select.select([self.sock], [], [], PATIENCE if len(texts) < count else 0)[0]:
                return texts
            data = self.sock.recv(1 << 20)
            assert data, "a stream has ended"
            self._unread += data


@dataclass(frozen=True)
class Sent:
    """One request as bytes, and what is to be answered."""

    method: str
    path: str
    raw: bytes
    verdict: Verdict
    is_whole: bool
    """Whether all that its framing announces is sent, and no more."""


def valid_body(random: Random, path: str) -> bytes:
    """Return a body that makes sense."""
    if path == "/tick":
        return random.choice([b'{"seconds": null}', b'{"seconds": 86400}', b'{"seconds": 0.5}', b'{"seconds":1e1}'])
    lines = [_line(random, path) for _ in range(random.choice([1, 1, 1, 2, 3, 10]))]
    return random.choice([b"\n", b"\n", b"\r\n", b"\n\n"]).join(lines) + random.choice([b"", b"\n"])


def _line(random: Random, path: str) -> bytes:
    subject = random.choice(SUBJECTS)
    if path == "/publish":
        text = f"message {random.randrange(10**6)} " + "é" * random.randrange(20)
        return json.dumps({"subject": subject, "message": text}, ensure_ascii=random.random() < 0.5).encode()
    return json.dumps({"subscriber": random.choice([*LISTENERS, 7]), "subject": subject}).encode()


def _other_value(random: Random, path: str) -> bytes:
    """Return a body one of whose values is of another type, or beyond a bound."""
    lines = valid_body(random, path).split(b"\n")
    at = random.randrange(len(lines))
    values = list(re.finditer(rb"(?<=: )(\"[^\"]*\"|[\w.]+)(?=[,}])", lines[at]))
    if values:
        value, new = random.choice(values), random.choice(VALUES).encode()
        lines[at] = lines[at][: value.start()] + new + lines[at][value.end() :]
    elif path == "/tick":
        lines[at] = b'{"seconds": %b}' % random.choice([*NUMBERS, *(value.encode() for value in VALUES)])
    return b"\n".join(lines)


def _other_fields(random: Random, path: str) -> bytes:
    """Return a body with a field too many, twice, or misspelt."""
    more = b'"extra": %b, ' % random.choice(VALUES).encode()
    more = random.choice([more, b'"subject": 2, ', b'"message": "other", ', b'"subscriber": 7, ', b'"seconds": 3, '])
    return valid_body(random, path).replace(b"{", b"{" + more, 1)


def _about_the_limits(random: Random, path: str) -> bytes:
    """Return a body of a size about one of the bounds."""
    more = random.choice([-1, 0, 1])
    if path == "/tick":
        return b'{"seconds": null}'.ljust(MAX_TICK_BYTES + more)
    line = _line(random, path)
    match random.randrange(20):
        case 0:
            return (line + b"\n").ljust(MAX_BYTES + more)
        case 1 | 2 | 3 | 4:
            return b"\n".join([line] * (4096 + more))
        case 5 | 6:
            return line + b"\n" * (4096 + more)
        case _:
            sizes = {"message": 65_536 + more, "subject": 255 + more}
            fields = json.loads(line) | {name: "x" * size for name, size in sizes.items() if random.random() < 0.6}
            return json.dumps(fields).encode()


def _mutated(random: Random, path: str) -> bytes:
    return mutate(random, valid_body(random, path), ANYWHERE)


KINDS: list[Callable[[Random, str], bytes]] = [
    *(valid_body, valid_body, _mutated, _mutated, _mutated),
    *(_other_value, _other_value, _other_fields, _about_the_limits),
]


def chunked(random: Random, body: bytes) -> bytes:
    """Frame a body in chunks of any size."""
    edges = sorted({random.randrange(len(body) + 1) for _ in range(random.randrange(6))} | {0, len(body)})
    pieces = [body[start:stop] for start, stop in pairwise(edges)]
    framed = [b"%x%b\r\n%b\r\n" % (len(piece), random.choice([b"", b"", b";a=b"]), piece) for piece in pieces if piece]
    return b"".join(framed) + random.choice([b"0\r\n\r\n", b"0\r\n\r\n", b"00\r\nX: y\r\n\r\n"])


def some_request(random: Random) -> Sent:
    """Return a request with a mutated body, or one that is framed wrongly."""
    method, path = random.choice(CALLS)
    body = random.choice(KINDS)(random, path)
    fields = [b"Content-Length: %d" % len(body)]
    match random.randrange(16):
        case 0:
            fields = [b"Content-Length: %d" % random.randrange(len(body) + 1)]
        case 1:
            fields = [b"Content-Length: %b" % random.choice([b"%d" % (len(body) + 1), *NUMBERS])]
        case 2 | 3 | 4:
            fields, body = [b"Transfer-Encoding: chunked"], chunked(random, body)
        case 5:
            framed = chunked(random, body)
            fields, body = [b"Transfer-Encoding: chunked"], mutate(random, framed, ANYWHERE)
        case 6:
            fields = random.choice([[*fields, b"Transfer-Encoding: chunked"], fields * 2, [], [*fields, b"Host: a"]])
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", *fields]
    raw = b"\r\n".join(head) + b"\r\n\r\n" + body
    return Sent(method, path, raw, *_judged(path, raw))


def _judged(path: str, raw: bytes) -> tuple[Verdict, bool]:
    """Return what is to be answered to a request, and whether it is whole and nothing comes behind it."""
    http, body = h11.Connection(h11.SERVER), b""
    most = MAX_TICK_BYTES if path == "/tick" else MAX_BYTES
    http.receive_data(raw)
    http.receive_data(b"")
    try:
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                fields = dict(event.headers)
                if b"content-length" in fields and b"transfer-encoding" in fields:
                    return Verdict(frozenset({400})), False
                if int(fields.get(b"content-length", b"0")) > most:
                    return Verdict(frozenset({413})), False
            elif isinstance(event, h11.Data):
                body += event.data
    except h11.RemoteProtocolError as error:
        return Verdict(frozenset({413 if len(body) > most else error.error_status_hint})), False
    return read(path, body), not http.trailing_data[0]


class Publisher:
    """Sends requests over a connection that is kept alive, and made anew where it was closed."""

    def __init__(self, server: Comet) -> None:
        self._server = server
        self._sock: socket.socket | None = None

    def ask(self, pieces: list[bytes], is_whole: bool) -> tuple[int, bytes] | None:
        """Return status and body of the answer; None when there is none, but a reset."""
        if self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            self.close()  # the server has closed what was not used for a while
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._server.control), PATIENCE)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        http, answer, body = h11.Connection(h11.CLIENT), None, b""
        http.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
        with suppress(ConnectionResetError, BrokenPipeError):  # it may have answered before it has got all
            for piece in pieces:
                self._sock.sendall(piece)
            if not is_whole:
                self._sock.shutdown(socket.SHUT_WR)
        try:
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    http.receive_data(self._sock.recv(65536))
                elif isinstance(event, h11.Response):
                    answer = event
                elif isinstance(event, h11.Data):
                    body += event.data
        except (ConnectionResetError, h11.RemoteProtocolError):
            answer = None
        if answer is None or not is_whole or (b"connection", b"close") in list(answer.headers):
            self.close()
        return None if answer is None else (answer.status_code, body)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None


class Judge:
    """Holds what is answered and what arrives against the reference."""

    def __init__(self, server: Comet, tally: Tally, listeners: list[Listener]) -> None:
        self._server = server
        self._tally = tally
        self._listeners = listeners
        self._world = World(LISTENERS)

    def take(self, sent: Sent, answer: tuple[int, bytes] | None) -> None:
        """Judge an answer; have the reference do what a 200 says was done."""
        verdict = sent.verdict
        if len(verdict.statuses) > 1:
            self._tally.saw["could be read either way"] += 1
        if answer is None:
            self._tally.saw["reset"] += 1
            if 200 in verdict.statuses:
                self._fault(sent, "the connection was reset")
            return
        status, text = answer
        self._tally.saw[str(status)] += 1
        if status not in verdict.statuses:
            self._fault(sent, f"got {status}: {text[:200]!r}")
        if (status == 200 and verdict.taken is not None) or (sent.path == "/tick" and status == 200):
            told = json.loads(text)
            if told != (done := self._do(sent)):
                self._fault(sent, f"got {told}, and the reference has {done}")

    def _do(self, sent: Sent) -> dict[str, Any]:
        taken = sent.verdict.taken
        if sent.path == "/publish":
            return self._world.publish(taken)
        if sent.path == "/subscriptions":
            return self._world.change(sent.method, taken)
        self._world.seconds = taken
        return {"seconds": taken}

    def settle(self, publisher: Publisher, random: Random) -> None:
        """See that all messages and pairs are where they belong, and no others; end the ticks."""
        for at, listener in enumerate(self._listeners):
            wanted = self._world.texts.pop(at, [])
            if (got := listener.receive(len(wanted))) != wanted:
                fault(self._tally, f"User {LISTENERS[at]} got {len(got)} messages of {len(wanted)}, or others.")
            self._tally.did["deliveries checked"] += len(wanted)
        subject = random.choice(ASKED)
        query = f"GET /subscriptions?subject={subject} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        answer = publisher.ask([query], is_whole=True)
        stored = json.loads(answer[1])["subscribers"] if answer else None
        if stored != (wanted_users := self._world.subscribers(subject)):
            fault(self._tally, f"The subscribers of {subject!r} are {stored}, and should be {wanted_users}.")
        told = figures(self._server)
        found = told["messages"], told["tick_seconds"], told["subscriptions"]["pairs"]
        if found != (wanted_all := (self._world.messages, self._world.seconds, len(self._world.pairs))):
            fault(self._tally, f"Messages, seconds of ticks and pairs are {found}, and should be {wanted_all}.")

    def _fault(self, sent: Sent, problem: str) -> None:
        wanted = " or ".join(map(str, sorted(sent.verdict.statuses)))
        fault(self._tally, f"{sent.raw[:400]!r} ({len(sent.raw)} bytes) has to get {wanted}, but {problem}.")


NO_TICKS = Sent("PUT", "/tick", b"", Verdict(frozenset({200})), True)


def attack(order: Order) -> Tally:
    """Send mutated bodies, and see what comes of each."""
    tally, random = Tally(), order.random
    store = order.folder / "db"
    Store(store, create=True).close()
    with serving(order, tally, "--max-users", "5000", "--db", str(store)) as server, ExitStack() as stack:
        listeners = [Listener(server, user) for user in LISTENERS]
        publishers = [Publisher(server) for _ in range(KEPT)]
        for one in listeners:
            stack.callback(one.sock.close)
        for publisher in publishers:
            stack.callback(publisher.close)
        judge, before = Judge(server, tally, listeners), figures(server)
        for turn in range(order.count(BODIES)):
            sent = some_request(random)
            tally.did["bodies"] += 1
            answer = random.choice(publishers).ask(pieces_of(random, sent.raw), sent.is_whole)
            judge.take(sent, answer)
            if sent.path == "/tick":
                quiet = b'PUT /tick HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n{"seconds": null}'
                judge.take(NO_TICKS, publishers[0].ask([quiet], is_whole=True))
            if turn % SETTLE == SETTLE - 1:
                judge.settle(publishers[0], random)
        judge.settle(publishers[0], random)
        note_growth(tally, "memory of the server", before, figures(server), 128 * MIB)
    return tally
