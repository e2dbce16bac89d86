"""WebSockets of both models of a front: what is sent on them, what clients may send, and what each bad input gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.server_under_test.fronts.websockets import GOING_AWAY_FRAME, FromClient, hear
from floodtest.wire.framing.frames import MAX_PAYLOAD
from floodtest.wire.framing.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, masked
from floodtest.wire.messages import MESSAGE, WELCOME
from floodtest.wire.protocols import CHUNKED, WEBSOCKET
from tests.rigs.peer_input import cut
from tests.rigs.server import EXCESS, PENDING, SMALL, ServerRig
from tests.rigs.tasks import TaskRig
from tests.rigs.websocket import ACCEPT, frames_in, handshake, sent

Holder = ServerRig | TaskRig

FINAL, MASK = 0x80, b"\x80"


def say(holder: Holder, user: int, *pieces: bytes) -> None:
    """Have a client send pieces, each of which is read by itself."""
    for piece in pieces:
        holder.clients[user].sendall(piece)
        holder.turn()


def heard(holder: Holder, user: int) -> list[tuple[int, bytes]]:
    """Return the frames that have arrived for a user."""
    return frames_in(holder.read(user) or b"")


def is_closed(holder: Holder, user: int) -> bool:
    """Return whether nothing more comes for a user."""
    return holder.read(user) is None


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_a_handshake_is_answered_and_the_user_welcomed(holder: Holder) -> None:
    holder.login_websocket(7)
    head, _, rest = holder.welcomed.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: " + ACCEPT in head
    assert frames_in(rest) == [(TEXT, WELCOME % 7)]
    assert [holder.figure(name) for name in ("open", "logins", "bytes")] == [1, 1, len(holder.welcomed)]


def test_messages_are_texts_beside_the_chunks_of_others(holder: Holder) -> None:
    holder.login(1)
    holder.login_websocket(2)
    for text in (b"hello", "größer".encode(), b"in two\r\nlines", b"x" * 5000):
        assert holder.send(text) == 2
    texts = [b"hello", "größer".encode(), b"in two\r\nlines", b"x" * 5000]
    assert heard(holder, 2) == [(TEXT, MESSAGE % row) for row in enumerate(texts, 1)]
    assert holder.read(1) == b"".join(CHUNKED.frame(*row) for row in enumerate(texts, 1))


def test_who_does_not_read_is_cut_off_at_the_bound(holder: Holder) -> None:
    holder.login_websocket(1, SMALL)
    count = 0
    while holder.figure("open"):
        holder.send(b"x" * 1000)
        holder.turn()
        count += 1
        assert count < 100
    whole = b"".join(WEBSOCKET.frame(number, b"x" * 1000) for number in range(1, count + 1))
    assert whole.startswith(holder.read_to_the_end(1))
    assert holder.figure("slow") == 1


# -- what clients send -----------------------------------------------------------------------------------------------

HARMLESS = {
    "a text": [sent(TEXT, b"hello")],
    "an empty text": [sent(TEXT)],
    "a text that is not ASCII": [sent(TEXT, "größer".encode())],
    "bytes": [sent(BINARY, b"\xff\xfe")],
    "a text of 200 bytes": [sent(TEXT, b"x" * 200)],
    "a pong that nobody asked for": [sent(PONG, b"x")],
    "fragments": [masked(b"\x01\x01a" + b"\x00\x01b" + b"\x80\x01c")],
    "a letter in two fragments": [masked(b"\x01\x01\xc3" + b"\x80\x01\xb6")],
    "empty fragments": [masked(b"\x02\x00" + b"\x00\x00" + b"\x80\x00")],
}


@pytest.mark.parametrize("pieces", HARMLESS.values(), ids=HARMLESS.keys())
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
def test_messages_of_a_client_are_dropped_and_counted(pieces: list[bytes], cut: bool, holder: Holder) -> None:
    holder.login_websocket(1)
    size = sum(map(len, pieces))
    say(holder, 1, *([bytes([byte]) for byte in b"".join(pieces)] if cut else pieces))
    assert [holder.figure(name) for name in ("dropped", "excess", "open")] == [size, 0, 1]
    assert holder.read(1) == b""
    holder.send(b"hello")
    assert heard(holder, 1) == [(TEXT, MESSAGE % (1, b"hello"))]


@pytest.mark.parametrize("payload", [b"", b"hello", b"\xff" * 125])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
def test_a_ping_is_answered_with_its_payload(payload: bytes, cut: bool, holder: Holder) -> None:
    holder.login_websocket(1)
    say(holder, 1, *([bytes([byte]) for byte in sent(PING, payload)] if cut else [sent(PING, payload)]))
    assert heard(holder, 1) == [(PONG, payload)]


def test_a_ping_between_two_fragments_is_answered_once(holder: Holder) -> None:
    holder.login_websocket(1)
    say(holder, 1, masked(b"\x01\x01\xc3"), sent(PING, b"a"), masked(b"\x80\x01\xb6"), sent(PING, b"b"))
    assert heard(holder, 1) == [(PONG, b"a"), (PONG, b"b")]
    assert holder.figure("open") == 1


def test_of_pings_that_come_at_once_the_last_is_answered(holder: Holder) -> None:
    holder.login_websocket(1)
    say(holder, 1, b"".join(sent(PING, b"%d" % number) for number in range(50)))
    assert heard(holder, 1) == [(PONG, b"49")]


def test_who_is_told_that_the_server_ends_may_have_sent_something(tasks: TaskRig) -> None:
    """Such as a pong: who is closed while that is unread is reset, and may never read what was said last."""
    client, other = tasks.login_websocket(1), tasks.login(2)
    tasks.say_goodbye()
    assert client.recv(100) == GOING_AWAY_FRAME
    assert client.recv(100) == b""  # which is the end, in order, of what the server says
    client.sendall(sent(PONG) + sent(CLOSE, b"\x03\xe9"))
    tasks.turn()
    assert (tasks.figure("open"), tasks.has_parted) == (1, False)
    client.close()
    tasks.turn()
    assert tasks.has_parted
    with pytest.raises(BlockingIOError):
        other.recv(100)  # it is closed with its front


def test_who_is_behind_is_not_told_that_the_server_ends(tasks: TaskRig) -> None:
    tasks.login_websocket(1, SMALL)
    tasks.fall_behind(1)
    tasks.say_goodbye()
    assert tasks.has_parted


def test_what_comes_in_one_piece_with_the_handshake_is_heard(tasks: TaskRig) -> None:
    tasks.ask(1, handshake(1) + sent(PING, b"early"))
    assert frames_in(tasks.welcomed.partition(b"\r\n\r\n")[2]) == [(TEXT, WELCOME % 1), (PONG, b"early")]
    tasks.ask(2, handshake(2) + sent(CLOSE))
    assert frames_in(tasks.welcomed.partition(b"\r\n\r\n")[2]) == [(TEXT, WELCOME % 2), (CLOSE, b"")]
    assert tasks.figure("open") == 1


def test_a_flood_of_pings_is_cut_off_and_counted(holder: Holder) -> None:
    holder.login_websocket(1)
    holder.login_websocket(2)
    ping = sent(PING, b"x" * 100)
    for _ in range(EXCESS // len(ping)):
        say(holder, 1, ping)
    assert heard(holder, 1) == [(PONG, b"x" * 100)] * (EXCESS // len(ping))
    assert [holder.figure(name) for name in ("excess", "open")] == [0, 2]
    say(holder, 1, ping)
    assert [holder.figure(name) for name in ("excess", "open")] == [1, 1]
    assert is_closed(holder, 1)
    say(holder, 2, sent(PING, b"x" * 100))
    assert heard(holder, 2) == [(PONG, b"x" * 100)]


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9going", b"\x0f\xa0my own", b"\x03\xe8" + b"x" * 123])
def test_a_close_is_answered_and_the_connection_ends(payload: bytes, holder: Holder) -> None:
    holder.login_websocket(1)
    holder.login_websocket(2)
    say(holder, 1, sent(CLOSE, payload))
    assert heard(holder, 1) == [(CLOSE, payload[:2])]
    assert is_closed(holder, 1)
    assert [holder.figure(name) for name in ("open", "excess", "slow")] == [1, 0, 0]
    assert holder.send(b"hello") == 1
    say(holder, 1, b"more that is not read")
    holder.clients[1].close()
    holder.turn()
    assert heard(holder, 2) == [(TEXT, MESSAGE % (1, b"hello"))]


def test_a_pong_goes_before_the_close_that_came_behind_its_ping(holder: Holder) -> None:
    holder.login_websocket(1)
    say(holder, 1, sent(PING, b"last") + sent(CLOSE, b"\x03\xe8") + sent(TEXT, b"\xff"))
    assert heard(holder, 1) == [(PONG, b"last"), (CLOSE, b"\x03\xe8")]
    assert is_closed(holder, 1)


VIOLATIONS: dict[str, tuple[bytes, int]] = {
    "a text without a mask": (b"\x81\x02hi", 1002),
    "a ping without a mask": (b"\x89\x00", 1002),
    "a close without a mask": (b"\x88\x02\x03\xe8", 1002),
    **{f"reserved bit {bit:#x}": (bytes([FINAL | bit | TEXT]) + MASK + bytes(4), 1002) for bit in (0x40, 0x20, 0x10)},
    **{
        f"opcode {code}": (bytes([FINAL | code]) + MASK + bytes(4), 1002)
        for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7e" + bytes(130), 1002),
    "a close of 126 bytes": (b"\x88\xfe\x00\x7e" + bytes(130), 1002),
    "a ping in fragments": (b"\x09\x80" + bytes(4), 1002),
    "a close in fragments": (b"\x08\x80" + bytes(4), 1002),
    "a length of 125 in two bytes": (b"\x81\xfe\x00\x7d" + bytes(129), 1002),
    "a length of 126 in eight bytes": (b"\x81\xff" + (126).to_bytes(8, "big") + bytes(130), 1002),
    "a length with its highest bit": (b"\x81\xff\x80" + bytes(11), 1002),
    "a fragment of nothing": (sent(CONTINUATION, b"a"), 1002),
    "a message within another": (masked(b"\x01\x01a" + b"\x81\x01b"), 1002),
    "a close of one byte": (sent(CLOSE, b"\x03"), 1002),
    **{
        f"a close of status {status}": (sent(CLOSE, status.to_bytes(2, "big")), 1002)
        for status in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "a text that is not UTF-8": (sent(TEXT, b"\xff"), 1007),
    "a text that is cut in a letter": (sent(TEXT, b"\xc3"), 1007),
    "a surrogate": (sent(TEXT, b"\xed\xa0\x80"), 1007),
    "fragments that are not UTF-8": (masked(b"\x01\x01\xc3" + b"\x80\x01a"), 1007),
    "a reason that is not UTF-8": (sent(CLOSE, b"\x03\xe8\xff"), 1007),
    "a text over the bound": (b"\x81\xff" + (MAX_PAYLOAD + 1).to_bytes(8, "big") + bytes(4), 1009),
    "bytes over the bound": (b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4), 1009),
}
"""What RFC 6455 forbids, and the status that it names."""


@pytest.mark.parametrize(("data", "status"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
@pytest.mark.parametrize("how", ["whole", "byte by byte", "with bytes after it", "behind a message"])
def test_who_breaks_the_rules_is_told_so_and_the_connection_ends(
    data: bytes, status: int, how: str, holder: Holder
) -> None:
    holder.login_websocket(1)
    pieces = [data]
    if how == "byte by byte":
        pieces = [bytes([byte]) for byte in data]
    elif how == "with bytes after it":
        pieces = [data + sent(PING, b"too late")]
    elif how == "behind a message":
        pieces = [sent(TEXT, b"hello") + data]
    say(holder, 1, *pieces)
    assert heard(holder, 1) == frames_in(close(status))
    assert is_closed(holder, 1)
    assert [holder.figure(name) for name in ("open", "excess", "slow")] == [0, 0, 0]
    violations = holder.ledger.total("violations")
    assert (violations[status - 1000], violations.sum()) == (1, 1)


def test_who_is_behind_gets_no_close_within_a_message(holder: Holder) -> None:
    holder.login_websocket(1, SMALL)
    count = holder.fall_behind(1)
    say(holder, 1, sent(CLOSE))
    whole = b"".join(WEBSOCKET.frame(number, b"x" * 1000) for number in range(1, count + 1))
    assert (whole + frame(CLOSE)).startswith(holder.read_to_the_end(1))
    assert holder.figure("open") == 0
    assert count * 1000 > PENDING / 10


def test_a_reused_descriptor_goes_on_with_no_frame_of_another(front: ServerRig) -> None:
    front.login_websocket(1)
    say(front, 1, sent(TEXT, b"hello")[:-1])
    front.clients[1].close()
    front.turn()
    front.login_websocket(2)
    assert front.descriptors[2] == front.descriptors[1]
    say(front, 2, sent(PING, b"x"))
    assert heard(front, 2) == [(PONG, b"x")]


def test_a_client_between_two_frames_costs_nothing(front: ServerRig) -> None:
    front.login_websocket(1)
    say(front, 1, *(bytes([byte]) for byte in sent(TEXT, b"hello")))
    assert not front.streams._begun


def test_streams_that_are_no_websockets_may_send_what_they_like(holder: Holder) -> None:
    holder.login(1)
    say(holder, 1, b"\x81\x02hi", sent(PING), sent(CLOSE))
    assert holder.read(1) == b""
    assert holder.figure("open") == 1


# -- pings of the server ---------------------------------------------------------------------------------------------


def test_who_answers_pings_stays_and_pays_nothing_for_it(holder: Holder) -> None:
    holder.login(1)
    holder.login_websocket(2)
    for _ in range(EXCESS // 6 + 2):
        holder.ping()
        assert heard(holder, 2) == [(PING, b"")]
        say(holder, 2, sent(PONG))
    assert holder.read(1) == b""
    assert [holder.figure(name) for name in ("open", "excess", "unanswered")] == [2, 0, 0]
    if isinstance(holder, ServerRig):
        assert not holder.streams._excess


def test_who_does_not_answer_a_ping_is_cut_off_and_counted(holder: Holder) -> None:
    holder.login(1)
    holder.login_websocket(2)
    holder.login_websocket(3)
    holder.ping()
    say(holder, 2, sent(PONG, b"any"))
    say(holder, 3, sent(TEXT, b"no pong"))
    holder.login_websocket(4)
    holder.ping()
    assert [holder.figure(name) for name in ("open", "unanswered")] == [3, 1]
    assert heard(holder, 2) == [(PING, b"")] * 2
    assert holder.read(3) == b"\x89\x00"
    assert is_closed(holder, 3)
    assert heard(holder, 4) == [(PING, b"")]


def test_pongs_that_nobody_asked_for_are_paid_for(holder: Holder) -> None:
    holder.login_websocket(1)
    holder.ping()
    for _ in range(EXCESS // 6 + 2):
        if holder.figure("open"):
            say(holder, 1, sent(PONG))
    assert [holder.figure(name) for name in ("open", "excess")] == [0, 1]


def test_a_reused_descriptor_owes_no_pong(front: ServerRig) -> None:
    front.login_websocket(1)
    front.ping()
    front.clients[1].close()
    front.turn()
    front.login_websocket(2)
    assert front.descriptors[2] == front.descriptors[1]
    front.ping()
    assert [front.figure(name) for name in ("open", "unanswered")] == [1, 0]


def test_who_is_there_when_the_server_ends_is_told_so(front: ServerRig) -> None:
    front.login(1)
    front.login_websocket(2)
    front.streams.close(10)
    assert heard(front, 2) == [(CLOSE, b"\x03\xe9")]
    assert is_closed(front, 1)
    assert is_closed(front, 2)


# -- any bytes -------------------------------------------------------------------------------------------------------

FRAMES = st.one_of(
    st.builds(sent, st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]), st.binary(max_size=6)),
    st.builds(
        lambda first, payload: masked(bytes((first, len(payload))) + payload),
        st.sampled_from([TEXT, BINARY, CONTINUATION, FINAL | CONTINUATION]),
        st.sampled_from([b"", b"a", b"\xc3", b"\xb6"]),
    ),
    st.sampled_from([data for data, _ in VIOLATIONS.values()]),
    st.binary(max_size=8),
)


@given(frames=st.lists(FRAMES, max_size=6), places=st.lists(st.integers(1, 60), max_size=8))
def test_what_is_heard_in_pieces_is_what_is_heard_as_a_whole(frames: list[bytes], places: list[int]) -> None:
    whole = hear(None, b"".join(frames))
    begun, replies, ponged, heard = None, b"", False, FromClient(b"", False, False, None)
    for piece in cut(b"".join(frames), places):
        heard = hear(begun, piece)
        begun, replies, ponged = heard.begun, replies + heard.reply, ponged or heard.has_ponged
        if heard.is_over:
            break
    assert (heard.is_over, heard.violation) == (whole.is_over, whole.violation)
    assert replies.endswith(whole.reply) or heard.is_over
    assert whole.is_over or ponged == whole.has_ponged
    assert frames_in(replies)[-1:] == frames_in(whole.reply)[-1:]


def test_who_shuts_down_behind_a_request_is_welcomed_by_tasks(tasks: TaskRig) -> None:
    """Twenty times for each protocol, as trio runs what is ready in any order."""
    for user in range(2, 42, 2):
        tasks.ask(user, b"GET /test/%d HTTP/1.1\r\nHost: comet\r\n\r\n" % user, shuts_down=True)
        assert tasks.clients[user].recv(1) == b""
        tasks.ask(user + 1, handshake(user + 1) + sent(PING, b"there?"), shuts_down=True)
        assert frames_in(tasks.welcomed.partition(b"\r\n\r\n")[2])[1:] == [(PONG, b"there?")]
    assert tasks.figure("open") == 0
