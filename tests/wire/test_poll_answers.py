"""wire.framing.poll_answers: answers to polls, cut anywhere, by heads that are known and by h11, which decides."""

from collections.abc import Iterable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked, poll_answers
from floodtest.wire.framing.frames import MAX_PAYLOAD, FramingError, decode_all
from floodtest.wire.framing.poll_answers import MAX_KNOWN, TAKEN, Polled, unpacked
from tests.rigs.framing import read_in_pieces
from tests.rigs.peer_input import answers_to_polls, cut

HEAD = b"HTTP/1.1 200 OK\r\nServer: s\r\nDate: Mon, 30 Nov 2026 04:10:51 GMT\r\n%bEtag: %d\r\n\r\n"
SIZED = HEAD % (b"Content-Length: 5\r\n", 7) + b"hello"
TIME_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\nEtag: 1\r\n\r\n--"

Read = tuple[list[bytes], bytes, int | None, bool]


def read(framing: Polled, pieces: Iterable[bytes]) -> Read:
    """Read a connection as it comes: messages, the last cursor if it goes on, what ended it, and whether it stopped
    within an answer.
    """
    found = read_in_pieces(framing, pieces)
    cursors = [cursor for reply in found.replies if (cursor := unpacked(reply).cursor)]
    cursor = cursors[-1] if cursors and found.broken is None else b""
    return found.payloads, cursor, found.broken, found.is_inside


def by_h11(answers: list[bytes]) -> tuple[list[bytes], int | None]:
    """The messages of answers as h11 reads them, and what ends the connection."""
    messages = list[bytes]()
    connection = h11.Connection(h11.CLIENT)
    for answer in answers:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(answer)
        body = b""
        try:
            head = connection.next_event()
            assert isinstance(head, h11.Response)
            if head.status_code not in TAKEN:
                return messages, head.status_code
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                assert isinstance(event, h11.Data)
                body += bytes(event.data)
        except h11.RemoteProtocolError:
            return messages, Cause.BAD_FRAMING
        messages += [body] if body and head.status_code == 200 else []
        if connection.their_state is h11.MUST_CLOSE:
            return messages, Cause.NOT_KEPT_ALIVE
        connection.start_next_cycle()
    return messages, None


KNOWN = Polled()
"""It has read all examples before this one, and so knows many heads."""


class NoneKnown(poll_answers.Heads):
    """What leaves all heads to h11."""

    def read_known(self, data: bytes, at: int) -> None:
        return None


def slow_framing() -> Polled:
    framing = Polled()
    framing.known = NoneKnown()
    return framing


@given(st.lists(answers_to_polls(), min_size=1, max_size=4), st.lists(st.integers(0, 600), max_size=8))
def test_known_heads_are_read_as_h11_reads_them_wherever_answers_are_cut(said: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(said)
    slow = read(slow_framing(), [whole])
    read(KNOWN, said)
    assert read(KNOWN, said) == read(KNOWN, [whole]) == read(KNOWN, cut(whole, cuts)) == slow
    messages, code = by_h11(said)
    if slow[2] == Cause.BAD_CURSOR:
        assert slow[0] == messages[: len(slow[0])]
    else:
        assert (slow[0], slow[2]) == (messages, code)


CASES = [
    (SIZED, ([b"hello"], b"7\n", None, False)),
    (SIZED + SIZED.replace(b": 7", b": 8"), ([b"hello", b"hello"], b"8\n", None, False)),
    (SIZED + TIME_OUT, ([b"hello"], b"7\n", None, False)),
    (TIME_OUT + SIZED[:-1], ([], b"", None, True)),
    (HEAD % (b"Content-Length: 0\r\n", 1), ([], b"1\n", None, False)),
    (
        HEAD % (b"Transfer-Encoding: chunked\r\n", 3) + b"2\r\nab\r\n1;x\r\nc\r\n0\r\nT: 1\r\n\r\n",
        ([b"abc"], b"3\n", None, False),
    ),
    (HEAD % (b"Transfer-Encoding: chunked\r\n", 3) + b"2\r\nabc\r\n", ([], b"", Cause.BAD_FRAMING, False)),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, ([b"hello"], b"7\n", None, False)),
    (SIZED + b"nonsense\r\n\r\n", ([b"hello"], b"", Cause.BAD_FRAMING, False)),
    (HEAD % (b"", 1), ([], b"", Cause.NOT_KEPT_ALIVE, False)),
    (HEAD % (b"Content-Length: 2\r\nConnection: close\r\n", 1) + b"ab", ([b"ab"], b"", Cause.NOT_KEPT_ALIVE, False)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", ([b"x"], b"", Cause.NOT_KEPT_ALIVE, False)),
    (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", ([b"x"], b"", None, False)),
    (SIZED + b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n", ([b"hello"], b"", 401, False)),
    (b"HTTP/1.1 304 Not Modified\r\nETag: 9\r\nContent-Length: 10\r\n\r\n" + SIZED, ([b"hello"], b"7\n", None, False)),
    (b"HTTP/1.1 204 No Content\r\nETag: 9\r\n\r\n", ([], b"9\n", None, False)),
    (
        HEAD.replace(b"Etag: %d", b"Last-Modified: now") % b"Content-Length: 1\r\n" + b"x",
        ([b"x"], b"\nnow", None, False),
    ),
    (SIZED.replace(b": 7", b": " + b"7" * 300), ([b"hello"], b"", Cause.BAD_CURSOR, False)),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_answers_whole_byte_by_byte_and_cut_once_at_every_place(data: bytes, expected: Read) -> None:
    framing = Polled()
    assert read(framing, [data]) == expected
    assert read(framing, [data[at : at + 1] for at in range(len(data))]) == expected
    for place in range(1, len(data)):
        assert read(framing, cut(data, [place])) == expected


def test_a_head_that_differs_in_nothing_else_needs_no_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    framing = Polled()
    framing.decode(SIZED)
    monkeypatch.setattr("floodtest.wire.http.parse_response", None)
    other = SIZED.replace(b"51 GMT", b"52 GMT").replace(b"Etag: 7", b'Etag: "x y"').replace(b": 5", b": 6") + b"!"
    assert framing.decode(other).payloads == [b"hello!"]
    assert unpacked(framing.decode(other).reply) == (True, b'"x y"\n')


def test_no_more_answers_are_taken_of_a_read_than_anybody_can_have_asked_for() -> None:
    found, code = decode_all(Polled(), SIZED * (poll_answers.MOST_ANSWERS + 1))
    assert (len(found.payloads), code) == (poll_answers.MOST_ANSWERS, Cause.BAD_FRAMING)


def test_what_is_known_is_bounded() -> None:
    framing = Polled()
    for number in range(3 * poll_answers.MAX_FORMS):
        framing.decode(SIZED.replace(b"Server: s", b"Server: %d" % number))
    assert len(framing.known._known) <= poll_answers.MAX_FORMS
    long = b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 1\r\n\r\nx" % (b"x" * MAX_KNOWN)
    framing = Polled()
    assert framing.decode(long * 3).payloads == [b"x"] * 3
    assert not framing.known._known


@pytest.mark.parametrize("is_chunked", [False, True])
def test_of_a_large_message_as_much_is_kept_as_of_any(is_chunked: bool) -> None:
    body = bytes(2 * MAX_PAYLOAD)
    if is_chunked:
        (head,) = chunked.heads([len(body)])
        whole = HEAD % (b"Transfer-Encoding: chunked\r\n", 1) + head + body + b"\r\n0\r\n\r\n"
    else:
        whole = HEAD % (b"Content-Length: %d\r\n" % len(body), 1) + body
    for step in (70_000, len(whole)):
        pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
        payloads, cursor, code, inside = read(Polled(), [*pieces, SIZED])
        assert ([len(one) for one in payloads], cursor, code, inside) == ([MAX_PAYLOAD, 5], b"7\n", None, False)


@pytest.mark.parametrize(
    ("body", "cursor"),
    [
        (b'{"next": "s72_1", "events": []}', b"s72_1"),
        (b'[{"next": "a"}, {"next": "b"}]', b"b"),
        (b"{}", b""),
        (b'{"next": ""}', b""),
        ('{"next": "ü"}'.encode(), "ü".encode()),
        (b'{"next": "a\r\nX: y"}', None),
        (b'{"next": "%b"}' % (b"x" * 256), None),
    ],
)
def test_a_pattern_finds_the_cursor_where_it_stands_last_and_takes_no_line_ends(
    body: bytes, cursor: bytes | None
) -> None:
    found = decode_all(Polled('"next": "([^"]*)"'), HEAD % (b"Content-Length: %d\r\n" % len(body), 1) + body)
    assert found[0].payloads == [body]
    if cursor is None:
        assert (found[0].reply, found[1]) == (b"", Cause.BAD_CURSOR)
    else:
        assert (unpacked(found[0].reply), found[1]) == ((True, cursor), None)


def test_a_head_in_many_pieces_is_not_looked_at_for_each_of_them() -> None:
    framing = Polled()
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + b"a: b\n" * 2000 + b"Content-Length: 2\r\n\r\n"
    begun, looks = framing.beginning(head[:1]), 0
    for byte in range(1, len(head)):
        whole = begun.add(head[byte : byte + 1])
        if whole is not None:
            looks += 1
            decoded = framing.decode(whole)
            assert (decoded.payloads, decoded.rest) == ([], whole)
            begun = framing.beginning(whole)
    assert looks < 20
    whole = begun.add(b"hi")
    assert whole is not None
    assert framing.decode(whole).payloads == [b"hi"]


def test_what_is_no_head_behind_an_informational_one_is_wrong_at_once() -> None:
    framing = Polled()
    begun = framing.beginning(b"HTTP/1.1 100 Continue\r\n\r\n")
    whole = begun.add(b"X")
    assert whole is not None
    with pytest.raises(FramingError):
        framing.decode(whole)
