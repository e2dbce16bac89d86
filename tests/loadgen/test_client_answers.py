"""loadgen.client.streams, from the request to the welcome: what opens a connection, what does not, and how that is
named.
"""

import socket
from collections.abc import Callable

import pytest

from floodtest.flyweight.engine.intake import READ_SIZE
from floodtest.loadgen.client.accounts import State, Users
from floodtest.wire.answers import Answer, Answers
from tests.rigs.client import DEADLINE, ClientRig, message, welcome
from tests.rigs.listening import full_listener
from tests.rigs.support import HEAD, chunk

Rigs = Callable[[], ClientRig]


def bytewise(data: bytes) -> list[bytes]:
    """Return the bytes of what is short, and some 9,000 pieces of what is longer."""
    step = 1 + len(data) // 9000
    return [data[i : i + step] for i in range(0, len(data), step)]


def assert_open(rig: ClientRig, user: int) -> None:
    """Assert that a user is open by its welcome alone, and hears the next message."""
    assert rig.failed == rig.closed == {}
    assert rig.state(user) == State.OPEN
    assert rig.received == (1, len(welcome(user)))
    assert not rig.streams.in_flight
    rig.feed(user, message(1))
    assert rig.received == (2, len(welcome(user)) + len(message(1)))
    assert rig.state(user) == State.OPEN


# -- what opens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [1, 9, 10, 123, 2000])
def test_a_welcome_in_one_piece_opens(user: int, rig: ClientRig) -> None:
    rig.connect(user)
    rig.settle()
    assert rig.state(user) == State.IN_FLIGHT
    rig.feed(user, welcome(user))
    assert_open(rig, user)


@pytest.mark.parametrize("user", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 123, 2000])
def test_a_welcome_byte_by_byte_opens_with_its_last_byte(user: int, rig: ClientRig) -> None:
    rig.connect(user)
    rig.feed(user, *bytewise(welcome(user))[:-1])
    assert rig.state(user) == State.IN_FLIGHT
    rig.feed(user, welcome(user)[-1:])
    assert_open(rig, user)


@pytest.mark.parametrize("user", [1, 10, 200])
def test_a_welcome_split_anywhere_opens(user: int, rigs: Rigs) -> None:
    data = welcome(user)
    for position in range(1, len(data)):
        rig = rigs()
        rig.connect(user)
        rig.feed(user, data[:position], data[position:])
        assert_open(rig, user)


@pytest.mark.parametrize("user", [1, 7, 10, 200])
def test_the_id_in_a_piece_of_its_own_opens(user: int, rig: ClientRig) -> None:
    before, _, after = welcome(user).rpartition(b"%d" % user)
    rig.connect(user)
    rig.feed(user, before, b"%d" % user, after)
    assert_open(rig, user)


def test_an_answer_like_the_one_before_opens_by_comparison_alike(rigs: Rigs) -> None:
    outcomes = []
    for learn_from in ([5], [], [50, 5]):
        rig = rigs()
        rig.open(*learn_from)
        rig.connect(6)
        rig.feed(6, welcome(6))
        rig.feed(6, message(1))
        outcomes.append((rig.state(6), rig.received, rig.failed, rig.closed))
    assert outcomes == [(State.OPEN, (2, len(welcome(6) + message(1))), {}, {})] * 3


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Users whose answers were parsed, in order."""
    users: list[int] = []
    begin = Answers.begin

    def counted(answers: Answers, user: int) -> Answer:
        users.append(user)
        return begin(answers, user)

    monkeypatch.setattr(Answers, "begin", counted)
    return users


def test_an_answer_is_parsed_once_for_each_length_of_id(rig: ClientRig, parsed: list[int]) -> None:
    rig.open(1, 2, 10, 3, 11, 200, 20, 201)
    assert parsed == [1, 10, 200]


@pytest.mark.parametrize("earlier", [0, 1, 31, 32, 63, 64])
def test_one_answer_of_a_batch_is_parsed_when_the_second_changes_within_it(
    earlier: int, rig: ClientRig, parsed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.open(100)
    users = range(101, 165)
    later = [welcome(user).replace(b"\r\n", b"\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT\r\n", 1) for user in users]
    answers = [welcome(user) for user in users[:earlier]] + later[earlier:]
    parsed.clear()
    batches: list[int] = []
    opened = rig.accounts.opened

    def counted(users: Users, protocol: str) -> None:
        batches.append(len(users))
        opened(users, protocol)

    monkeypatch.setattr(rig.accounts, "opened", counted)
    for user, answer in zip(users, answers, strict=True):
        rig.connect(user).sendall(answer)
    rig.settle()
    assert [rig.state(user) for user in users] == [State.OPEN] * 64
    assert parsed == [user for user in users if user == 101 + earlier]
    assert rig.received == (64, sum(map(len, answers)))
    assert (sum(batches), len(batches) <= 13) == (64, True)  # twice the halvings of 64, and the one


def test_answers_that_are_all_unlike_open_as_well(rig: ClientRig, parsed: list[int]) -> None:
    users = range(1, 51)
    answers = [welcome(user).replace(b"\r\n", b"\r\nAge: %d\r\n" % user, 1) for user in users]
    for user, answer in zip(users, answers, strict=True):
        rig.connect(user).sendall(answer)
    rig.settle()
    assert [rig.state(user) for user in users] == [State.OPEN] * 50
    assert parsed == [*users]
    assert rig.received == (50, sum(map(len, answers)))


def test_many_welcomes_of_all_lengths_in_one_batch(rig: ClientRig) -> None:
    users = [*range(1, 20), *range(95, 105), *range(995, 1005)]
    rig.open(*users)
    assert not rig.streams.in_flight
    assert rig.settled == len(users)


@pytest.mark.parametrize("early", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
def test_an_informational_answer_before_the_welcome(early: bytes, rigs: Rigs) -> None:
    data = early + welcome(12)
    for pieces in ([data], [early, welcome(12)], bytewise(data)):
        rig = rigs()
        rig.connect(12)
        rig.feed(12, *pieces)
        assert (rig.state(12), rig.received) == (State.OPEN, (1, len(data)))


def test_a_head_of_bare_line_feeds_opens(rig: ClientRig) -> None:
    rig.connect(12)
    rig.feed(12, *bytewise(HEAD.replace(b"\r\n", b"\n")), chunk(b"Welcome, user 12\n"), message(1))
    assert (rig.state(12), rig.received[0], rig.failed, rig.closed) == (State.OPEN, 2, {}, {})


@pytest.mark.parametrize("text", [b"%d of 512: hello %d", b"user %d, not 1%d", b"%d, this is %d in 2025"])
def test_a_welcome_that_names_more_numbers_opens_for_all(text: bytes, rig: ClientRig) -> None:
    for user in (12, 13, 34, 56):
        rig.connect(user)
        rig.feed(user, HEAD + chunk(text % (user, user)), message(1))
        assert rig.state(user) == State.OPEN
    assert (rig.failed, rig.received[0], rig.out_of_sequence) == ({}, 8, (0, 0))


def test_messages_in_the_same_read_as_the_welcome_count(rig: ClientRig) -> None:
    data = welcome(12) + message(1) + message(2) + message(3)[:9]
    rig.connect(12)
    rig.feed(12, data)
    assert rig.received == (3, len(data))
    rig.feed(12, message(3)[9:])
    assert (rig.received[0], rig.out_of_sequence) == (4, (0, 0))


@pytest.mark.parametrize("size", [READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 5000])
def test_an_answer_of_any_size_opens(size: int, rig: ClientRig) -> None:
    answer = HEAD[:-2] + b"X: " + b"x" * (size - len(welcome(12)) - 5) + b"\r\n\r\n" + chunk(b"Welcome, user 12\n")
    assert len(answer) == size
    for user in (12, 13):
        rig.connect(user)
        rig.feed(user, answer.replace(b"user 12", b"user %d" % user), message(1))
        assert rig.state(user) == State.OPEN
    assert rig.received == (4, 2 * size + 2 * len(message(1)))


# -- what does not ---------------------------------------------------------------------------------------------------


def status(line: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % line


NOT_OPENED: list[tuple[bytes, str]] = [
    (status(b"404 Not Found"), "HTTP_404"),
    (status(b"503 We ran out of numbers"), "HTTP_503"),
    (status(b"301 Moved"), "HTTP_301"),
    (status(b"204 No Content"), "HTTP_204"),
    (status(b"599 Timeout"), "HTTP_599"),
    (status(b"999 Request denied"), "HTTP_999"),
    (status(b"200 OK"), "not_a_stream"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "not_http"),
    (welcome(12).replace(b"HTTP/1.1", b"HTTP/9.9"), "not_http"),
    (status(b"404 Not Found").replace(b"HTTP/1.1", b"HTTP/2.0"), "not_http"),
    (status(b"101 Switching Protocols"), "bad_head"),
    (status(b"099 Low"), "bad_head"),
    (b"\x15\x03\x01\x00\x02\x02\x16", "tls_port"),
    (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", "http2_port"),
    (b"\x00\x00\x12\x05\x00\x00\x00\x00\x00", "not_http"),
    (b"12", "not_http"),
    (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "bad_head"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "head_too_large"),
    (HEAD + b"Welcome, user 12\n", "bad_framing"),
    (HEAD + b"200000000\r\n", "bad_framing"),
    (HEAD + chunk(b"Welcome, user 13\n" * 4000), "open_when_unmet"),
    (HEAD + b"0\r\n\r\n", "finished"),
]


@pytest.mark.parametrize(("answer", "name"), NOT_OPENED)
@pytest.mark.parametrize("learnt", [False, True])
def test_an_answer_that_does_not_open(answer: bytes, name: str, learnt: bool, rig: ClientRig) -> None:
    if learnt:
        rig.open(34)
    server = rig.connect(12)
    rig.feed(12, answer)
    assert (rig.state(12), rig.failed) == (State.FAILED, {f"{name}@response": 1})
    assert not rig.streams.in_flight
    assert rig.closed == {}
    server.settimeout(0)
    assert server.recv(1) == b""


@pytest.mark.parametrize(("answer", "name"), [pair for pair in NOT_OPENED if pair[0] != b"12"])
def test_an_answer_that_does_not_open_byte_by_byte(answer: bytes, name: str, rig: ClientRig) -> None:
    server = rig.connect(12)
    for piece in bytewise(answer):
        if rig.state(12) == State.IN_FLIGHT:
            rig.feed(12, piece)
    server.close()
    rig.settle()
    assert (rig.state(12), rig.failed) == (State.FAILED, {f"{name}@response": 1})


def test_a_refusal_that_says_that_tls_is_spoken(rig: ClientRig) -> None:
    """Of a text that comes behind its head nothing is known when the connection ends."""
    head, text = b"HTTP/1.0 400 Bad Request\r\n\r\n", b"Client sent an HTTP request to an HTTPS server.\n"
    for user, pieces in ((12, [head + text]), (13, [head[:9], head[9:] + text]), (14, [head])):
        rig.connect(user)
        rig.feed(user, *pieces)
    assert rig.failed == {"tls_port@response": 2, "HTTP_400@response": 1}


@pytest.mark.parametrize("said", [b"Welcome, user 13\n", b"Welcome, user 123\n", b"Welcome, user 212\n", b"1.12\n"])
def test_messages_that_do_not_name_the_user_fail_when_the_time_is_over(said: bytes, rig: ClientRig) -> None:
    rig.open(34)
    rig.connect(12)
    rig.feed(12, HEAD + chunk(said), chunk(b"more\n"))
    assert rig.state(12) == State.IN_FLIGHT
    rig.streams.expire(DEADLINE + 1)
    assert (rig.state(12), rig.failed) == (State.FAILED, {"open_when_unmet@response": 1})


@pytest.mark.parametrize("before", [chunk(b"hello\n"), chunk(b"user 1"), message(1), message(1) + message(3)])
def test_messages_before_the_id_are_counted_as_others_are(before: bytes, rigs: Rigs) -> None:
    answer = HEAD + before + chunk(b" Welcome, user 12\n")
    outcomes = []
    for pieces in ([answer], [HEAD, before, answer.removeprefix(HEAD + before)], bytewise(answer)):
        rig = rigs()
        rig.connect(12)
        rig.feed(12, *pieces)
        outcomes.append(rig.everything())
    assert outcomes[0]["received"] == (2 + (b"#3" in before), len(answer))
    assert outcomes[0]["out_of_sequence"] == (int(b"#3" in before), 0)
    assert outcomes == [outcomes[0]] * 3


def test_what_is_learnt_opens_nothing_that_parsing_would_not(rig: ClientRig) -> None:
    rig.connect(12)
    rig.feed(12, HEAD + chunk(b"Welcome, user 12 of 512\n"))
    rig.connect(34)
    rig.feed(34, HEAD + chunk(b"Welcome, user 12 of 534\n"))
    assert (rig.state(12), rig.state(34)) == (State.OPEN, State.IN_FLIGHT)


def test_a_learnt_answer_behind_other_bytes_opens_nothing(rig: ClientRig) -> None:
    rig.open(34)
    rig.connect(12)
    rig.feed(12, b"HT", welcome(12))
    assert rig.failed == {"not_http@response": 1}


def test_endless_informational_answers_are_given_up_within_a_bound(rig: ClientRig) -> None:
    rig.connect(12)
    piece = b"HTTP/1.1 100 Continue\r\n\r\n" * 400
    for _ in range(10):
        if rig.state(12) == State.IN_FLIGHT:
            rig.feed(12, piece)
    assert rig.failed == {"bad_head@response": 1}


@pytest.mark.parametrize("before", [b"", b"HTTP", HEAD, HEAD + b"1", welcome(12)[:-1]])
def test_a_close_before_the_welcome(before: bytes, rig: ClientRig) -> None:
    rig.connect(12).sendall(before)
    rig.settle()
    rig.servers[12].close()
    rig.settle()
    name = "cut" if before else "no_answer"
    assert (rig.state(12), rig.failed) == (State.FAILED, {f"{name}@response": 1})


@pytest.mark.parametrize("before", [b"", b"HTTP", welcome(12)[:-1]])
def test_data_and_end_behind_one_edge_before_the_welcome(before: bytes, rig: ClientRig) -> None:
    server = rig.connect(12)
    server.sendall(before)
    server.close()
    rig.settle()
    name = "cut" if before else "no_answer"
    assert (rig.state(12), rig.failed) == (State.FAILED, {f"{name}@response": 1})


def test_a_reset_before_the_welcome(rig: ClientRig) -> None:
    server = rig.connect(12)
    with socket.socket(fileno=rig.descriptors[12]) as ours:
        ours.sendall(b"a request that is never read")
        ours.detach()
    server.close()
    rig.settle()
    assert (rig.state(12), rig.failed) == (State.FAILED, {"ECONNRESET@response": 1})


# -- time ------------------------------------------------------------------------------------------------------------


def test_what_is_overdue_is_given_up_and_nothing_else(rig: ClientRig) -> None:
    for user, deadline in ((1, 10.0), (2, 11.0), (3, 12.0), (4, 13.0)):
        rig.connect(user, deadline)
    rig.feed(2, welcome(2))
    rig.streams.expire(9.9)
    assert rig.failed == {}
    rig.streams.expire(12.0)
    assert [rig.state(user) for user in (1, 2, 3, 4)] == [State.FAILED, State.OPEN, State.FAILED, State.IN_FLIGHT]
    assert rig.failed == {"ETIMEDOUT@response": 2}
    rig.streams.expire(1e9)
    assert rig.failed == {"ETIMEDOUT@response": 3}
    assert rig.state(2) == State.OPEN


def test_half_a_welcome_is_overdue_as_well(rig: ClientRig) -> None:
    rig.connect(12)
    rig.feed(12, welcome(12)[:-1])
    rig.streams.expire(DEADLINE)
    assert rig.failed == {"ETIMEDOUT@response": 1}
    with pytest.raises(BrokenPipeError):
        rig.servers[12].sendall(b"\n")


def test_a_request_that_is_not_read_timed_out_at_request(rig: ClientRig) -> None:
    server = rig.connect(12, request=b"x" * 5_000_000, is_connecting=True)
    server.recv(1 << 20)
    rig.turn()  # which finds that it can be written, and so is connected
    rig.streams.expire(DEADLINE)
    assert rig.failed == {"ETIMEDOUT@request": 1}


@pytest.mark.parametrize("pieces", [1, 40], ids=["one read", "many"])
def test_an_answer_to_a_request_that_is_not_read_is_the_cause_and_not_the_reset(pieces: int, rig: ClientRig) -> None:
    answer = b"HTTP/1.1 413 Content Too Large\r\nX: %b\r\nContent-Length: 4\r\n\r\nmuch" % (b"x" * 60_000)
    server = rig.connect(12, request=b"x" * 5_000_000)
    size = -(-len(answer) // pieces)
    for at in range(0, len(answer), size):
        server.send(answer[at : at + size])
    server.close()  # with what it has not read
    rig.settle()
    assert rig.failed == {"HTTP_413@response": 1}
    assert not rig.streams.outbox


def test_an_answer_that_says_too_little_is_ended_by_the_reset(rig: ClientRig) -> None:
    server = rig.connect(12, request=b"x" * 5_000_000)
    server.send(b"HTTP/1.1 413 Con")
    server.close()
    rig.settle()
    assert set(rig.failed) <= {"EPIPE@response", "ECONNRESET@response"}
    assert sum(rig.failed.values()) == 1


def test_a_connection_that_never_came_about_timed_out_at_connect(rig: ClientRig) -> None:
    with full_listener() as address:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        rig.begin(12, sock, is_connecting=True)
        rig.streams.expire(DEADLINE)
    assert rig.failed == {"ETIMEDOUT@connect": 1}
    assert not rig.streams.outbox
