"""wire.incoming on WebSockets: a batch of reads is what each stream by itself says, with what is owed for it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.intake import Reads
from floodtest.wire import stamp
from floodtest.wire.causes import Cause
from floodtest.wire.framing import websocket
from floodtest.wire.framing.websocket import BINARY, CONTINUATION, FROM_SERVER, PING, PONG, TEXT, frame
from floodtest.wire.incoming import Incoming, Received
from floodtest.wire.protocols import WEBSOCKET
from tests.rigs.client import FILES

STAMPED = stamp.FORMAT % (1_234_567_890_123_456_789, 5)
PIECES = [
    *(frame(opcode, b"Recvd msg #%d: %bhi" % (number, STAMPED)) for number in (1, 7, 10) for opcode in (TEXT, BINARY)),
    frame(TEXT, b"Recvd msg #2: tick 3"),
    frame(TEXT, b"no number"),
    frame(PING, b"a"),
    frame(PING, b"b"),
    frame(PONG),
    b"\x01\x02He",
    frame(CONTINUATION, b"llo"),
    frame(TEXT, STAMPED + b"\xff"),
    websocket.close(1000),
    b"\xff",
]
FDS = range(5, 17)


class Total:
    """What some batches brought, added up."""

    def __init__(self, *batches: Received) -> None:
        self.sums = [sum(getattr(one, name) for one in batches) for name in ("size", "count", "messages", "pings")]
        self.ticks = sum((one.ticks for one in batches), Counter[int]())
        self.over = {fd: code for one in batches for fd, code in one.over.items()}
        self.rows: list[tuple[int, ...]] = []
        self.stamps: list[tuple[int, ...]] = []
        for one in batches:
            fds, numbers, _ = one.numbered()
            _, planned, late = one.stamped()
            self.rows += zip(fds.tolist(), numbers.tolist(), strict=True)
            self.stamps += zip(planned.tolist(), late.tolist(), strict=True)
        self.rows.sort()
        self.stamps.sort()


def pongs_of(replies: dict[int, bytes]) -> dict[int, tuple[int, int | None]]:
    found = {fd: FROM_SERVER.decode(data) for fd, data in replies.items()}
    return {fd: (heard.pongs, heard.status) for fd, heard in found.items()}


def batch(fds: list[int], data: list[bytes]) -> Reads:
    reads = Reads()
    reads.add(fds, data, 1, 2)
    return reads


def opened() -> Incoming:
    incoming = WEBSOCKET.incoming(FILES)
    incoming.begin(list(FDS), FROM_SERVER)
    return incoming


@given(
    st.lists(st.tuples(st.sampled_from(FDS), st.lists(st.sampled_from(PIECES), max_size=3)), min_size=1, max_size=40)
)
def test_a_batch_is_what_its_streams_are_one_by_one(rows: list[tuple[int, list[bytes]]]) -> None:
    fds, data = [fd for fd, _ in rows], [b"".join(pieces) for _, pieces in rows]
    together = opened().take(batch(fds, data))
    alone = []
    for fd in set(fds):
        reads = [read for other, read in zip(fds, data, strict=True) if other == fd]
        alone.append(opened().take(batch([fd] * len(reads), reads)))
    assert vars(Total(together)) == vars(Total(*alone))
    replies = {fd: reply for one in alone for fd, reply in one.replies().items()}
    assert pongs_of(together.replies()) == pongs_of(replies)


def test_of_several_reads_of_a_descriptor_the_last_is_answered_whatever_others_had() -> None:
    first, last = frame(PING, b"a"), frame(PING, b"b")
    for order in ([first, last], [last, first]):
        received = opened().take(batch([5, 6, 5], [order[0], order[1], order[1]]))
        assert received.replies()[5] == frame(PONG, order[1][2:])


def test_what_has_ended_is_told_so_and_owed_no_pong_more() -> None:
    received = opened().take(batch([5, 5], [websocket.close(1001), frame(PING)]))
    assert received.over == {5: Cause.FINISHED}
    assert pongs_of(received.replies()) == {5: (0, 1001)}
    received = opened().take(batch([5], [frame(PING) + b"\xff"]))
    assert received.over == {5: Cause.BAD_FRAMING}
    assert pongs_of(received.replies()) == {5: (1, 1002)}
