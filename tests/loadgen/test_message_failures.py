"""Messages when something goes wrong: nobody else misses one, nothing is left, and what is lost is counted and said."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from floodtest.analysis import Record, load
from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph
from floodtest.server_under_test.routing.subscriptions import Store
from tests.loadgen.test_run_failures import workers_of
from tests.rigs.support import Comet, comet, descendants, processes_of, run_here, started, wait_until
from tests.server_under_test.test_comet import Client, asking, control, stats_when, streams

USERS = 2500
"""Enough for two fronts."""
# At less than 50 a second, not each of the generator's batches is a request: those are what messages cost most of here.
SENDING = ("--connections", str(USERS), "--messages", "25/s", "--hold", "0")


LOADER = "floodtest.server_under_test", "load"


@pytest.fixture(scope="module")
def friends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("friends") / "friends.txt"
    write_pairs(file, friend_graph(USERS, 5, seed=1), "edgelist")
    return file


@pytest.fixture(scope="module")
def many_friends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many that who looks at processes 50 times a second sees them being loaded."""
    file = tmp_path_factory.mktemp("friends") / "many.txt"
    write_pairs(file, friend_graph(200_000, 10, seed=1), "edgelist")
    return file


def record_in(out: Path) -> Record:
    """Return the record of the only run in a folder as far as it goes."""
    (file,) = out.glob("*/run.json")
    return load(file.parent)


def log_of(out: Path) -> str:
    """Return what the generator has said so far: a line a second."""
    return "".join(file.read_text() for file in out.glob("*/messages.log"))


@contextmanager
def sending(out: Path, friends: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A run whose messages have been arriving for a second."""
    with started(out, *SENDING, "--friends", str(friends), *options) as process:
        wait_until(lambda: "published" in log_of(out), "messages are published")
        yield process


def left_in(out: Path) -> list[Path]:
    """Return what is left of the store in the only record of a folder."""
    return list(record_in(out).folder.glob("subscriptions*"))


def child(process: "subprocess.Popen[str]", *words: str) -> psutil.Process:
    """Return the process that a run started itself with these words in its command line."""
    (found,) = [one for one in descendants(process, *words) if one.ppid() == process.pid]
    return found


def conclusion_of(process: "subprocess.Popen[str]", out: Path) -> dict[str, Any]:
    """Wait for the end of a run, and check what holds for its messages however it ended."""
    tree = [one.pid for one in descendants(process)]
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    wait_until(lambda: not processes_of(tree), "no process of the run is left")
    assert (record_in(out).folder / "server.log").read_text() == ""
    assert "Traceback" not in log_of(out)
    summary: dict[str, Any] = json.loads(output)
    messages = summary["messages"]
    assert messages["expected"] == messages["received"] - messages["duplicated"] + messages["lost"]
    assert messages["expected"] >= messages["published"] > 0
    assert messages["planned"] >= messages["published"]
    assert messages["received"] > 0
    assert messages["lost"] >= messages["undeliverable"] >= 0
    record = load(summary["run"])
    assert record.run["summary"] == summary
    assert not left_in(out)
    counted, sampled = messages["received"], summary["client_share"]["sampled_messages"]
    assert record.read_latency().rows[:, 1:].sum(axis=0).tolist() == [counted, counted, sampled, sampled]
    return summary


# -- runs ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_the_record_and_loses_nothing(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends, "--interval", "30s") as process:
        process.send_signal(signal.SIGINT)
        summary = conclusion_of(process, tmp_path)
    messages = summary["messages"]
    assert (process.returncode, summary["outcome"]) == (130, "interrupted")
    assert messages["published"] < messages["planned"] == 1_500
    assert messages["lost"] == messages["duplicated"] == 0
    assert summary["connections"]["opened"] == USERS


def test_ctrl_c_while_friends_are_loaded(friends: Path, tmp_path: Path) -> None:
    with started(tmp_path, *SENDING, "--friends", str(friends)) as process:
        wait_until(lambda: descendants(process, *LOADER), "friends are loaded")
        tree = [one.pid for one in descendants(process)]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    summary = json.loads(output)
    assert (summary["outcome"], summary["connections"]["not_reached"]) == ("interrupted", USERS)
    assert not left_in(tmp_path)
    wait_until(lambda: not processes_of(tree), "no process of the run is left")


def test_when_the_run_is_killed_nothing_is_left_of_it(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends, "--interval", "0.2") as process:
        wait_until(lambda: record_in(tmp_path).read_latency().rows.any(), "latencies in the record")
        assert [path.name for path in left_in(tmp_path)] == ["subscriptions"]
        tree = [one.pid for one in descendants(process)]
        assert child(process, "msggen").pid in tree
        assert len(tree) >= 6
        child(process, "floodtest.server_under_test", "serve").suspend()  # a stopped one can't notice by itself
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
    assert not left_in(tmp_path)
    record = record_in(tmp_path)
    assert record.run["stages"][-1]["name"] == record.samples[-1].stage == "messages"
    assert record.run["summary"] is None
    received = [sample.messages for sample in record.samples]
    assert received[-1] > 0
    assert record.read_latency().rows[:, 1].sum() >= received[-2]  # it is written after the sample


def test_a_second_ctrl_c_leaves_nothing_either(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends) as process:
        tree = [one.pid for one in descendants(process)]
        crew = child(process, "floodtest.flyweight.processes.nursery", "floodtest.loadgen.client.columns")
        crew.suspend()  # so that closing in order does not end before the second one
        try:
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert any("Once more to end at once" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            crew.resume()
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
    assert not left_in(tmp_path)


def loader_runs(process: "subprocess.Popen[str]", out: Path) -> bool:
    return bool(descendants(process, *LOADER))


def store_is_made(process: "subprocess.Popen[str]", out: Path) -> bool:
    return bool(list(out.glob("*/subscriptions/data.mdb")))


def friends_are_loaded(process: "subprocess.Popen[str]", out: Path) -> bool:
    """Stop the run once the loader is there, and wait for that one's end: there is no server yet to use the store."""
    if not loader_runs(process, out):
        return False
    process.send_signal(signal.SIGSTOP)
    loader = child(process, *LOADER)
    wait_until(lambda: loader.status() == psutil.STATUS_ZOMBIE, "friends are loaded")
    assert store_is_made(process, out)
    return True


@pytest.mark.parametrize("happened", [loader_runs, store_is_made, friends_are_loaded])
def test_when_the_run_is_killed_while_friends_are_loaded_nothing_is_left_of_it(
    happened: Callable[["subprocess.Popen[str]", Path], bool], many_friends: Path, tmp_path: Path
) -> None:
    with started(tmp_path, *SENDING, "--friends", str(many_friends)) as process:
        wait_until(lambda: happened(process, tmp_path), "the instant for the kill")
        tree = [one.pid for one in descendants(process)]
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
    assert not left_in(tmp_path)


def test_a_store_that_was_named_outlives_a_run_that_is_killed(friends: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "db", tmp_path / "runs"
    assert run_here("comet", "load", str(friends), "--db", str(store)).returncode == 0
    with started(out, *SENDING, "--db", str(store)) as process:
        wait_until(lambda: "published" in log_of(out), "messages are published")
        tree = [one.pid for one in descendants(process)]
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
    with Store(store) as kept:
        assert kept.counts()[1] > USERS


def test_a_front_that_is_killed_takes_only_its_own_with_it(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends, "--message-seconds", "6", "--interval", "0.2") as process:
        workers_of(process, "floodtest.server_under_test.fronts.columns")[0].kill()
        wait_until(lambda: record_in(tmp_path).samples[-1].open < USERS, "its connections are gone")
        before = record_in(tmp_path).samples[-1].messages
        summary = conclusion_of(process, tmp_path)
    connections, messages = summary["connections"], summary["messages"]
    assert (process.returncode, summary["outcome"]) == (4, "shortfall")
    assert 0 < connections["closed_early"] < USERS
    assert sum(connections["closed_by"].values()) == connections["closed_early"]
    *_, last = (sample for sample in load(summary["run"]).samples if sample.stage == "messages")
    assert last.server_open == last.open == USERS - connections["closed_early"]
    assert messages["published"] == 150
    assert messages["received"] > before + 100
    assert messages["lost"] < messages["expected"] / 4  # what was on its way to the front, and no more
    assert summary["missing"] == summary["repeated"] == 0
    assert f"{connections['closed_early']:,} connections closed early" in " ".join(summary["reasons"])


def test_a_router_that_is_killed_ends_the_run_with_a_reason(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends, "--interval", "30s") as process:  # the server's last figures are old ones
        child(process, "floodtest.server_under_test", "serve").kill()
        summary = conclusion_of(process, tmp_path)
    assert (process.returncode, summary["outcome"]) == (4, "shortfall")
    assert summary["connections"]["closed_early"] == USERS
    reasons = "\n".join(summary["reasons"])
    assert "the bundled server ended by itself; its last words are in server.log" in reasons
    assert "messages: the server does not answer" in reasons
    assert f"{summary['messages']['published']:,} of 1,500 planned were published" in reasons


def test_a_generator_that_is_killed_ends_the_run_with_a_reason(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends) as process:
        child(process, "msggen").kill()
        summary = conclusion_of(process, tmp_path)
    messages = summary["messages"]
    assert (process.returncode, summary["outcome"]) == (4, "shortfall")
    assert summary["connections"]["closed_early"] == 0
    assert (messages["lost"], messages["late"], messages["most_behind_seconds"]) == (0, None, None)
    assert summary["reasons"] == [
        "messages: their generator ended by itself; its last words are in messages.log of the record",
        f"messages: {messages['published']:,} of 1,500 planned were published",
    ]


# -- comet serve -----------------------------------------------------------------------------------------------------

AUDIENCE = 200


@contextmanager
def audience(tmp_path: Path, *options: str) -> Iterator[tuple[Comet, list[Client], ExitStack]]:
    """A server with clients that all subscribed to "news"; in the end nothing is on its way any more."""
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions([(user, "news") for user in range(1, AUDIENCE + 2)])
    with comet("--max-users", "300", "--db", str(tmp_path / "db"), *options) as server, ExitStack() as stack:
        yield server, streams(stack, server, *range(1, AUDIENCE + 1)), stack
        wait_until(lambda: on_their_way(server) == 0, "every delivery is accounted for")
        assert server.stats()["fronts"] == [None, None]


def on_their_way(server: Comet) -> int:
    """Return how many deliveries are neither written nor given up."""
    stats = server.stats()
    return int(stats["routed"] - stats["deliveries"] - stats["undeliverable"])


def publish(server: Comet, text: str) -> int:
    """Publish news; return to how many connections they are on their way."""
    answer = control(server, "POST", "/publish", json.dumps({"subject": "news", "message": text}).encode())
    assert answer.json()["messages"] == 1
    deliveries: int = answer.json()["deliveries"]
    return deliveries


def expect(clients: list[Client], number: int, text: str) -> None:
    for client in clients:
        assert client.chunk() == f"Recvd msg #{number}: {text}\n"


def narrow(server: Comet, user: int) -> socket.socket:
    """Open a stream that reads nothing, with as little room in the kernel's buffers as can be had."""
    sock = socket.socket()
    sock.settimeout(60)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 300)  # the server's buffer grows with the segments
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(asking(user))
    return sock


def test_who_stops_reading_is_cut_off_and_the_others_get_every_message(tmp_path: Path) -> None:
    text = "x" * 60_000
    with audience(tmp_path, "--limit-pending", "300000") as (server, clients, stack):
        slow = stack.enter_context(narrow(server, AUDIENCE + 1))
        stats_when(server, connections=AUDIENCE + 1)
        number = 1
        while publish(server, text) == AUDIENCE + 1:
            expect(clients, number, text)
            number += 1
            assert number < 100, "it is never cut off"
        expect(clients, number, text)
        stats_when(server, connections=AUDIENCE, slow=1, routed=number * (AUDIENCE + 1) - 1)
        for more in range(number + 1, number + 4):
            assert publish(server, text) == AUDIENCE
            expect(clients, more, text)
        got = slow.makefile("rb").read()
        whole = got.count(text.encode() + b"\n\r\n")
        assert [got.count(b"Recvd msg #%d: " % each) for each in range(1, whole + 1)] == [1] * whole
        assert whole < number - 1
        assert server.stats()["slow"] == 1


def test_who_leaves_while_messages_are_on_their_way_is_no_concern_of_the_others(tmp_path: Path) -> None:
    gone, text = 50, "x" * 1000
    with audience(tmp_path) as (server, clients, _):
        fronts: list[int] = server.stats()["pids"]["fronts"]
        assert set(fronts) <= {one.pid for one in psutil.Process(server.process.pid).children(recursive=True)}
        try:
            for front in fronts:
                os.kill(front, signal.SIGSTOP)
            stopped = [psutil.STATUS_STOPPED] * len(fronts)
            wait_until(
                lambda: [psutil.Process(front).status() for front in fronts] == stopped, "all fronts stand still"
            )
            assert publish(server, text) == AUDIENCE
            for client in clients[:gone]:
                client.__exit__()
        finally:
            for front in fronts:
                os.kill(front, signal.SIGCONT)
        others = clients[gone:]
        expect(others, 1, text)
        stats_when(server, connections=AUDIENCE - gone, undeliverable=gone, deliveries=AUDIENCE - gone)
        assert publish(server, text) == AUDIENCE - gone
        expect(others, 2, text)


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """A process that is stopped as long as the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the process stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_front_that_stands_still_costs_its_own_users_only(tmp_path: Path) -> None:
    with audience(tmp_path) as (server, clients, _):
        count, waited = 30, []
        with standing_still(server.stats()["pids"]["fronts"][0]):
            for number in range(1, count + 1):
                began = time.monotonic()
                assert publish(server, f"news {number}") == AUDIENCE
                waited.append(time.monotonic() - began)
                time.sleep(0.15)  # so that it is given up meanwhile: that is what is tested
            others = [client for client in clients if client.has_something()]
            assert 0 < len(others) < AUDIENCE
            for number in range(1, count + 1):
                expect(others, number, f"news {number}")
        assert max(waited) < 1.5, waited
        its_own = [client for client in clients if client not in others]
        for number in range(1, count + 1):
            expect(its_own, number, f"news {number}")
        stats_when(server, routed=count * AUDIENCE, deliveries=count * AUDIENCE, undeliverable=0)
        assert server.stats()["fronts_given_up"] >= 1


def test_ticks_go_on_while_a_front_stands_still(tmp_path: Path) -> None:
    with audience(tmp_path) as (server, clients, _):
        with standing_still(server.stats()["pids"]["fronts"][0]):
            control(server, "PUT", "/tick", b'{"seconds": 0.2}')
            wait_until(lambda: len(server.stats()["ticks"]) >= 8, "eight ticks")
            others = [client for client in clients if client.has_something()]
            assert 0 < len(others) < AUDIENCE
            for number in range(1, 8):
                expect(others, number, f"tick {number}")
        its_own = [client for client in clients if client not in others]
        expect(its_own, 1, "tick 1")
        assert its_own[0].chunk().startswith("Recvd msg #2: tick ")
        control(server, "PUT", "/tick", b'{"seconds": null}')
        assert server.stats()["fronts_left_out"] >= 6


def test_a_run_publishes_on_while_a_front_stands_still_and_says_that_it_did(friends: Path, tmp_path: Path) -> None:
    with sending(tmp_path, friends, "--message-seconds", "7") as process:
        front = workers_of(process, "floodtest.server_under_test.fronts.columns")[0]
        with standing_still(front.pid):
            time.sleep(4)  # beyond what a front is waited for: that is what is tested
        summary = conclusion_of(process, tmp_path)
    messages = summary["messages"]
    assert (process.returncode, messages["published"]) == (4, messages["planned"])
    assert [reason for reason in summary["reasons"] if "a front of the bundled server was given up" in reason]
    assert (messages["duplicated"], messages["lost"]) == (0, 0)
    assert messages["latency_ms"]["max"] > 3000
    assert messages["latency_ms"]["p50"] < 1000


def test_who_comes_and_goes_all_the_while_costs_the_others_nothing(tmp_path: Path) -> None:
    with audience(tmp_path) as (server, clients, stack):
        visitors, others = clients[:50], clients[50:]
        for number in range(1, 61):
            text = f"news {number}"
            assert publish(server, text) >= len(others)
            for index in range(number % 5, len(visitors), 5):
                visitors[index].__exit__()
                (visitors[index],) = streams(stack, server, index + 1)
            expect(others, number, text)
        stats_when(server, connections=AUDIENCE)
        assert publish(server, "the last") == AUDIENCE
        expect(others, 61, "the last")
