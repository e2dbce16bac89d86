"""--latency: times that a server writes into its messages, by both models of the client, and what may be asked for."""

import json
import re
import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from floodtest.analysis import load
from floodtest.analysis.pages.report_tables import server_times as tables
from floodtest.analysis.record.summary import Latency, ServerTimes
from floodtest.flyweight.engine.intake import Reads
from floodtest.loadgen.client.histogram import MAX, sparse
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import CLIENT_MODELS
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.preflight.outlook import look
from floodtest.loadgen.run.latencies import latency_of, remarks_on_times, times_of
from floodtest.loadgen.run.reading import Counters, Sent
from floodtest.wire.grammar import Times
from floodtest.wire.open_when import OpenWhen
from tests.rigs.client import AccountsReader, ClientRig, welcome
from tests.rigs.figures import reading, server_times
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.support import HEAD, chunk, flood, run_here, scripted_server

GRAMMAR = Times(r"t=(?P<us>\S+)")
SECOND, HOUR = 10**6, 3600 * 10**6
PLAN = Plan(1, 10, "127.0.1.1", 1024, 10)
OPTIONS = RunOptions(PLAN, target="http://127.0.0.1:8080/", latency=GRAMMAR.pattern)


def said(*before_us: int | None) -> bytes:
    """Messages that were sent so many microseconds ago, and one for each None without a time."""
    now = time.time_ns() // 1000
    return b"".join(chunk(b"none\n" if one is None else b"t=%d\n" % (now - one)) for one in before_us)


MESSAGES = (SECOND, -HOUR, 2 * HOUR, None, SECOND)
FOUND = (2, 1, 1, 1)


def test_what_comes_before_its_connection_is_open_was_read_when_it_was(tmp_path: Path) -> None:
    rig = ClientRig(tmp_path, open_when=OpenWhen("text:ready"), grammar=GRAMMAR)
    rig.connect(1)
    rig.feed(1, HEAD, said(0) + chunk(b"none\n"), chunk(b"none\n"))
    time.sleep(0.5)
    rig.feed(1, said(0, SECOND) + chunk(b"ready\n"))
    latency = latency_of(sparse(rig.ledger.total("latency")))
    assert (rig.received[0], rig.sent) == (6, (3, 0, 0, 0))
    assert latency is not None
    assert latency.p50 < 400
    assert latency.max >= 1000
    rig.end()


def test_what_was_sent_while_its_sweep_was_read_is_not_ahead(tmp_path: Path) -> None:
    reader = AccountsReader(tmp_path, 1)
    reads, now = Reads(), time.monotonic_ns()
    reads.add([1, 2], [b"a", b"b"], now - 4_000_000_000, now - 2_000_000_000)
    reads.add([3], [b"c"], now, now)
    assert reads.ends().tolist() == [now - 2_000_000_000] * 2 + [now]
    sent = time.time_ns() - np.array([3_500_000_000, 2_500_000_000, 1_000_000_000, 500_000_000])
    rows = [0, 0, 0, 2]  # the first of them is taken to be read three seconds ago
    reader.accounts.latency.sent(reads.times()[rows], reads.ends()[rows], sent)
    assert reader.sent == (3, 1, 0, 0)
    latency = latency_of(sparse(reader.ledger.total("latency")))
    assert latency is not None
    assert latency.max < 600
    reader.end()


def test_what_is_no_latency_is_counted_apart_in_columns(tmp_path: Path) -> None:
    rig = ClientRig(tmp_path, grammar=GRAMMAR)
    rig.open(1, 2)
    rig.feed(1, said(*MESSAGES) + chunk(b"t=now\n"))
    assert rig.sent == FOUND
    assert (rig.received[0], rig.out_of_sequence, rig.ledger.total("messages")) == (6, (0, 0), 0)
    whole = said(*MESSAGES)
    rig.feed(2, whole[:30], whole[30:])
    assert rig.sent == (4, 2, 2, 1)
    rig.end()


def test_what_is_no_latency_is_counted_apart_by_httpx(tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, 1, grammar=GRAMMAR)
    rig.feed({1: [welcome(1), said(*MESSAGES), chunk(b"t=now\n")]})
    assert (rig.sent, rig.received[0]) == (FOUND, 7)
    rig.end()


def test_a_latency_is_that_by_the_clock_of_the_day(tmp_path: Path) -> None:
    rig = ClientRig(tmp_path, grammar=replace_offset(GRAMMAR, 500_000_000))
    rig.open(1)
    rig.feed(1, said(SECOND))
    latency = times_of(reading(latency={int(rig.ledger.total("latency").argmax()): 1}), 0.5)
    assert latency is not None
    assert latency.latency_ms is not None
    assert 1500 <= latency.latency_ms.p50 < 2500
    rig.end()


def replace_offset(grammar: Times, ahead_ns: int) -> Times:
    return Times(grammar.pattern, ahead_ns)


def test_an_answer_with_a_time_in_it_teaches_nothing(tmp_path: Path) -> None:
    """Answers that are alike are not looked into, so that the times in them would not be counted."""
    rig = ClientRig(tmp_path, grammar=GRAMMAR)
    late = welcome(1) + said(SECOND)
    for user in (1, 2, 3):
        rig.connect(user).sendall(late.replace(b"user 1", b"user %d" % user))
        rig.settle()
    assert (rig.sent[0], rig.received[0]) == (3, 6)
    rig.end()


def test_times_in_messages_before_the_one_that_opens_are_counted_as_well(tmp_path: Path) -> None:
    rig = ClientRig(tmp_path, grammar=GRAMMAR)
    server = rig.connect(1)
    head, _, body = welcome(1).partition(b"\r\n\r\n")
    server.sendall(head + b"\r\n\r\n" + said(SECOND, None))
    rig.settle()
    server.sendall(body)
    rig.settle()
    assert (rig.sent, rig.received[0]) == ((1, 0, 0, 0), 3)
    rig.end()


# -- the summary -----------------------------------------------------------------------------------------------------


def test_all_messages_are_accounted_for() -> None:
    counters = Counters(received=100, bytes=0, missing=0, repeated=0, jumps=0, messages=0)
    found = times_of(reading(counters=counters, latency={100: 80}, sent=Sent(ahead=1, old=2, unreadable=3)), -1.5)
    assert found == ServerTimes(
        timed=80,
        ahead=1,
        old=2,
        unreadable=3,
        without=14,
        clock_offset_seconds=-1.5,
        latency_ms=Latency(0.1, 0.1, 0.1, 0.1, 0.1),
    )
    assert times_of(reading(latency={100: 80}), None) is None


def test_what_may_be_wrong_is_said() -> None:
    ahead, old, unreadable = remarks_on_times(server_times())
    assert ahead.startswith("latency: 3 messages say that they were sent after they were read: the server's clock is")
    assert old.startswith(f"latency: 2 messages say that they were sent over {MAX // 60_000_000} minutes ago")
    assert "what is no time" in unreadable
    assert remarks_on_times(None) == []
    none = server_times(timed=0, ahead=0, old=0, unreadable=0)
    assert remarks_on_times(none) == ["latency: --latency finds no time in any of 1,000 messages"]


# -- what may be asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"clock_offset": -86_400.0}, None),
        ({"target": None}, "--latency is for a server that was named with --target"),
        ({"latency": None, "clock_offset": 0.0}, "--clock-offset is for the times that --latency finds"),
        ({"messages": MessageOptions(5.0, publish=("POST", "http://a/{user}"))}, "--latency and --messages both say"),
        ({"latency": "(?P<ms>"}, "--latency: '(?P<ms>' is no regular expression"),
        ({"clock_offset": 86_401.0}, "--clock-offset must be within a day"),
        ({"clock_offset": float("nan")}, "--clock-offset must be within a day"),
    ],
)
def test_what_contradicts_itself(changes: dict[str, Any], words: str | None) -> None:
    found = problems(replace(OPTIONS, **changes))
    assert found == [] if words is None else [one for one in found if one.startswith(words)] == found != []


@pytest.mark.parametrize(("offset", "is_refused"), [(None, True), (0.0, False), (-0.25, False)])
def test_the_clock_of_another_machine_needs_its_offset(offset: float | None, is_refused: bool) -> None:
    there = replace(OPTIONS, target="http://198.51.100.1/", clock_offset=offset)
    refusals = look(there).refusals()
    assert (
        any("198.51.100.1 is on another machine" in one and "--clock-offset" in one for one in refusals) == is_refused
    )


def test_a_target_here_needs_no_offset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = replace(OPTIONS, target=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert not [one for one in look(here).refusals() if "--latency" in one]


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--latency", r"(\d+)", "--latency takes a regular expression with one group named s, ms, us, ns, iso"),
        ("--clock-offset", "2d", "--clock-offset takes a duration of a day at the most"),
        ("--clock-offset", "-86401", "--clock-offset takes a duration of a day at the most"),
    ],
)
def test_a_text_that_is_none_is_a_usage_error(option: str, text: str, words: str) -> None:
    done = run_here("floodtest", "plan", "--target", "http://127.0.0.1:1/", option, text)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


# -- a run and a probe -----------------------------------------------------------------------------------------------

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
ISO = r'"at":"(?P<iso>[^"]+)"'


def serve(connection: socket.socket) -> None:
    """Send three events with the time in them, and one without."""
    with suppress(OSError):
        connection.recv(4096)
        connection.sendall(EVENTS)
        for number in range(3):
            now = datetime.now(UTC).isoformat().encode()
            connection.sendall(b'data: {"n": %d, "at":"%b"}\n\n' % (number, now))
            time.sleep(0.05)
        connection.sendall(b"data: no time\n\n")
        connection.recv(1)


@pytest.mark.parametrize("client", CLIENT_MODELS)
def test_a_run_tells_the_latency_and_where_it_is_from(client: str, tmp_path: Path) -> None:
    with scripted_server(serve) as target:
        options = ("--target", target, "--connections", "20", "--hold", "1", "--client", client, "--latency", ISO)
        code, summary, errors = flood(tmp_path, *options, "--fail-if", "latency.p99 > 30s")
    assert (code, summary["outcome"]) == (0, "ok"), errors
    times = summary["server_times"]
    counts = [times[name] for name in ("timed", "without", "ahead", "old", "unreadable")]
    assert counts == [60, 20, 0, 0, 0]
    assert 0 < times["latency_ms"]["p50"] < 30_000
    assert summary["messages"] is None
    share = summary["client_share"]
    if client == "httpx":
        assert (share["sampled_connections"], share["note"]) == (0, "the client model httpx does not see its sockets")
    else:
        assert (share["sampled_connections"], share["note"]) == (20, None)
        assert 0 < share["sampled_messages"] <= 60 - share["shared"]
        assert share["arrival_ms"]["p50"] <= share["read_ms"]["p50"] <= share["read_ms"]["max"]
    (folder,) = tmp_path.iterdir()
    record = load(folder)
    assert record.read_latency().rows[:, 1].sum() == 60
    latency, told = tables(record)
    assert "by the time in the server's messages" in latency.caption
    assert told.rows[:2] == [("with a time", "60"), ("without a time", "20")]
    assert json.loads((folder / "run.json").read_text())["options"]["latency"] == ISO


def test_a_probe_shows_the_times_that_it_finds() -> None:
    with scripted_server(serve) as target:
        done = run_here("floodtest", "probe", "--target", target, "--latency", ISO)
        assert re.search(r"sent +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d.\d{6}\+00:00, by --latency", done.stdout), done.stdout
        done = run_here("floodtest", "probe", "--target", target, "--latency", r"t=(?P<s>\d+)")
        assert "sent       no time that --latency finds" in done.stdout
