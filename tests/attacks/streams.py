"""Attack: mutated answers and streams against the clients.

First in this process, against the streams of the columns client: what it counts, by the batch and one by one, must be
what parsing each stream as a whole finds. Then from a scripted server against `floodtest run` with either client: no
worker ends, there is no traceback, and every connection is accounted for by a cause that has a name.
"""

import re
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.loadgen.client.accounts import code_name
from floodtest.wire import stamp
from floodtest.wire.answers import NotOpened
from floodtest.wire.causes import Cause
from floodtest.wire.protocols import CHUNKED
from tests.attacks.mutations import ANYWHERE, NUMBERS, Mutation, mutate, pieces_of
from tests.attacks.order import Order, Tally
from tests.attacks.serving import fault
from tests.loadgen.test_hostile_peer import in_columns, in_full
from tests.rigs.client import ID, message, welcome
from tests.rigs.support import chunk, flood, scripted_server, user_of

STREAMS = 20_000
TOGETHER = 20
"""Streams that are read side by side."""

RUNS = {"columns": 1_000, "httpx": 1_000}
"""Connections of a run, by client."""

OWN = [cause.name.lower() for cause in Cause]
NAMED = re.compile(rf"([A-Z][A-Z0-9]*|HTTP_\d{{3}}|{'|'.join(OWN)})(@(bind|connect|request|response))?")

HEADS = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
]
FIELDS = [
    b"Content-Length: 5",
    b"Transfer-Encoding: gzip, chunked",
    b"X: " + b"y" * 70_000,
    b" folded",
    b"Connection: close",
]


def _texts(random: Random) -> bytes:
    match random.randrange(4):
        case 0:
            return b"tick %d" % random.choice([1, 2, 257, 513, 10**18 - 1, 10**18])
        case 1:
            return stamp.FORMAT % (random.choice([10**15, 9 * 10**18 - 1, 9 * 10**18]), random.randrange(10**8))
        case 2:
            return b"@%b+%b " % (random.choice(NUMBERS), random.choice(NUMBERS))
        case _:
            return random.randbytes(random.randrange(30))


def valid(random: Random, user: int) -> bytes:
    """Return an answer that opens, and some messages."""
    stream, number = welcome(user), 0
    for _ in range(random.randrange(8)):
        number = number + 1 if random.random() < 0.95 else random.choice([1, 9, 10**6, 999_999_999])
        stream += message(number, _texts(random))
    return stream + random.choice(
        [b"", b"", b"", b"0\r\n\r\n", b"ffffffff\r\n", chunk(b"x" * 70_000), b"0\r\nX: y\r\n"]
    )


def _other_head(random: Random, data: bytes) -> bytes:
    return random.choice(HEADS) + data


def _more_fields(random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\r\n" + random.choice(FIELDS) + b"\r\n", 1)


def _bare_line_feeds(random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n", random.choice([-1, 1, 2]))


MUTATIONS: list[Mutation] = [*ANYWHERE, *ANYWHERE, _other_head, _more_fields, _bare_line_feeds]


def some_pieces(random: Random, user: int) -> list[bytes]:
    """Return what a server says to a user, in the pieces that it comes in."""
    data = valid(random, user)
    return pieces_of(random, data if random.random() < 0.2 else mutate(random, data, MUTATIONS))


def in_process(order: Order, tally: Tally, random: Random) -> None:
    """Feed the columns client, and parse the same in full."""
    for _ in range(-(-order.count(STREAMS) // TOGETHER)):
        pieces = {user: some_pieces(random, user) for user in range(1, TOGETHER + 1)}
        expected = in_full(pieces)
        for together in (True, False):
            with TemporaryDirectory(dir=order.folder) as folder:
                found = in_columns(Path(folder), pieces, together)
            if found != expected:
                differ = {name: (found[name], expected[name]) for name in expected if found[name] != expected[name]}
                how = "read by the batch" if together else "read one by one"
                fault(tally, f"Streams {how} give other figures than parsed as a whole: {differ}, of {_short(pieces)}.")
        tally.did["streams on socket pairs"] += TOGETHER
        for name in ("failed", "closed"):
            tally.saw.update({f"{cause} {name}": count for cause, count in expected[name].items()})


def _short(pieces: dict[int, list[bytes]]) -> str:
    return "; ".join(f"{user}: {b''.join(some)[90:250]!r}" for user, some in pieces.items())[:3000]


# -- whole runs ------------------------------------------------------------------------------------------------------


def stays(user: int) -> bool:
    """Whether the server leaves a user's connection open."""
    return user % 5 == 0


def ending(user: int, data: bytes) -> str:
    """Return what has to become of a connection: the cause of its failure, or "open"."""
    answer = CHUNKED.answers(ID, 0).begin(user)
    try:
        opened = answer.add(data)
    except NotOpened as error:
        return f"{code_name(error.code)}@response"
    if opened is None and not stays(user):
        return "cut@response" if data else "no_answer@response"
    if opened is None:
        return "open_when_unmet@response" if answer.search.has_messages else "ETIMEDOUT@response"
    return "open"


def server_of(script: dict[int, list[bytes]]) -> Callable[[socket.socket], None]:
    """Return what says to each user what is written for it."""

    def handle(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            user = int(user_of(connection.recv(4096)))
            for piece in script[user]:
                connection.sendall(piece)
            if not stays(user):
                connection.shutdown(socket.SHUT_WR)

    return handle


def whole_run(order: Order, tally: Tally, random: Random, client: str, count: int) -> None:
    """Run `floodtest` against a server that says mutated streams."""
    script = {user: some_pieces(random, user) for user in range(1, count + 1)}
    options = (
        "--connections",
        str(count),
        "--hold",
        "2",
        "--connect-timeout",
        "5",
        "--rate",
        "500",
        "--open-when",
        "id",
        "--protocol",
        "chunked",
    )
    with scripted_server(server_of(script)) as target:
        code, summary, errors = flood(
            order.folder / client, "--target", target, "--client", client, *options, timeout=300
        )
    tally.did[f"streams in a run of {client}"] += count
    tally.saw[f"exit {code}"] += 1
    if code not in (0, 4) or "Traceback" in errors:
        fault(tally, f"floodtest run --client {client} ended with {code}: {errors[-1500:]}")
        return
    connections = summary["connections"]
    wanted = Counter(ending(user, b"".join(pieces)) for user, pieces in script.items())
    for problem in wrong_with(connections, wanted, exactly=client == "columns"):
        fault(tally, f"floodtest run --client {client}: {problem}: {connections}.")


def wrong_with(connections: dict[str, Any], wanted: Counter[str], exactly: bool) -> list[str]:
    """Return what is wrong with the accounts of a run."""
    failed, closed = connections["failed"], connections["closed_by"]
    problems = []
    if connections["planned"] != connections["opened"] + sum(failed.values()) + connections["not_reached"]:
        problems.append("the accounts do not add up")
    if not sum(closed.values()) == connections["closed_early"] <= connections["opened"]:
        problems.append("those that were closed early do not add up")
    if odd := [cause for cause in (*failed, *closed) if not NAMED.fullmatch(cause)]:
        problems.append(f"the causes {odd} have no name")
    if exactly and (connections["opened"], failed) != (wanted["open"], {**wanted - Counter({"open": wanted["open"]})}):
        problems.append(f"parsing finds {dict(wanted)}")
    return problems


def attack(order: Order) -> Tally:
    """Feed clients with mutated streams."""
    tally, random = Tally(), order.random
    raise_files_limit()
    in_process(order, tally, random)
    for client, whole in RUNS.items():
        whole_run(order, tally, random, client, order.count(whole))
    return tally
