"""What a peer sends ends no worker, and adds up alike in both clients, by the batch and one by one."""

from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.flyweight.engine.ledger import TICKS
from floodtest.loadgen.client.accounts import State, code_name
from floodtest.wire import stamp
from floodtest.wire.answers import NotOpened
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked
from floodtest.wire.incoming import Parsed, parse
from floodtest.wire.protocols import CHUNKED
from floodtest.wire.sequence import MAX_STEP, OutOfSequence
from tests.rigs import peer_input
from tests.rigs.client import ID, AccountsReader, ClientRig, message, welcome
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.peer_input import Pieces
from tests.rigs.support import chunk

SOON = stamp.FORMAT % (10**15, 0)
"""A stamp that breaks no rule."""

FORGED = [b"@9223372036854775808+00000000 ", b"@9999999999999999999+99999999 ", b"@9000000000000000000+00000000 "]
"""Stamps whose planned time is above the bound, those included that no int64 can hold."""


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("others", [0, 1, 200], ids=["alone", "beside ticks", "beside stamped messages"])
def test_a_forged_stamp_costs_no_more_than_itself(forged: bytes, others: int, rig: ClientRig) -> None:
    users = range(1, 2 + others)
    rig.open(*users)
    rig.servers[1].sendall(message(1, forged))
    for user in users[1:]:
        rig.servers[user].sendall(message(1, SOON + b"for user %d" % user if others > 1 else b"tick 1"))
    rig.settle()
    assert (rig.received[0], rig.out_of_sequence) == (1 + others, (0, 0))
    assert rig.stamped == (others if others > 1 else 0)
    assert [rig.state(user) for user in users] == [State.OPEN] * len(users)


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_stamp_costs_the_httpx_client_no_more_than_itself(forged: bytes, tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, 3)
    texts = {1: forged, 2: SOON, 3: SOON}
    rig.feed({user: [welcome(user), message(1, text), message(2, SOON)] for user, text in texts.items()})
    assert (rig.received[0], rig.out_of_sequence, rig.stamped) == (9, (0, 0), 5)
    assert rig.closed == {"cut": 3}
    rig.end()


# -- numbers of messages ---------------------------------------------------------------------------------------------


JUMPS: list[tuple[list[int], int, int, int]] = [
    ([MAX_STEP + 1], 0, 0, 1),
    ([999_999_999], 0, 0, 1),
    ([1, 999_999_999, 2, 3], 0, 0, 1),
    ([1, 2, 999_999_999, 999_999_999, 4], 1, 0, 2),
    ([1, 900_000_000, 900_000_001, 900_000_002], 0, 0, 3),
    ([1, 999_999_999, 1, 2], 0, 1, 1),
]
"""Numbers that a connection gets, and how many are missing, repeated and jump."""


@pytest.mark.parametrize(("numbers", "missing", "repeated", "jumps"), JUMPS)
def test_a_number_beyond_what_can_have_been_sent_is_counted_apart(
    numbers: list[int], missing: int, repeated: int, jumps: int
) -> None:
    found, last = OutOfSequence(), 0
    for number in numbers:
        last = found.follow(last, number)
    assert found == OutOfSequence(missing, repeated, jumps)


@pytest.mark.parametrize(("numbers", "missing", "repeated", "jumps"), JUMPS)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("others", [0, 100])
def test_jumps_in_the_columns_client(
    numbers: list[int], missing: int, repeated: int, jumps: int, together: bool, others: int, rig: ClientRig
) -> None:
    rig.open(*range(1, 2 + others))
    for place, number in enumerate(numbers, 1):
        rig.servers[1].sendall(message(number, SOON))
        for user in range(2, 2 + others):
            rig.servers[user].sendall(message(place, SOON + b"for user %d" % user))
        rig.turn() if together else rig.settle()
    rig.settle()
    assert (rig.out_of_sequence, rig.jumps) == ((missing, repeated), jumps)
    assert rig.received[0] == rig.stamped == len(numbers) * (1 + others)


def test_jumps_in_the_httpx_client(tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, len(JUMPS))
    rig.feed({user: [welcome(user), *map(message, numbers)] for user, (numbers, *_) in enumerate(JUMPS, 1)})
    _, missing, repeated, jumps = zip(*JUMPS, strict=True)
    assert (rig.out_of_sequence, rig.jumps) == ((sum(missing), sum(repeated)), sum(jumps))
    rig.end()


def test_a_tick_that_has_no_number_is_a_message(rig: ClientRig) -> None:
    rig.open(1)
    rig.feed(1, message(1, b"tick 0"), message(2, b"tick 1"), message(3, b"tick 9999999999999999999"))
    assert (rig.ticks, rig.everything()["messages"]) == ({1: 1}, 2)


# -- any bytes -------------------------------------------------------------------------------------------------------


USERS = 20
LEARNT = {1, 11}
"""Whose answers come before those of the others: an id of one digit, and one of two."""


def in_full(pieces: dict[int, list[bytes]]) -> dict[str, Any]:
    """What is to be on the accounts, without bytes, by parsing what each user got as a whole."""
    found = {"received": 0, "messages": 0, "stamped": 0, "settled": len(pieces)}
    sequence, ticks, failed, closed = OutOfSequence(), Counter[int](), Counter[str](), Counter[str]()
    for user, some in pieces.items():
        try:
            opened = CHUNKED.answers(ID, 0).begin(user).add(b"".join(some))
        except NotOpened as error:
            failed[f"{code_name(error.code)}@response"] += 1
            continue
        if opened is None:
            failed["cut@response" if any(some) else "no_answer@response"] += 1
            continue
        parsed, last = parse(chunked, b"".join(opened.bodies)), 0
        said = parsed.said
        for number in said.numbers:
            last = sequence.follow(last, number)
        found["received"] += said.count
        found["messages"] += len(said.numbers) - len(said.ticks)
        found["stamped"] += len(said.stamps)
        ticks.update(said.ticks)
        closed[code_name(end_of(parsed))] += 1
    return {**found, "sequence": sequence, "ticks": remembered(ticks), "failed": failed, "closed": closed}


def end_of(parsed: Parsed) -> int:
    """What it is when the connection ends behind all of a stream."""
    if parsed.broken is not None:
        return parsed.broken
    return Cause.FINISHED if parsed.ended else Cause.CUT_INSIDE if parsed.rest else Cause.CUT


def remembered(ticks: Counter[int]) -> dict[int, int]:
    """Return those of the ticks that a ledger has rows for: of those that share a row the last one."""
    row_of = {number % TICKS: number for number in sorted(ticks)}
    return {number: ticks[number] for number in row_of.values()}


def on_the_accounts(rig: AccountsReader) -> dict[str, Any]:
    """What of that is on the accounts of a rig."""
    total = rig.ledger.total
    return {
        "received": rig.received[0],
        "messages": int(total("messages")),
        "stamped": rig.stamped,
        "settled": rig.settled,
        "sequence": OutOfSequence(*rig.out_of_sequence, rig.jumps),
        "ticks": rig.ticks,
        "failed": rig.failed,
        "closed": rig.closed,
    }


def in_columns(folder: Path, pieces: dict[int, list[bytes]], together: bool) -> dict[str, Any]:
    """Feed the columns client, a piece of each user in turn: all of them are read and looked at together, or by itself.

    Users of `LEARNT` have ended before the others begin, whose answers may be compared with theirs.
    """
    folder.mkdir(exist_ok=True)
    rig = ClientRig(folder, max(pieces))
    for users in (sorted(pieces.keys() & LEARNT), sorted(pieces.keys() - LEARNT)):
        for user in users:
            rig.connect(user)
        for row in zip_longest(*(pieces[user] for user in users)):
            for user, data in zip(users, row, strict=True):
                if data and rig.state(user) in (State.IN_FLIGHT, State.OPEN):
                    rig.servers[user].sendall(data)
                if not together:
                    rig.settle()
            rig.turn()
        for user in users:
            rig.servers[user].close()
        rig.settle()
    found = on_the_accounts(rig)
    rig.end()
    return found


def assert_adds_up(pieces: dict[int, list[bytes]], folders: pytest.TempPathFactory) -> None:
    """Assert that the columns client counts what parsing finds, whether it reads by the batch or one by one."""
    expected = in_full(pieces)
    for together in (True, False):
        assert in_columns(folders.mktemp("rig"), pieces, together) == expected


def for_all(some: list[Pieces], users: int = 12) -> dict[int, list[bytes]]:
    """Let each of these be what every so many-th user gets."""
    return {user: some[user % len(some)](user) for user in range(1, 1 + users)}


def for_each(some: list[Pieces]) -> dict[int, list[bytes]]:
    """Let each of these be what one user gets: the httpx client reads nothing by the batch."""
    return for_all(some, len(some))


@given(pieces=st.lists(peer_input.ANSWERS, min_size=1, max_size=4).map(for_all))
def test_any_bytes_add_up(pieces: dict[int, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert_adds_up(pieces, tmp_path_factory)


@given(pieces=st.lists(peer_input.STREAMS, min_size=1, max_size=4).map(for_all))
def test_streams_add_up_by_the_batch_as_one_by_one(
    pieces: dict[int, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert_adds_up(pieces, tmp_path_factory)


EXTREME = b"".join(
    [
        message(1, FORGED[0]),
        chunk(b"Recvd msg #2: tick 9223372036854775808\n").replace(b"27", b"00027;x=y"),
        message(999_999_999, SOON),
        message(2, SOON).replace(b"2d", b"2D"),
        message(10**9, b"tick 1"),
        chunk(b"\r\n0\r\n\r\n"),
        message(3, b"tick 999999999999999999"),
    ]
)


@pytest.mark.parametrize("last", [b"", b"0\r\n\r\n", b"ffffffff\r\n", b"100000000\r\n"])
def test_extremes_add_up_wherever_they_are_cut(last: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each user's answer is cut at another byte."""
    places = range(1, len(welcome(100) + EXTREME + last))
    assert_adds_up(
        {place: peer_input.cut(welcome(place) + EXTREME + last, [place]) for place in places}, tmp_path_factory
    )


def of_another(them: int) -> Pieces:
    """The welcome of another user, with only the id changed: the size of its chunk may be wrong."""
    return lambda user: [welcome(them).replace(b"user %d\n" % them, b"user %d\n" % user)]


def behind(before: bytes) -> Pieces:
    return lambda user: [before, welcome(user)]


def damaged(place: int, instead: bytes) -> Pieces:
    return lambda user: [welcome(user)[:place] + instead + welcome(user)[place + 1 :]]


ODD_WELCOMES = st.one_of(
    st.integers(1, USERS).map(of_another),
    st.sampled_from([b"H", b"0", b"HTTP/1.1 100 Continue\r\n\r\n"]).map(behind),
    st.builds(damaged, st.integers(0, 110), st.sampled_from([b"", b"1", b"12", b"\n", b"%d"])),
    st.integers(1, 110).map(lambda place: lambda user: peer_input.cut(welcome(user), [place])),
    st.just(lambda user: [welcome(user) + message(1)]),
    st.just(lambda user: [welcome(user + 1)]),
)


ONE_DIGIT, TWO_DIGITS = {*range(1, 10)}, {11, *range(12, USERS + 1)}


@given(
    odd=ODD_WELCOMES,
    user=st.sampled_from([1, 5, 10, 11, 15]),
    others=st.sampled_from([ONE_DIGIT, TWO_DIGITS, ONE_DIGIT | TWO_DIGITS]),
)
@example(odd=of_another(9), user=10, others=ONE_DIGIT)
def test_answers_that_are_compared_open_as_those_that_are_parsed(
    odd: Pieces, user: int, others: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pieces = {other: [welcome(other)] for other in sorted(others)} | {user: odd(user)}
    assert_adds_up(pieces, tmp_path_factory)


def in_httpx(folder: Path, pieces: dict[int, list[bytes]]) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    rig = HttpxRig(folder, len(pieces))
    rig.feed(pieces)
    found = on_the_accounts(rig)
    rig.end()
    return found


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # httpcore's, of connections that are given up
@given(pieces=st.lists(peer_input.ANSWERS, min_size=1, max_size=8).map(for_each))
def test_any_bytes_end_no_worker_of_httpx(
    pieces: dict[int, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = in_httpx(tmp_path_factory.mktemp("rig"), pieces)
    assert found["settled"] == len(pieces)
    assert sum(found["failed"].values()) + sum(found["closed"].values()) == len(pieces)


@given(pieces=st.lists(peer_input.LINES, min_size=1, max_size=4).map(for_each))
def test_lines_add_up_in_the_httpx_client(
    pieces: dict[int, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert in_httpx(tmp_path_factory.mktemp("rig"), pieces) == in_full(pieces)


@pytest.mark.parametrize(
    "place", [b"/elsewhere", b"http://[", b"a: //[", b"http://a:99999999999/", b"\xff", b"//a\x7f", b""]
)
def test_a_redirect_fails_by_its_status_wherever_it_points_to(place: bytes, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place
    pieces = {1: [answer], 2: [welcome(2)]}
    for found in (in_columns(tmp_path / "columns", pieces, together=True), in_httpx(tmp_path / "httpx", pieces)):
        assert (found["failed"], found["closed"]) == ({"HTTP_302@response": 1}, {"cut": 1})
