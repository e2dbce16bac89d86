"""First bytes of heads that are taken by the batch are answered as they are one by one, whatever they are."""

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from floodtest.server_under_test.fronts.reception import Reception
from floodtest.server_under_test.limits import Limits
from floodtest.wire.protocols import Served
from floodtest.wire.requests import Requests
from tests.rigs.server import MAX_USERS, ServerRig
from tests.rigs.websocket import handshake

REQUESTS = [
    b"GET /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n",
    b"GET /test/%d HTTP/1.1\r\nHost: another\r\n\r\n",
    b"GET /events/%d HTTP/1.1\r\nHost: comet\r\n\r\n",
    b"GET /test/%d HTTP/1.0\r\n\r\n",
    b"GET /test/0%d HTTP/1.1\r\nHost: comet\r\n\r\nbehind",
    b"GET /test/%d HTTP/1.1\r\nHos",
    b"GET /none/%d HTTP/1.1\r\nHost: comet\r\n\r\n",
    b"HEAD /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n",
    b"GET /test/%d0000000 HTTP/1.1\r\nHost: comet\r\n\r\n",
    handshake(1).replace(b"/ws/1", b"/ws/%d"),
]

DATE = re.compile(rb"Date: [^\r]*")


@contextmanager
def receiving(clients: int, requests: Requests) -> Iterator[tuple[ServerRig, Reception, list[int]]]:
    """A reception with so many clients of whom nothing has come yet; their numbers are those of their descriptors."""
    rig = ServerRig()
    with socket.socket() as listener:
        reception = Reception(
            listener,
            rig.readiness,
            rig.intake,
            rig.outbox,
            rig.streams,
            rig.partings,
            requests,
            Limits(),
            rig.ledger.row(0),
        )
        fds = [rig.accept(client) for client in range(clients)]
        for fd in fds:
            reception._wait_for_head(fd)
        yield rig, reception, fds
        reception.close()
        rig.end()


class CountedRequests(Requests):
    """Counts how often a batch is held against what is known."""

    calls = 0

    def common(self, read: list[bytes]) -> tuple[list[int], Served, list[bytes]] | None:
        self.calls += 1
        return super().common(read)


def answers(said: list[bytes], batches: Iterable[slice]) -> tuple[list[bytes], list[bytes], list[int]]:
    """Have a reception take what clients say, some at a time; return what each got, the heads that wait, and counts."""
    with receiving(len(said), Requests(MAX_USERS, 8192)) as (rig, reception, fds):
        for batch in batches:
            assert reception.take(fds[batch], said[batch]) == ([], [])
        got = [DATE.sub(b"", rig.read(client) or b"") for client in range(len(said))]
        heads = [reception._heads[fd] for fd in fds if fd in reception._heads]
        counts = [rig.figure(name) for name in ("open", "logins", "dropped")]
        return got, heads, [*counts, *rig.ledger.total("rejected").tolist()]


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=12))
def test_a_batch_is_answered_as_its_rows_are(kinds: list[bytes]) -> None:
    said = [kind % (number + 1) for number, kind in enumerate(kinds)]
    one_by_one = [slice(at, at + 1) for at in range(len(said))]
    assert answers(said, [slice(None)]) == answers(said, one_by_one)


def test_alike_requests_are_taken_at_once() -> None:
    """Those of two kinds that come mixed are split no further than they have to be."""
    rows = [REQUESTS[0] % (at + 1) for at in range(64)] + [REQUESTS[2] % (at + 1) for at in range(64)]
    counted = CountedRequests(MAX_USERS, 8192)
    for kind in (REQUESTS[0], REQUESTS[2]):
        counted.parse(kind % 1)
    with receiving(len(rows), counted) as (rig, reception, fds):
        reception.take(fds, rows)
        assert (counted.calls, rig.figure("open"), len(reception)) == (3, 128, 0)
