"""flyweight.machine.clock_offset and clock_echo: what another host's clocks show, and how far that may be off."""

import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.machine import clock_echo
from floodtest.flyweight.machine.clock_echo import ClockFault, answer, asking
from floodtest.flyweight.machine.clock_offset import (
    MAX_CLOCK,
    PROBES,
    Clocks,
    Echo,
    Offset,
    Offsets,
    bound_of_run,
    drift_between,
    look,
    measure,
    offsets_of,
)
from tests.rigs.time_namespace import AHEAD_SECONDS, in_a_time_namespace

ROOT = Path(__file__).parents[2]

THOUSAND_SECONDS = AHEAD_SECONDS * 10**9


class Hosts:
    """Two hosts with one true time, of which each shows another one, and a network that takes as long as it takes."""

    def __init__(self, ahead: int, ways: Callable[[], tuple[int, int]], drift_ppm: float = 0.0) -> None:
        self.now, self._ahead, self._ways, self._drift = 10**15, ahead, ways, drift_ppm

    def here(self) -> Clocks:
        return Clocks(self.now, self.now + 10**18)

    def ahead(self) -> int:
        return self._ahead + round((self.now - 10**15) * self._drift / 1e6)

    def ask(self) -> Clocks:
        there, back = self._ways()
        self.now += there
        shown = Clocks(self.now + self.ahead(), self.now + 10**18 + 5 * self.ahead())
        self.now += back
        return shown


@given(
    ahead=st.integers(-(10**17), 10**17),
    ways=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=20),
)
def test_the_offset_is_within_its_bound_however_the_ways_differ(ahead: int, ways: list[tuple[int, int]]) -> None:
    hosts = Hosts(ahead, iter(ways).__next__)
    found = measure(hosts.ask, len(ways), hosts.here)
    assert found.probes == len(ways)
    assert found.monotonic.bound_ns == (min(map(sum, ways)) + 1) // 2
    assert abs(found.monotonic.ahead_ns - ahead) <= found.monotonic.bound_ns
    assert abs(found.realtime.ahead_ns - 5 * ahead) <= found.realtime.bound_ns


def test_of_many_echoes_that_with_the_least_round_trip_is_taken() -> None:
    draw = random.Random(3)
    hosts = Hosts(-THOUSAND_SECONDS, lambda: (draw.randint(9_000, 10**6), draw.randint(9_000, 10**6)))
    found = measure(hosts.ask, PROBES, hosts.here)
    assert abs(found.monotonic.ahead_ns + THOUSAND_SECONDS) <= found.monotonic.bound_ns < 120_000


def test_a_realtime_clock_that_is_set_meanwhile_makes_no_short_round_trip() -> None:
    long = Echo(Clocks(0, 500), Clocks(70, 70), Clocks(100, 0))  # somebody set it back by 600
    short = Echo(Clocks(200, 200), Clocks(270, 270), Clocks(220, 220))
    assert offsets_of([long, short]).realtime == Offset(60, 10)


@pytest.mark.parametrize(("drift_ppm", "is_certain"), [(0.0, False), (10.0, True), (-40.0, True)])
def test_a_drift_is_told_where_it_is_beyond_both_bounds(drift_ppm: float, is_certain: bool) -> None:
    hosts = Hosts(10**9, lambda: (10_000, 10_000), drift_ppm)
    start = measure(hosts.ask, 5, hosts.here)
    at_start = hosts.ahead()
    hosts.now += 60 * 10**9
    end = measure(hosts.ask, 5, hosts.here)
    drift = drift_between(start, end)
    assert drift.is_certain == is_certain
    assert drift.seconds == pytest.approx(60, abs=0.001)
    assert abs(drift.per_million - drift_ppm) * drift.seconds * 1000 <= drift.bound_ns
    bound = bound_of_run(start.monotonic, end.monotonic)
    assert abs(start.monotonic.ahead_ns - hosts.ahead()) <= bound
    assert abs(start.monotonic.ahead_ns - at_start) <= bound


def test_an_offset_is_written_for_a_person() -> None:
    assert str(Offset(THOUSAND_SECONDS - 600, 4500)) == "+999.999999 s ± 4.5 µs"
    assert str(Offset(-1_234_567_890_123, 12)) == "-1,234.567890 s ± 0.0 µs"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection between two hosts."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_clocks_are_asked_for_over_a_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ticks = count(5)
    thread = threading.Thread(target=answer, args=(theirs, lambda: Clocks(next(ticks), next(ticks))))
    thread.start()
    ask = asking(ours, "there")
    assert [ask(), ask()] == [Clocks(5, 6), Clocks(7, 8)]
    ours.close()
    thread.join(10)
    assert not thread.is_alive()


def test_the_clocks_of_this_host_are_its_own_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            thread = threading.Thread(target=answer, args=(theirs,))
            thread.start()
            found = measure(asking(ours, "here"))
            ours.close()
            thread.join(10)
    assert found.probes == PROBES
    assert abs(found.monotonic.ahead_ns) <= found.monotonic.bound_ns


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "it has ended the connection"),
        (b"\0" * 23, "it has ended the connection"),
        (struct.pack(">Qqq", 7, 0, 0), "it answers what was not asked"),
        (struct.pack(">Qqq", 1, -1, 0), "it answers what was not asked"),
        (struct.pack(">Qqq", 1, 0, MAX_CLOCK), "it answers what was not asked"),
    ],
)
def test_an_answer_that_is_none_is_told(said: bytes, words: str, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ClockFault, match=f"^The clock of host-2 can't be measured: {words}"):
        asking(ours, "host-2")()


def test_a_host_that_is_silent_is_not_waited_for_for_ever(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_echo, "PATIENCE", 0.01)
    with pytest.raises(ClockFault, match=r"no answer within 0\.01 s"):
        asking(pair[0], "host-2")()


def test_a_connection_that_is_broken_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(ClockFault, match=r"The clock of host-2 can't be measured: Broken pipe\."):
        asking(pair[0], "host-2")()


def test_a_host_whose_clock_is_a_thousand_seconds_ahead_is_found_so(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    line = in_a_time_namespace(sys.executable, "-m", "tests.rigs.clock_host", str(theirs.fileno()))
    with subprocess.Popen(line, cwd=ROOT, pass_fds=(theirs.fileno(),)) as process:
        theirs.close()
        found: Offsets = measure(asking(ours, "the namespace"))
        ours.close()
        assert process.wait(30) == 0
    assert abs(found.monotonic.ahead_ns - THOUSAND_SECONDS) <= found.monotonic.bound_ns < 10**8
    assert abs(found.realtime.ahead_ns) <= found.realtime.bound_ns  # no namespace has a CLOCK_REALTIME of its own
    assert look().monotonic > found.at_ns
