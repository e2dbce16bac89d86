"""loadgen.client.accounts and flyweight.engine.ledger: nothing is counted twice or forgotten, and all of it outlives
its writer.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.flyweight.engine.ledger import TICKS, Ledger, TickTable
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.clock_offset import MAX_CLOCK
from floodtest.loadgen.client import histogram
from floodtest.loadgen.client.accounts import (
    LEDGER,
    Accounts,
    Phase,
    State,
    code_name,
    count_states,
    create_columns,
    map_columns,
    named_failures,
)
from floodtest.wire import stamp
from floodtest.wire.causes import Cause
from floodtest.wire.sequence import OutOfSequence

USERS = 10


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger(LEDGER, 2)
    yield made
    os.close(made.descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_columns(tmp_path, USERS)
    return tmp_path


def states_in(folder: Path) -> list[int]:
    """Return the states as a reader of the record finds them."""
    return list((folder / "states.u8").read_bytes())


def ports_in(folder: Path) -> list[int]:
    ports: list[int] = np.fromfile(folder / "ports.u16", "<u2").tolist()
    return ports


# -- columns in files ------------------------------------------------------------------------------------------------


def test_new_columns_say_that_nobody_was_reached(folder: Path) -> None:
    assert states_in(folder) == [State.NOT_REACHED] * USERS
    assert ports_in(folder) == [0] * USERS


def test_columns_of_a_million_have_their_room_on_the_disk_before_they_are_written(tmp_path: Path) -> None:
    create_columns(tmp_path, 1_054_000)
    assert (tmp_path / "states.u8").stat().st_size == 1_054_000
    assert (tmp_path / "ports.u16").stat().st_size == 2_108_000
    assert (tmp_path / "states.u8").stat().st_blocks * 512 >= 1_054_000


def test_columns_that_a_disk_has_no_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Refused, match="No space left on device"):
        create_columns(tmp_path, USERS)


def test_columns_are_never_written_over(folder: Path) -> None:
    with pytest.raises(Refused, match="File exists"):
        create_columns(folder, USERS)


def test_what_a_worker_does_stands_in_the_files_at_its_users(folder: Path, ledger: Ledger) -> None:
    accounts = Accounts(folder, 4, 5, ledger.row(0))
    accounts.started(np.arange(4, 9))
    assert states_in(folder) == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
    accounts.bound(np.array([4, 5, 6]), [1027, 1028, 65_535])
    accounts.opened(np.array([4, 6]), "sse")
    accounts.failed(5, Phase.RESPONSE, 404)
    accounts.closed_early(6, errno.ECONNRESET)
    n, flight, opened, failed, early = State
    assert states_in(folder) == [n, n, n, opened, failed, early, flight, flight, n, n]
    assert ports_in(folder) == [0, 0, 0, 1027, 1028, 65_535, 0, 0, 0, 0]


def test_the_first_and_the_last_user_have_their_place(folder: Path, ledger: Ledger) -> None:
    Accounts(folder, 1, 1, ledger.row(0)).started(np.array([1]))
    last = Accounts(folder, USERS, 1, ledger.row(1))
    last.started(np.array([USERS]))
    last.opened(np.array([USERS], np.uint32), "lines")
    assert states_in(folder) == [State.IN_FLIGHT, *[State.NOT_REACHED] * 8, State.OPEN]


def test_the_columns_of_all_users_see_what_each_worker_writes(folder: Path, ledger: Ledger) -> None:
    states, ports = map_columns(folder, 1, USERS)
    for worker, first in enumerate((1, 6)):
        accounts = Accounts(folder, first, 5, ledger.row(worker))
        accounts.started(np.arange(first, first + 5))
        accounts.bound(np.arange(first, first + 5), range(1000 + first, 1005 + first))
    assert states.tolist() == [State.IN_FLIGHT] * USERS
    assert ports.tolist() == list(range(1001, 1011))


def test_users_with_any_numbers_have_their_places_in_the_columns(folder: Path, ledger: Ledger) -> None:
    accounts = Accounts(folder, 1_000_004, 5, ledger.row(0), before=3)
    accounts.started(np.array([1_000_008, 1_000_004]))
    accounts.bound(np.array([1_000_008, 1_000_004]), [5008, 5004])
    accounts.opened(np.array([1_000_008], np.uint32), "chunked")
    assert states_in(folder) == [0, 0, 0, State.IN_FLIGHT, 0, 0, 0, State.OPEN, 0, 0]
    assert ports_in(folder) == [0, 0, 0, 5004, 0, 0, 0, 5008, 0, 0]


EVENTS = st.lists(st.tuples(st.integers(1, USERS), st.sampled_from(["start", "open", "fail", "close"])), max_size=60)


ONCE = (State.NOT_REACHED,)
AGAIN = (State.NOT_REACHED, State.FAILED, State.CLOSED_EARLY)


def step(accounts: Accounts, user: int, event: str, before: State, begins: tuple[State, ...]) -> State:
    """Tell an event of a user in a state, if it is possible there, and return the state it is in then.

    `begins` are the states in which a connection may begin.
    """
    if event == "start" and before in begins:
        accounts.started(np.array([user]))
        return State.IN_FLIGHT
    if event == "open" and before == State.IN_FLIGHT:
        accounts.opened(np.array([user]), "chunked")
        return State.OPEN
    if event == "fail" and before == State.IN_FLIGHT:
        accounts.failed(user, Phase.CONNECT, errno.ETIMEDOUT)
        return State.FAILED
    if event == "close" and before == State.OPEN:
        accounts.closed_early(user, Cause.CUT)
        return State.CLOSED_EARLY
    return before


@given(EVENTS)
def test_planned_is_the_sum_over_all_states(tmp_path_factory: pytest.TempPathFactory, events: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("columns")
    create_columns(folder, USERS)
    ledger = Ledger(LEDGER, 1)
    accounts = Accounts(folder, 1, USERS, ledger.row(0))
    expected = [State.NOT_REACHED] * USERS
    for user, event in events:
        expected[user - 1] = step(accounts, user, event, expected[user - 1], ONCE)
    counts = count_states(map_columns(folder, 1, USERS)[0])
    assert counts == {state: expected.count(state) for state in State}
    assert sum(counts.values()) == USERS
    failed, closed = named_failures(ledger.total("failures"))
    assert sum(failed.values()) == counts[State.FAILED]
    assert sum(closed.values()) == counts[State.CLOSED_EARLY]
    assert ledger.total("attempts") == USERS - counts[State.NOT_REACHED]
    assert ledger.total("opens") == counts[State.OPEN] + counts[State.CLOSED_EARLY]
    os.close(ledger.descriptor)


@given(EVENTS)
def test_all_connections_of_all_lives_add_up(tmp_path_factory: pytest.TempPathFactory, events: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("columns")
    create_columns(folder, USERS)
    ledger = Ledger(LEDGER, 1)
    accounts = Accounts(folder, 1, USERS, ledger.row(0))
    latest = [State.NOT_REACHED] * USERS
    for user, event in events:
        latest[user - 1] = step(accounts, user, event, latest[user - 1], AGAIN)
        failed, closed = (sum(table.values()) for table in named_failures(ledger.total("failures")))
        assert ledger.total("attempts") == ledger.total("opens") + failed + latest.count(State.IN_FLIGHT)
        assert ledger.total("opens") == latest.count(State.OPEN) + closed
        assert accounts.ends == closed
    assert states_in(folder) == latest
    accounts.closed(latest.count(State.OPEN))
    assert accounts.ends == ledger.total("opens")
    os.close(ledger.descriptor)


# -- failures by name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (Cause.CUT, "cut"),
        (Cause.NO_ANSWER, "no_answer"),
        (errno.ECONNREFUSED, "ECONNREFUSED"),
        (199, "E199"),
        (200, "HTTP_200"),
        (404, "HTTP_404"),
    ],
)
def test_codes_have_names(code: int, name: str) -> None:
    assert code_name(code) == name


def test_failures_are_named_by_what_and_where(folder: Path, ledger: Ledger) -> None:
    one, other = Accounts(folder, 1, 5, ledger.row(0)), Accounts(folder, 6, 5, ledger.row(1))
    one.failed(1, Phase.BIND, errno.EADDRINUSE)
    one.failed(2, Phase.CONNECT, errno.ECONNREFUSED)
    other.failed(6, Phase.CONNECT, errno.ECONNREFUSED)
    other.failed(7, Phase.REQUEST, errno.EPIPE)
    other.failed(8, Phase.RESPONSE, 503)
    one.closed_early(3, Cause.CUT)
    other.closed_early(9, Cause.CUT)
    other.closed_early(10, errno.ECONNRESET)
    failed, closed = named_failures(ledger.total("failures"))
    assert failed == {"EADDRINUSE@bind": 1, "ECONNREFUSED@connect": 2, "EPIPE@request": 1, "HTTP_503@response": 1}
    assert closed == {"cut": 2, "ECONNRESET": 1}


def test_no_failures_have_no_names(ledger: Ledger) -> None:
    assert named_failures(ledger.total("failures")) == ({}, {})


@pytest.mark.parametrize("status", [300, 404, 503, 599, 600, 999])
def test_any_status_that_a_server_may_answer_is_counted(status: int, folder: Path, ledger: Ledger) -> None:
    Accounts(folder, 1, 5, ledger.row(0)).failed(1, Phase.RESPONSE, status)
    assert named_failures(ledger.total("failures")) == ({f"HTTP_{status}@response": 1}, {})


# -- the ledger ------------------------------------------------------------------------------------------------------


def test_sums_run_over_all_workers(folder: Path, ledger: Ledger) -> None:
    one, other = Accounts(folder, 1, 5, ledger.row(0)), Accounts(folder, 6, 5, ledger.row(1))
    one.received(3, 300)
    other.received(4, 1 << 40)
    one.out_of_sequence(OutOfSequence(jumps=1))
    other.out_of_sequence(OutOfSequence(missing=2, repeated=1, jumps=3))
    totals = [int(ledger.total(field)) for field in ("received", "bytes", "missing", "repeated", "jumps")]
    assert totals == [7, 300 + (1 << 40), 2, 1, 4]


@given(
    read=st.integers(0, 2**61),
    planned=st.integers(0, 9 * 10**18 - 1) | st.sampled_from([0, 1, 2**53, 2**62, 9 * 10**18 - 1]),
    late=st.integers(0, stamp.MAX_LATE_US),
    ahead=st.just(0) | st.integers(-MAX_CLOCK, MAX_CLOCK),
)
@example(read=0, planned=9 * 10**18 - 1, late=stamp.MAX_LATE_US, ahead=-MAX_CLOCK)
@example(read=0, planned=9 * 10**18 - 1, late=stamp.MAX_LATE_US, ahead=0)
@example(read=2**60, planned=0, late=0, ahead=MAX_CLOCK)
def test_a_latency_is_within_its_bounds_whatever_the_stamp_says(
    read: int, planned: int, late: int, ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    create_columns(folder, 1)
    ledger = Ledger(LEDGER, 1)
    accounts = Accounts(folder, 1, 1, ledger.row(0), stamps_ahead_ns=ahead)
    _, counted = accounts.latency.stamped(*(np.array([number]) for number in (read, read, planned, late)))
    by_their_clock = max(0, read + ahead) if ahead else read
    for at, (name, microseconds) in enumerate((("latency", 0), ("latency_published", late))):
        took = (by_their_clock - planned) // 1000 - microseconds
        buckets = histogram.count(np.array([min(took, histogram.MAX)])) if took >= 0 else np.zeros(histogram.BUCKETS)
        assert np.array_equal(ledger.total(name), buckets)
        assert ledger.total("negative")[at] == (took < 0)
    took = (by_their_clock - planned) // 1000
    assert counted.tolist() == [took >= 0]
    assert ledger.total("most_negative_us") == min(max(0, -took), histogram.MAX)
    os.close(ledger.descriptor)


def test_what_was_planned_while_its_sweep_was_read_took_no_time(folder: Path, ledger: Ledger) -> None:
    """A read has a time that is interpolated within its sweep; what was planned after that and before the end is none
    that was read before it was planned.
    """
    account = Accounts(folder, 1, 5, ledger.row(0)).latency
    read, ended, planned = np.array([1000] * 3), np.array([9000] * 3), np.array([500, 4000, 12_000])
    took, counted = account.stamped(read, ended, planned, np.array([0, 3, 0]))
    assert (took.tolist(), counted.tolist()) == ([0, 0, -3], [True, True, False])
    assert (ledger.total("latency").sum(), ledger.total("latency_published").sum()) == (2, 2)
    assert (ledger.total("negative").tolist(), ledger.total("most_negative_us")) == ([1, 1], 3)


@pytest.mark.parametrize(("ahead_ns", "negative"), [(10**12, 0), (0, 2), (-(10**12), 2)])
def test_stamps_of_a_clock_that_is_ahead_are_corrected_before_they_are_counted(
    ahead_ns: int, negative: int, folder: Path, ledger: Ledger
) -> None:
    account = Accounts(folder, 1, 5, ledger.row(0), stamps_ahead_ns=ahead_ns).latency
    read = np.array([5 * 10**12, 6 * 10**12])
    account.stamped(read, read, read + 10**12 - 2_000_000, np.array([500, 500]))
    assert ledger.total("negative").tolist() == [negative, negative]
    for name, milliseconds in (("latency", 2.0), ("latency_published", 1.5)):
        found = histogram.microseconds_at([1.0], ledger.total(name))
        assert found == (None if negative else pytest.approx([milliseconds * 1000], rel=0.008))


def test_another_process_sees_the_same_rows(ledger: Ledger) -> None:
    child = os.fork()
    if child == 0:
        Ledger(LEDGER, 2, ledger.descriptor).row(1)["received"] += 17
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger.rows["received"].tolist() == [0, 17]


def test_ticks_of_several_workers_are_one(folder: Path, ledger: Ledger) -> None:
    one, other = Accounts(folder, 1, 5, ledger.row(0)), Accounts(folder, 6, 5, ledger.row(1))
    one.ticks.count(1, 3, 2_000_000_000, 2_500_000_000)
    other.ticks.count(1, 4, 1_500_000_000, 2_100_000_000)
    one.ticks.count(1, 2, 2_600_000_000, 3_000_000_000)
    other.ticks.count(2, 9, 12_000_000_000, 12_250_000_000)
    assert ledger.ticks() == {1: (9, 1.5, 3.0), 2: (9, 12.0, 12.25)}


def test_no_ticks(ledger: Ledger) -> None:
    assert ledger.ticks() == {}


def test_the_last_ticks_are_remembered_each_with_its_own_count(ledger: Ledger) -> None:
    for table in (TickTable(ledger.row(0)), TickTable(ledger.row(1))):
        for number in range(1, TICKS + 11):
            table.count(number, number, number, number + 1)
    ticks = ledger.ticks()
    assert sorted(ticks) == list(range(11, TICKS + 11))
    assert all(ticks[number] == (2 * number, number / 1e9, (number + 1) / 1e9) for number in ticks)


@pytest.mark.parametrize("order", [[1, 257, 1, 257, 1], [257, 257, 1, 1, 1], [1, 1, 1, 257, 257]])
def test_a_late_tick_does_not_take_the_place_of_a_later_one(order: list[int], ledger: Ledger) -> None:
    table = TickTable(ledger.row(0))
    for number in order:
        table.count(number, 3, 10, 20)
    assert ledger.ticks() == {257: (6, 10 / 1e9, 20 / 1e9)}


def test_a_worker_that_is_behind_does_not_lend_its_row_to_another_tick(ledger: Ledger) -> None:
    TickTable(ledger.row(0)).count(1, 5, 10, 20)
    TickTable(ledger.row(1)).count(1 + TICKS, 7, 1000, 2000)
    assert ledger.ticks() == {1: (5, 10 / 1e9, 20 / 1e9), 1 + TICKS: (7, 1000 / 1e9, 2000 / 1e9)}


def test_a_ledger_for_no_workers_is_empty() -> None:
    empty = Ledger(LEDGER, 0)
    assert empty.total("received") == 0
    os.close(empty.descriptor)
