"""`comet serve` misused: whatever some clients do, fifty others get every tick, and nothing is left of the attack."""

import os
import random
import re
import select
import selectors
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floodtest.flyweight.machine.files import raise_files_limit
from tests.rigs.support import Comet, comet, wait_until
from tests.server_under_test.test_comet import Client, asking, stats_when, streams

AUDIENCE = 50
WELCOME = re.compile(rb"Welcome, user \d+\n\r\n")
MESSAGE = re.compile(rb"([0-9a-f]+)\r\n(Recvd msg #(\d+): tick \d+\n)\r\n")
HEAD = asking(7)


class Audience:
    """Well-behaved clients, read by a thread of their own: each must get #1, #2, #3 ... and nothing else."""

    def __init__(self, server: Comet) -> None:
        self.last = [0] * AUDIENCE  # the number of the last message, by client
        self.ended: set[int] = set()
        self.faults: list[bytes] = []
        self._unread = [b""] * AUDIENCE
        self._selector = selectors.DefaultSelector()
        for index in range(AUDIENCE):
            sock = server.connect()
            self._selector.register(sock, selectors.EVENT_READ, index)
            sock.sendall(asking(index + 1))
            answer = b""
            while not (welcome := WELCOME.search(answer)):
                answer += sock.recv(4096) or pytest.fail(f"closed before its welcome: {answer!r}")
            self._unread[index] = answer[welcome.end() :]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_on)
        self._thread.start()

    def _read_on(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.05):
                assert isinstance(key.fileobj, socket.socket)
                data = b""
                with suppress(ConnectionResetError):
                    data = key.fileobj.recv(65536)
                if data:
                    self._check(key.data, data)
                else:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.ended.add(key.data)

    def _check(self, index: int, data: bytes) -> None:
        text, position = self._unread[index] + data, 0
        while match := MESSAGE.match(text, position):
            if int(match[1], 16) != len(match[2]) or int(match[3]) != self.last[index] + 1:
                self.faults.append(match[0])
            self.last[index] = int(match[3])
            position = match.end()
        self._unread[index] = text[position:]
        if len(text) - position > 100:
            self.faults.append(text)

    def receive(self, ticks: int, may_end: bool = False) -> None:
        """Wait until each client has got that many more ticks; fail at once if one of them is missing something."""
        before = list(self.last)

        def settled() -> bool:
            wrong = self.faults or (self.ended and not may_end)
            return bool(wrong) or all(self.last[i] >= before[i] + ticks for i in range(AUDIENCE) if i not in self.ended)

        wait_until(settled, f"{ticks} ticks for everybody")
        assert not self.faults
        assert may_end or not self.ended

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


def fronts(server: Comet) -> list[int]:
    pids: list[int] = server.stats()["pids"]["fronts"]
    return pids


def held(server: Comet) -> int:
    """Return how many descriptors the fronts have."""
    tasks = [f"/proc/{pid}/task/{task}" for pid in fronts(server) for task in os.listdir(f"/proc/{pid}/task")]
    return sum(len(os.listdir(f"{task}/fd")) for task in tasks)


@contextmanager
def scene(model: str, *options: str) -> Iterator[tuple[Comet, Audience]]:
    """A server and its audience; both must be as they were when the block is over."""
    with (
        comet("--model", model, "--max-users", "5000", "--tick", "50ms", *options) as server,
        closing(Audience(server)) as others,
    ):
        before = held(server)
        yield server, others
        wait_until(lambda: held(server) == before, "the fronts have the descriptors they had")
        others.receive(2)
        stats = server.stats()
        assert (stats["connections"], stats["fronts"]) == (AUDIENCE, [None, None])


MALFORMED = [
    b"\x00\x01\x02",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"\r\n\r\n",
    b" GET /test/1 HTTP/1.1\r\n\r\n",
    b"GET /test/1\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /test/ 1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /test/1 HTTP/1.1\r\n\r\n",  # no Host
    b"GET /test/1 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /test/1 HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /test/1 HTTP/1.1\r\n Host: x\r\n\r\n",
    b"GET /test/1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /test/1 HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
    b"GET /test/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
]


def test_a_malformed_head_gets_400(model: str) -> None:
    with scene(model) as (server, others):
        for head in MALFORMED * 3:
            with Client(server, head) as client:
                assert client.head()[0] == 400, head
                assert client.rest().startswith("Not a request")
        assert server.stats()["rejected"] == {"400": len(MALFORMED) * 3}
        others.receive(2)


def test_a_head_over_the_limit_gets_431(model: str) -> None:
    longest = asking(7, more=f"X: {'x' * (1000 - len(asking(7, more='X: ' + chr(13) + chr(10))))}\r\n")
    with scene(model, "--limit-head-size", "1000") as (server, others):
        for head, status in ((longest, 200), (longest.replace(b"x\r", b"xx\r"), 431), (longest + b"more", 200)):
            with Client(server, head) as client:
                assert client.head()[0] == status, len(head)
        with Client(server, b"GET /" + b"x" * 50_000) as client:
            assert client.head()[0] == 431
            assert client.rest() == "Not a request: a head of more than 1000 bytes.\n"
        others.receive(2)


@pytest.mark.parametrize(
    ("start", "counted"),
    [
        pytest.param(b"GET /test/7 HTTP/1.1\r\nX: ", {"rejected": {"431": 8}}, id="an endless head"),
        pytest.param(asking("/nowhere"), {"rejected": {"404": 8}}, id="after a refusal"),
        pytest.param(HEAD, {"excess": 8, "logins": 8 + AUDIENCE}, id="after a request"),
    ],
)
def test_who_never_stops_sending_is_cut_off_and_holds_up_nobody(
    model: str, start: bytes, counted: dict[str, object]
) -> None:
    def pour(sock: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock.sendall(b"x" * 65536)

    with scene(model) as (server, others), ExitStack() as stack:
        clients = [stack.enter_context(Client(server, start)) for _ in range(8)]
        threads = [threading.Thread(target=pour, args=(client.sock,)) for client in clients]

        def end() -> None:
            for client, thread in zip(clients, threads, strict=True):
                with suppress(OSError):
                    client.sock.shutdown(socket.SHUT_RDWR)
                thread.join()

        stack.callback(end)
        for thread in threads:
            thread.start()
        others.receive(10)
        wait_until(lambda: not any(thread.is_alive() for thread in threads), "all are cut off")
        stats_when(server, **counted)


def test_a_trickled_head_gets_408(model: str) -> None:
    with scene(model, "--limit-head-time", "500ms") as (server, others), ExitStack() as stack:
        clients = [stack.enter_context(Client(server, b"GET /test/7 HTTP/1.1\r\nX: ")) for _ in range(20)]
        waiting = {client.sock for client in clients}
        for turn in range(1000):
            for sock in list(waiting)[turn % 2 :]:  # one of them says nothing more every other turn
                sock.sendall(b"x")
            waiting -= set(select.select(waiting, [], [], 0.02)[0])
            if not waiting:
                break
        for client in clients:
            assert client.head()[0] == 408
            assert client.rest() == "No whole request head within 0.5 seconds.\n"
        assert server.stats()["rejected"] == {"408": 20}
        others.receive(2)


def test_a_head_in_pieces_is_served(model: str) -> None:
    pieces = [[HEAD[:cut], HEAD[cut:]] for cut in range(1, len(HEAD))] + [[HEAD[i : i + 1] for i in range(len(HEAD))]]
    with scene(model) as (server, others), ExitStack() as stack:
        before = held(server)
        clients = [stack.enter_context(Client(server, first)) for first, *_ in pieces]
        wait_until(lambda: held(server) == before + len(clients), "all are accepted")
        others.receive(2)  # by now each first piece has been read
        for client, (_, *more) in zip(clients, pieces, strict=True):
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in more:
                client.sock.sendall(piece)
        for client in clients:
            assert client.head()[0] == 200
            assert client.chunk() == "Welcome, user 7\n"
            assert client.message()[0] == 1


def test_what_follows_a_request_is_dropped_up_to_a_limit(model: str) -> None:
    with scene(model, "--limit-excess", "100") as (server, others), ExitStack() as stack:
        polite = stack.enter_context(Client(server, HEAD + HEAD + HEAD[:-1]))
        assert (polite.head()[0], polite.chunk()) == (200, "Welcome, user 7\n")
        dropped = 2 * len(HEAD) - 1
        stats_when(server, dropped=dropped, excess=0, logins=AUDIENCE + 1)
        polite.sock.sendall(b"x" * (100 - dropped))
        stats_when(server, dropped=100, excess=0)
        assert [polite.message()[0] for _ in range(3)] == [1, 2, 3]
        polite.sock.sendall(b"x")
        stats_when(server, dropped=101, excess=1, connections=AUDIENCE)
        polite.rest()
        others.receive(2)


def test_too_much_in_one_piece_with_the_request_is_cut_off_and_counted_once(model: str) -> None:
    with scene(model, "--limit-excess", "100") as (server, others), Client(server, HEAD + b"x" * 101) as client:
        stats_when(server, dropped=101, excess=1, connections=AUDIENCE)
        client.rest()
        others.receive(2)


def _narrow(server: Comet) -> socket.socket:
    """Connect, ask and read nothing, with as little room in the kernel's buffers of both sides as can be had."""
    sock = socket.socket()
    sock.settimeout(60)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 300)  # the server's buffer grows with the segments
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(HEAD)
    return sock


def _read_late(client: socket.socket) -> bytes:
    client.settimeout(60)  # the kernel asks for room at intervals that double while nobody reads
    return client.makefile("rb").read()


def test_who_never_reads_is_cut_off_and_counted_as_slow(model: str) -> None:
    with scene(model, "--limit-pending", "1000", "--tick", "1ms") as (server, others), ExitStack() as stack:
        clients = [stack.enter_context(_narrow(server)) for _ in range(10)]
        others.receive(400)  # about what the kernel keeps
        stats_when(server, slow=10, connections=AUDIENCE)
        with ThreadPoolExecutor(len(clients)) as readers:  # all at once, as who waits for its turn waits ever longer
            answers = list(readers.map(_read_late, clients))
        for answer in answers:
            got = [int(match[3]) for match in MESSAGE.finditer(answer)]
            assert got == list(range(1, len(got) + 1))


def test_who_reads_late_gets_everything(model: str) -> None:
    with scene(model, "--tick", "1ms") as (server, others), _narrow(server) as client:
        others.receive(500)  # more than the kernel keeps for the one that does not read
        answer = b""
        while len(got := [int(match[3]) for match in MESSAGE.finditer(answer)]) < 500:
            answer += client.recv(65536) or pytest.fail(f"cut off after {len(got)} messages")
        assert got == list(range(1, len(got) + 1))
        assert server.stats()["slow"] == 0


def test_who_says_nothing_gets_408_in_the_end(model: str) -> None:
    with scene(model, "--limit-head-time", "200ms") as (server, others), ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(200)]
        others.receive(10)
        for client in clients[:100]:
            client.__exit__()
        for client in clients[100:]:
            client.sock.settimeout(60)  # the kernel keeps them to itself for some seconds
            assert client.head()[0] == 408
        others.receive(2)


def _reset(client: Client) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.__exit__()


ENTIRE = [HEAD, asking(7, version="1.0"), asking(7, "HEAD"), asking("/nowhere"), HEAD + b"x" * 60]
ENTIRE += [asking(7, more=f"Never-Seen-Before: {n}\r\n") for n in range(20)]


def test_a_reset_before_during_or_after_the_request_leaves_nothing(model: str) -> None:
    with scene(model) as (server, others), ExitStack() as stack:
        for request in [b"", HEAD[:9], HEAD[:-1]] * 50:
            _reset(Client(server, request))
        for client in streams(stack, server, *range(1, 101)):
            _reset(client)
        others.receive(2)


def test_a_reset_right_behind_the_request_leaves_nothing(model: str) -> None:
    with scene(model, "--limit-excess", "100") as (server, others), ExitStack() as stack:
        for request in ENTIRE * 4:
            _reset(Client(server, request))
        for client in streams(stack, server, *range(1, 51)):  # on the descriptors of those that are gone
            client.sock.sendall(b"x" * 60)
            assert [client.message()[0] for _ in range(3)] == [1, 2, 3]
        others.receive(2)
        assert server.stats()["excess"] == 0


def _visit(server: Comet, chance: random.Random) -> Iterator[None]:
    """Open a connection, send some of a request in pieces, close in some way; at each yield others have their turn."""
    with Client(server) as client:
        yield
        request = chance.choice([HEAD, HEAD, asking(chance.randrange(1, 5000)), asking("/nowhere"), HEAD + b"more"])
        cut, end = sorted(chance.choices(range(len(request) + 1), k=2)) if chance.random() < 0.5 else (0, len(request))
        for piece in (request[:cut], request[cut:end]):
            client.sock.sendall(piece)
            yield
        if end == len(request) and chance.random() < 0.5:
            assert client.head()[0] == (404 if b"nowhere" in request else 200)
            yield
        if chance.random() < 0.3:
            _reset(client)


def test_a_crowd_that_comes_and_goes_at_random(model: str) -> None:
    raise_files_limit()
    chance = random.Random(2008)
    with scene(model) as (server, others):
        visits = [_visit(server, chance) for _ in range(2000 - AUDIENCE)]
        while visits:
            index = chance.randrange(len(visits))
            if next(visits[index], "over") == "over":
                visits[index] = visits[-1]
                visits.pop()
                if len(visits) == 1000:
                    others.receive(2)


def _damaged(place: int, new: bytes, gone: int) -> bytes:
    return HEAD[:place] + new + HEAD[place + gone :]


GARBAGE = st.binary(max_size=2000) | st.builds(
    _damaged, st.integers(0, len(HEAD)), st.binary(max_size=20), st.integers(0, 10)
)


def test_garbage_is_answered_or_closed(model: str) -> None:
    with scene(model) as (server, others):

        @settings(max_examples=300)
        @given(GARBAGE)
        def check(garbage: bytes) -> None:
            with Client(server, garbage) as client:
                client.sock.shutdown(socket.SHUT_WR)
                answer = client.file.read()
            assert re.match(rb"HTTP/1\.1 (200|400|404|431|501|503|505) |$", answer), answer

        check()
        others.receive(2)


def test_when_a_front_is_killed_the_others_go_on(model: str) -> None:
    with comet("--model", model, "--max-users", "5000", "--tick", "50ms") as server, ExitStack() as stack:
        others = stack.enter_context(closing(Audience(server)))
        victim, survivor = fronts(server)
        theirs: dict[int, list[Client]] = {}
        for front, stopped in ((victim, survivor), (survivor, victim)):
            os.kill(stopped, signal.SIGSTOP)  # so that the other one accepts
            theirs[front] = streams(stack, server, *range(1, 11))
            os.kill(stopped, signal.SIGCONT)
        os.kill(victim, signal.SIGKILL)
        for client in theirs[victim]:
            with suppress(ConnectionResetError):
                client.rest()
        others.receive(5, may_end=True)
        for client in theirs[survivor] + streams(stack, server, *range(101, 151)):
            assert [client.message()[0] for _ in range(3)] == [1, 2, 3]
        stats = server.stats()
        assert (stats["fronts"], stats["pids"]["fronts"]) == ([-signal.SIGKILL, None], [survivor])
        assert stats["connections"] == AUDIENCE - len(others.ended) + 10 + 50
