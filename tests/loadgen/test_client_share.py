"""The client's own share of a latency: arrivals by the kernel beside the reads, on connections of a sample."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from floodtest.analysis.figures.client_share import doubt_of, percentiles_of
from floodtest.analysis.figures.doubts import doubts, doubts_of_figures
from floodtest.analysis.pages.report_tables import client_share as table_of
from floodtest.analysis.record.summary import ClientShare, Latency
from floodtest.loadgen.client import histogram
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.client.arrival_sample import in_sample
from floodtest.loadgen.commands.console import render
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.run.latencies import WATCH_EVERY, client_share_of, watch_every
from floodtest.loadgen.run.reading import read_accounts, total
from floodtest.wire import stamp
from floodtest.wire.grammar import OURS, Grammar, Times
from tests.rigs.client import ClientRig, message
from tests.rigs.figures import client_share, findings_of, messages, reading, sample, start, summary
from tests.rigs.support import chunk, wait_until

SENT = Times(r"t=(?P<ns>\d+)")


def stamped(number: int, before_ns: int) -> bytes:
    """A message that was planned so long ago."""
    return message(number, stamp.FORMAT % (time.monotonic_ns() - before_ns, 0) + b"text")


def timed(number: int, before_ns: int) -> bytes:
    """A message that says that it was sent so long ago."""
    return chunk(b"n=%d t=%d\n" % (number, time.time_ns() - before_ns))


KINDS = pytest.mark.parametrize(("grammar", "said"), [(OURS, stamped), (SENT, timed)])


@pytest.fixture
def rig_of(tmp_path: Path) -> Iterator[Callable[..., ClientRig]]:
    """Makes a rig of connections over loopback, of which one in so many is watched; the kernel takes times by then."""
    made: list[ClientRig] = []

    def make(grammar: Grammar, users: int, watch_every: int) -> ClientRig:
        (folder := tmp_path / str(len(made))).mkdir()
        made.append(rig := ClientRig(folder, grammar=grammar, watch_every=watch_every))
        for user in range(1, users + 1):
            rig.connect_by_tcp(user)
        if watch_every:
            wait_until(lambda: _is_told(rig, min(watch_every, 2)), "the kernel to tell an arrival")
        rig.ledger.rows[0]["watched_latency"] = rig.ledger.rows[0]["latency"] = 0
        return rig

    yield make
    for rig in made:
        rig.end()


def _is_told(rig: ClientRig, user: int) -> bool:
    rig.feed(user, stamped(1, 0), timed(1, 0))
    return bool(rig.ledger.total("watched_latency").any())


def watched(rig: ClientRig) -> list[dict[int, int]]:
    """What the messages of the sample took to be read, and to arrive, by bucket."""
    return [histogram.sparse(counts) for counts in rig.ledger.total("watched_latency")]


@KINDS
def test_a_message_arrives_when_it_is_sent_however_late_it_is_read(
    grammar: Grammar, said: Callable[[int, int], bytes], rig_of: Callable[..., ClientRig]
) -> None:
    rig = rig_of(grammar, 4, 2)
    assert rig.ledger.total("watched") == 2
    began = time.monotonic_ns()
    for user in (1, 2, 4):
        rig.servers[user].sendall(said(2, 5_000_000))
    sent = time.monotonic_ns()
    time.sleep(0.03)
    late = time.monotonic_ns()
    rig.settle()
    ended = time.monotonic_ns()
    read, arrived = ([bucket for bucket, count in counts.items() for _ in range(count)] for counts in watched(rig))
    assert (len(read), rig.stamped, rig.ledger.total("watched_shared")) == (2, 3, 0)
    assert min(arrived) >= histogram.bucket(5000)
    assert max(arrived) <= histogram.bucket(5000 + (sent - began) // 1000)
    assert min(read) >= histogram.bucket(5000 + (late - sent) // 1000)
    assert max(read) <= histogram.bucket(5000 + (ended - began) // 1000)


@KINDS
def test_only_the_last_message_of_a_read_has_a_known_arrival(
    grammar: Grammar, said: Callable[[int, int], bytes], rig_of: Callable[..., ClientRig]
) -> None:
    rig = rig_of(grammar, 2, 1)
    rig.servers[1].sendall(said(2, 50_000_000_000) + said(3, 9_000_000_000))
    rig.servers[2].sendall(said(2, 9_000_000_000))
    rig.settle()
    read, arrived = watched(rig)
    assert (sum(read.values()), rig.stamped, rig.ledger.total("watched_shared")) == (2, 3, 1)
    assert read.keys() | arrived.keys() <= set(range(histogram.bucket(8_900_000), histogram.bucket(12_000_000)))


@KINDS
@pytest.mark.parametrize("behind", [chunk(b"none\n"), chunk(b"Recvd msg #9: tick 1\n"), b"a\r\nhalf"])
def test_a_message_with_anything_behind_it_in_its_read_has_no_known_arrival(
    grammar: Grammar, said: Callable[[int, int], bytes], behind: bytes, rig_of: Callable[..., ClientRig]
) -> None:
    rig = rig_of(grammar, 1, 1)
    before = rig.stamped
    rig.servers[1].sendall(said(2, 5_000_000) + behind)
    rig.settle()
    assert (rig.stamped - before, rig.ledger.total("watched_shared")) == (1, 1)
    assert watched(rig) == [{}, {}]


def test_times_that_give_no_latency_are_in_no_sample(rig_of: Callable[..., ClientRig]) -> None:
    rig = rig_of(SENT, 1, 1)
    before = rig.sent
    rig.feed(1, timed(2, -3600 * 10**9), timed(3, 7200 * 10**9), chunk(b"none\n"))
    assert [now - then for now, then in zip(rig.sent, before, strict=True)] == [0, 1, 1, 0]
    assert watched(rig) == [{}, {}]


def test_who_is_watched_and_who_is_not_have_the_same_accounts(rig_of: Callable[..., ClientRig]) -> None:
    random = np.random.default_rng(1)
    rigs = [rig_of(OURS, 8, 0), rig_of(OURS, 8, 3), rig_of(OURS, 8, 1)]
    for rig in rigs:
        for name in ("received", "bytes", "messages", "repeated", "missing"):
            rig.ledger.rows[0][name] = 0
    numbers = dict.fromkeys(range(1, 9), 1)
    for _ in range(30):
        user = int(random.integers(1, 9))
        count = int(random.integers(1, 30))
        data = b"".join(stamped(numbers[user] + number, 0) for number in range(1, count + 1))
        numbers[user] += count
        at = int(random.integers(0, len(data)))
        for rig in rigs:
            rig.feed(user, data[:at], data[at:])
    for rig in rigs:
        rig.servers[3].close()
        rig.settle()
    first, *others = ({**rig.everything(), "jumps": 0, "out_of_sequence": 0} for rig in rigs)
    assert all(first == other for other in others)
    assert sum(first["closed"].values()) == 1


def test_a_known_delay_is_found_at_the_arrival_whatever_the_client_adds(rig_of: Callable[..., ClientRig]) -> None:
    """A server whose latency is known: each message arrives while it is written, a known time after what it says."""
    rig = rig_of(OURS, 10, 1)
    least, most = [], []
    for turn in range(100):
        for user in range(1, 11):
            began = time.monotonic_ns()
            delay_us = 50_000 if (turn + user) % 50 == 0 else 5000
            rig.servers[user].sendall(stamped(turn + 2, delay_us * 1000))
            least.append(delay_us)
            most.append(delay_us + (time.monotonic_ns() - began) // 1000 + 1)
        if turn % 10 == 9:
            time.sleep(0.001)
        rig.settle()
    share = client_share_of(read_accounts(dict.fromkeys(State, 0), rig.ledger, {}, files_limit=1), True, "columns")
    assert share is not None
    assert share.arrival_ms is not None
    assert (share.sampled_messages, share.shared, share.sampled_connections) == (1000, 0, 10)
    for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        low, high = (np.sort(values)[int(np.ceil(part * 1000)) - 1] / 1000 for values in (least, most))
        assert low <= getattr(share.arrival_ms, name) <= high * 1.008 + 0.001


# -- which users are in the sample -----------------------------------------------------------------------------------


def options(**changes: object) -> RunOptions:
    return RunOptions(Plan(1, 10, "127.0.1.1", 1024, 10), target="http://127.0.0.1:8080/", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "every"), [(1, 1), (199, 1), (200, 2), (6000, 60), (19_000, WATCH_EVERY), (1_000_000, WATCH_EVERY)]
)
def test_a_hundred_of_a_worker_are_watched_at_the_least(count: int, every: int) -> None:
    assert watch_every(options(latency="(?P<ms>.)"), count) == every
    assert watch_every(options(messages=MessageOptions(5.0)), count) == every


@pytest.mark.parametrize("targets", [2, 3, 4, 7])
def test_users_who_go_to_targets_in_turn_are_watched_at_each_of_them(targets: int) -> None:
    """60 and 127 are of one in how many users of 6,000 and of 19,000 arrivals are told."""
    for count in (6000, 19_000):
        users = np.arange(1, count + 1, dtype=np.uint32)
        watched_users = users[in_sample(users, watch_every(options(latency="(?P<ms>.)"), count))]
        at_each = np.bincount((watched_users - 1) % targets, minlength=targets)
        assert at_each.min() > 0.8 * at_each.mean()
        assert 90 <= len(watched_users) <= 160


def test_nobody_is_watched_where_no_latency_is_asked_for() -> None:
    assert watch_every(options(), 19_000) == 0


# -- what is told of it ----------------------------------------------------------------------------------------------


def test_readings_of_sites_add_up() -> None:
    one = reading(watched=2, watched_read={5: 1}, watched_arrival={3: 1}, watched_shared=4)
    other = reading(watched=3, watched_read={5: 1, 6: 1}, watched_arrival={3: 2}, watched_shared=1)
    both = total([one, other])
    assert (both.watched, both.watched_shared) == (5, 5)
    assert (both.watched_read, both.watched_arrival) == ({5: 2, 6: 1}, {3: 3})
    told = client_share_of(both, True, "columns")
    assert told == ClientShare(
        sampled_connections=5,
        sampled_messages=3,
        shared=5,
        read_ms=Latency(0.005, 0.006, 0.006, 0.006, 0.006),
        arrival_ms=Latency(0.003, 0.003, 0.003, 0.003, 0.003),
    )
    assert client_share_of(both, False, "columns") is None


@pytest.mark.parametrize(
    ("said", "model", "why"),
    [
        ({}, "httpx", "the client model httpx does not see its sockets"),
        ({"opens": 0}, "columns", "no connection was open"),
        ({}, "columns", "the kernel tells no arrivals here, as on Unix sockets"),
        ({"watched": 7}, "columns", "no message with a latency came on 7 connections that were watched for it"),
    ],
)
def test_where_no_arrival_is_known_it_is_said_why(said: dict[str, int], model: str, why: str) -> None:
    told = client_share_of(reading(**said), True, model)
    assert told is not None
    assert (told.note, told.read_ms, percentiles_of(told), doubt_of(told)) == (why, None, [], None)
    found = summary(messages=messages(), client_share=told)
    assert f"at arrival    not known: {why}" in render(found)
    rows = [start(), sample()]
    doubted = doubts(findings_of(rows, summary=msgspec.to_builtins(found)))
    assert f"How much of the latency is this client's own is not known: {why}." in doubted


def test_percentiles_with_too_few_messages_above_them_are_not_told() -> None:
    assert [one.name for one in percentiles_of(client_share())] == ["p50", "p90", "p99"]
    assert [one.name for one in percentiles_of(client_share(sampled_messages=10_000))] == ["p50", "p90", "p99", "p99.9"]
    assert [one.name for one in percentiles_of(client_share(sampled_messages=999))] == ["p50", "p90"]
    assert percentiles_of(client_share(sampled_messages=19)) == []
    few = summary(messages=messages(), client_share=client_share(sampled_messages=19))
    assert "not known: there are only 19 messages on 149 connections whose arrival is known" in render(few)


def test_a_percentile_of_which_over_a_tenth_is_the_client_s_own_is_doubted() -> None:
    doubt = doubt_of(client_share())
    assert doubt is not None
    sampled = "Of the latency of the sample (1,500 messages on 149 connections) "
    assert doubt.startswith(f"{sampled}9 of the 12 ms of its p99 is this client's own: messages had arrived")
    assert "more than that" not in doubt
    assert doubt_of(client_share(arrival_ms=Latency(9.0, 9.9, 10.8, 50.0, 60.0))) is None  # just a tenth
    both = doubt_of(client_share(arrival_ms=Latency(1.0, 11.0, 3.0, 4.0, 5.0), shared=200))
    assert both is not None
    assert "9 of the 10 ms of its p50 and 9 of the 12 ms of its p99 are this client's own" in both
    assert "It is more than that: 200 further messages had to be left out" in both


def test_terminal_and_report_tell_the_share_and_its_doubt() -> None:
    found = summary(messages=messages(), client_share=client_share())
    findings = findings_of([start(), sample()], summary=msgspec.to_builtins(found))
    lines = render(found, doubts_of_figures(findings)).splitlines()
    assert "at arrival    p50 9.50, p90 10.5, p99 3 ms, by 1,500 messages on 149 connections" in lines
    assert "client's own  0.500 ms of p50, 0.500 ms of p90, 9 ms of p99: by so much each is later at the read" in lines
    assert f"doubt         {doubt_of(client_share())}" in lines
    assert doubt_of(client_share()) in doubts(findings)
    (table,) = table_of(findings.record)
    assert table.head == ("milliseconds", "50%", "90%", "99%")
    assert [row[3] for row in table.rows] == ["12", "3", "9"]
    assert "without 20 that were read together with a later one" in table.caption
    assert "at arrival" not in render(summary(messages=messages()))
    assert not list(table_of(findings_of([start(), sample()], summary=msgspec.to_builtins(summary())).record))
