"""The streams of both models of a front: every client gets its own messages in order, and none holds up another."""

import os

import numpy as np
import pytest

from floodtest.flyweight.engine.intake import READ_SIZE
from floodtest.flyweight.engine.sweep import drain
from floodtest.wire.messages import MESSAGE
from floodtest.wire.protocols import CHUNKED, UNTIL_CLOSE
from tests.rigs.server import EXCESS, PENDING, SMALL, ServerRig
from tests.rigs.tasks import TaskRig

Holder = ServerRig | TaskRig


def sent(*numbers: int, text: bytes = b"hello") -> bytes:
    """Messages of these numbers, as they travel."""
    return b"".join(CHUNKED.frame(number, text) for number in numbers)


# -- messages --------------------------------------------------------------------------------------------------------


def test_a_login_writes_the_first_bytes_and_is_counted(front: ServerRig) -> None:
    front.login(7)
    (first,) = CHUNKED.welcomes([7])
    assert front.welcomed == first
    front.login_unchunked(8)
    (second,) = UNTIL_CLOSE["test"].welcomes([8])
    assert front.welcomed == second
    assert [front.figure(name) for name in ("open", "logins", "bytes")] == [2, 2, len(first + second)]
    assert front.streams.descriptors().tolist() == sorted(front.descriptors.values())


def test_each_connection_counts_its_own_messages(holder: Holder) -> None:
    holder.login(1)
    assert holder.send(b"hello") == 1
    holder.login(2)
    assert holder.send(b"hello") == 2
    holder.login(3)
    assert holder.send(b"hello") == 3
    assert [holder.read(user) for user in (1, 2, 3)] == [sent(1, 2, 3), sent(1, 2), sent(1)]


def test_a_message_goes_to_those_it_is_for(front: ServerRig) -> None:
    for user in (1, 2, 3):
        front.login(user)
    assert front.streams.send(np.array([front.descriptors[1], front.descriptors[3]]), b"hello") == 2
    assert [front.read(user) for user in (1, 2, 3)] == [sent(1), b"", sent(1)]


def test_nobody_is_nobody(front: ServerRig) -> None:
    assert front.send(b"hello") == 0
    front.login(1)
    gone = front.descriptors[1]
    front.streams.close(10)
    assert front.streams.send(np.array([gone]), b"hello") == 0


def test_http_1_0_gets_messages_without_framing_next_to_others(holder: Holder) -> None:
    holder.login(1)
    holder.login_unchunked(2)
    holder.login(3)
    assert holder.send(b"hello") == 3
    assert [holder.read(user) for user in (1, 2, 3)] == [sent(1), MESSAGE % (1, b"hello"), sent(1)]


def test_a_reused_descriptor_is_a_connection_of_its_own(front: ServerRig) -> None:
    front.login_unchunked(1)
    front.send(b"hello")
    front.send(b"hello")
    front.clients[1].sendall(b"x" * EXCESS)
    front.turn()
    front.clients[1].close()
    front.turn()
    front.login(2)
    assert front.descriptors[2] == front.descriptors[1]
    front.clients[2].sendall(b"x" * EXCESS)
    front.turn()
    front.send(b"hello")
    assert front.read(2) == sent(1)
    assert front.figure("excess") == 0


def test_a_reused_descriptor_gets_nothing_that_was_kept_for_another(front: ServerRig) -> None:
    front.login(1, SMALL)
    front.fall_behind(1)
    front.clients[1].close()
    front.turn()
    front.login(2)
    assert front.descriptors[2] == front.descriptors[1]
    front.send(b"hello")
    front.turn()
    assert front.read(2) == sent(1)


# -- clients that do not read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed", [False, True], ids=["same numbers", "other numbers"])
def test_who_does_not_read_is_cut_off_at_the_bound_and_the_others_get_everything(mixed: bool, holder: Holder) -> None:
    holder.login(1, SMALL)
    if mixed:
        holder.send(b"first")
    holder.login(2)
    got, sizes = b"", []
    while holder.figure("open") == 2:
        before = holder.figure("bytes")
        holder.send(b"x" * 1000)
        got += holder.read(2) or b""
        sizes.append(holder.figure("bytes") - before)
        holder.turn()
        assert len(sizes) < 100
    assert got == sent(*range(1, len(sizes) + 1), text=b"x" * 1000)
    assert [holder.figure(name) for name in ("slow", "open", "logins")] == [1, 1, 2]
    first = sent(1, text=b"first") if mixed else b""
    whole = first + sent(*range(1 + mixed, len(sizes) + 1 + mixed), text=b"x" * 1000)
    taken = holder.read_to_the_end(1)
    assert whole.startswith(taken)
    last = len(sent(len(sizes) + mixed, text=b"x" * 1000))
    assert PENDING - last < len(whole) - len(taken) - last <= PENDING + holder.in_hand
    assert holder.read(1) is None


def test_who_reads_late_gets_everything_in_order(holder: Holder) -> None:
    holder.login(1, SMALL)
    before = holder.figure("bytes")
    count = holder.fall_behind(1)
    holder.send(b"y" * 1000)
    holder.turn()
    expected = sent(*range(1, count + 1), text=b"x" * 1000) + sent(count + 1, text=b"y" * 1000)
    assert holder.read_to_the_end(1) == expected
    assert [holder.figure(name) for name in ("slow", "open")] == [0, 1]
    assert holder.figure("bytes") - before == len(expected)
    holder.send(b"hello")
    assert holder.read(1) == sent(count + 2)


def test_once_a_client_has_read_nothing_is_kept_for_it(front: ServerRig) -> None:
    front.login(1, SMALL)
    front.fall_behind(1)
    front.read_to_the_end(1)
    front.send(b"hello")
    assert front.readiness.poll() == []


def test_first_bytes_are_bounded_as_well(front: ServerRig) -> None:
    fd = front.accept(1, SMALL)
    drain(lambda data: os.write(fd, data), b"x" * 100, 10_000)
    assert front.outbox.write([fd], [b"x" * PENDING]) == {}
    front.streams.login([fd], [1], CHUNKED)
    assert [front.figure(name) for name in ("slow", "open", "logins")] == [1, 0, 1]


# -- clients that send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[EXCESS], [1] * 20, [READ_SIZE, READ_SIZE], [READ_SIZE + 1]])
def test_what_a_client_sends_is_dropped_and_counted(pieces: list[int], holder: Holder) -> None:
    holder.login(1)
    for piece in pieces:
        holder.clients[1].sendall(b"x" * piece)
        holder.turn()
    assert [holder.figure(name) for name in ("dropped", "excess", "open")] == [sum(pieces), 0, 1]
    holder.send(b"hello")
    assert holder.read(1) == sent(1)


@pytest.mark.parametrize("pieces", [[EXCESS + 1], [EXCESS, 1], [READ_SIZE, READ_SIZE, READ_SIZE], [100_000]])
def test_a_client_that_keeps_sending_is_cut_off_and_counted_once(pieces: list[int], holder: Holder) -> None:
    holder.login(1)
    holder.login(2)
    for piece in pieces:
        holder.clients[1].sendall(b"x" * piece)
        holder.turn()
    assert [holder.figure(name) for name in ("excess", "open", "slow")] == [1, 1, 0]
    assert EXCESS < holder.figure("dropped") <= sum(pieces)
    assert holder.read(1) is None
    assert holder.send(b"hello") == 1
    assert holder.read(2) == sent(1)


@pytest.mark.parametrize(("extra", "unread"), [(0, 0), (EXCESS, 0), (1, EXCESS - 1), (0, EXCESS)])
def test_what_came_behind_the_request_is_dropped_and_counted(extra: int, unread: int, front: ServerRig) -> None:
    client = front.login(1)
    client.sendall(b"x" * unread)
    front.streams.take([front.descriptors[1]], [b"x" * extra])
    front.turn()
    assert [front.figure(name) for name in ("dropped", "excess", "open")] == [EXCESS if extra or unread else 0, 0, 1]
    front.send(b"hello")
    assert front.read(1) == sent(1)


@pytest.mark.parametrize(("extra", "unread"), [(EXCESS + 1, 0), (EXCESS + 1, 1), (1, EXCESS), (0, EXCESS + 1)])
def test_too_much_behind_the_request_is_cut_off_and_counted_once(extra: int, unread: int, front: ServerRig) -> None:
    client = front.login(1)
    client.sendall(b"x" * unread)
    front.streams.take([front.descriptors[1]], [b"x" * extra])
    front.turn()
    assert [front.figure(name) for name in ("excess", "open")] == [1, 0]
    assert front.read(1) is None


def test_who_went_before_the_answer_is_not_taken_up(front: ServerRig) -> None:
    fd = front.accept(1)
    front.clients[1].close()
    front.streams.login([fd], [1], CHUNKED)
    front.streams.take([fd], [b"x" * (EXCESS + 1)])
    assert [front.figure(name) for name in ("excess", "dropped", "open")] == [0, 0, 0]


# -- clients that go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last_words", [b"", b"x", b"x" * READ_SIZE, b"x" * 900])
def test_a_client_that_goes_is_logged_out(last_words: bytes, front: ServerRig) -> None:
    front.login(1)
    front.login(2)
    front.clients[1].sendall(last_words)
    front.clients[1].close()
    front.turn()
    assert [front.figure(name) for name in ("open", "dropped", "excess")] == [1, len(last_words), 0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(front.descriptors[1])


def test_a_client_that_resets_is_logged_out(holder: Holder) -> None:
    holder.login(1)
    holder.send(b"never read")
    holder.clients[1].close()
    holder.turn()
    assert holder.figure("open") == 0


def test_a_client_that_has_gone_is_noticed_by_writing_to_it(holder: Holder) -> None:
    holder.login(1)
    holder.login(2)
    holder.clients[1].close()
    holder.send(b"hello")
    assert holder.figure("open") == 1
    assert holder.read(2) == sent(1)


def test_a_client_that_goes_before_its_login(front: ServerRig) -> None:
    fd = front.accept(1)
    front.clients[1].close()
    front.streams.login([fd], [1], CHUNKED)
    assert [front.figure(name) for name in ("logins", "open", "bytes")] == [1, 0, 0]


def test_a_client_that_goes_with_messages_pending(front: ServerRig) -> None:
    front.login(1, SMALL)
    front.fall_behind(1)
    front.clients[1].close()
    front.turn()
    assert [front.figure(name) for name in ("open", "slow")] == [0, 0]


def test_a_descriptor_that_is_named_twice_is_closed_once(front: ServerRig) -> None:
    front.login(1)
    front.login(2)
    front.clients[1].close()
    ((fd, event),) = front.readiness.poll()
    front.handle([(fd, event), (fd, event)])
    assert front.figure("open") == 1


def test_a_descriptor_without_a_stream_is_left_alone(front: ServerRig) -> None:
    fd = front.accept(1)
    front.clients[1].sendall(b"a request")
    front.clients[1].close()
    front.turn()
    assert [front.figure(name) for name in ("open", "dropped")] == [0, 0]
    os.close(fd)


def test_closing_takes_so_many_at_a_time(front: ServerRig) -> None:
    for user in range(1, 8):
        front.login(user)
    assert [front.streams.close(5) for _ in range(3)] == [5, 2, 0]
    assert front.figure("open") == 0
    assert [front.read(user) for user in range(1, 8)] == [None] * 7


# -- ticks -----------------------------------------------------------------------------------------------------------


def test_a_tick_goes_to_all_in_slices(front: ServerRig) -> None:
    for user in range(1, 8):
        front.login(user)
    front.ticks.begin(3)
    assert [front.ticks.send_some(3) for _ in range(3)] == [True, True, False]
    assert [front.read(user) for user in range(1, 8)] == [sent(1, text=b"tick 3")] * 7
    assert front.ledger.ticks()[3][0] == 7
    assert not front.ticks.under_way


def test_who_goes_during_a_tick_is_not_counted(front: ServerRig) -> None:
    for user in range(1, 5):
        front.login(user)
    front.ticks.begin(1)
    front.ticks.send_some(2)
    front.clients[4].close()
    front.turn()
    assert not front.ticks.send_some(2)
    assert front.ledger.ticks()[1][0] == 3


def test_a_tick_for_nobody_is_over_at_once(front: ServerRig) -> None:
    front.ticks.begin(1)
    assert front.ticks.under_way
    assert not front.ticks.send_some(10)
    assert front.ledger.ticks()[1][0] == 0


# -- the router's messages, by tasks ---------------------------------------------------------------------------------


def test_tasks_send_each_message_to_the_connection_it_is_for(tasks: TaskRig) -> None:
    tasks.login(1)
    tasks.login_unchunked(2)
    tasks.send(b"tick 1")
    tasks.deliver(
        (1, 1, b"a"), (1, 1, b"b"), (2, 2, b"in two\r\nlines"), (2, 9, b"for who had its descriptor"), (7, 7, b"-")
    )
    assert tasks.read(1) == sent(1, text=b"tick 1") + sent(2, text=b"a") + sent(3, text=b"b")
    assert tasks.read(2) == MESSAGE % (1, b"tick 1") + MESSAGE % (2, b"in two lines")
    assert [tasks.figure(name) for name in ("deliveries", "undeliverable", "turn")] == [3, 2, 1]


def test_what_a_connection_of_tasks_is_cut_off_over_is_undeliverable(tasks: TaskRig) -> None:
    tasks.login(1, SMALL)
    tasks.login(2)
    tasks.fall_behind(1)
    tasks.deliver(*((1, 1, b"x" * 1000) for _ in range(20)), (2, 2, b"hello"))
    assert (tasks.read(2) or b"").endswith(b"hello\n\r\n")
    assert (tasks.figure("slow"), tasks.figure("open")) == (1, 1)
    assert tasks.figure("deliveries") + tasks.figure("undeliverable") == 21
    assert tasks.figure("undeliverable") > 0


def test_tasks_keep_up_with_one_who_reads_whatever_a_turn_brings(tasks: TaskRig) -> None:
    tasks.login(1, 1 << 20)
    texts = [b"%03d" % number + b"x" * 997 for number in range(80)]
    tasks.deliver(*((1, 1, text) for text in texts))
    got = tasks.read_to_the_end(1)
    assert got == b"".join(sent(number, text=text) for number, text in enumerate(texts, 1))
    assert tasks.figure("slow") == 0
