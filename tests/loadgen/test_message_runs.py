"""Messages from their plan to the read: `floodtest run --messages`, and `comet msggen` against a server of its own."""

import gzip
import json
import re
import socket
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from floodtest.analysis import Record, load
from floodtest.datagen.files import Pairs, write_pairs
from floodtest.datagen.graph import friend_graph
from floodtest.loadgen.client import histogram
from floodtest.loadgen.run.latencies import WATCHED_AT_LEAST
from floodtest.loadgen.run.message_processes import Friends, load_friends, look_into_store, removed_in_the_end
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire import stamp
from tests.rigs.client import ClientRig, message
from tests.rigs.support import HEAD, Comet, chunk, comet, flood, run, scripted_server, user_of
from tests.server_under_test.test_comet import Client, control, streams

USERS, FRIENDS = 3000, 5
PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")
BUCKET = 1.008
"""By how much a latency may be too high."""


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return friend_graph(USERS, FRIENDS, seed=1)


@pytest.fixture(scope="module")
def summary(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with friends in which everything goes as planned."""
    folder = tmp_path_factory.mktemp("friends")
    write_pairs(folder / "friends.txt", pairs, "edgelist")
    code, summary, errors = flood(
        folder / "runs", "--connections", str(USERS), "--friends", str(folder / "friends.txt"),
        "--messages", "500/s", "--message-seconds", "2", "--hold", "0", "--interval", "0.25",
    )  # fmt: skip
    assert (code, summary["outcome"], summary["reasons"]) == (0, "ok", []), errors
    return summary


@pytest.fixture(scope="module")
def record(summary: dict[str, Any]) -> Record:
    return load(summary["run"])


# -- a run that goes well --------------------------------------------------------------------------------------------


def test_every_planned_message_is_published_and_every_delivery_arrives(summary: dict[str, Any], pairs: Pairs) -> None:
    messages = summary["messages"]
    assert messages["planned"] == messages["published"] == 1000
    assert messages["lost"] == messages["duplicated"] == messages["undeliverable"] == 0
    assert messages["expected"] == messages["received"]
    copies = 1 + np.bincount(np.unique(pairs, axis=0)[:, 1], minlength=USERS + 1)[1:]  # of a message about each user
    assert 1000 * copies.min() <= messages["received"] <= 1000 * copies.max()
    assert messages["received"] == pytest.approx(1000 * copies.mean(), rel=0.01)  # 14 standard deviations
    assert summary["received"] == USERS + messages["received"]
    assert summary["missing"] == summary["repeated"] == 0


def test_latencies_ascend_and_those_from_the_publishing_are_lower(summary: dict[str, Any]) -> None:
    planned, published = summary["messages"]["latency_ms"], summary["messages"]["uncorrected_latency_ms"]
    for latencies in (planned, published):
        ascending = [latencies[name] for name in PERCENTILES]
        assert ascending == sorted(ascending)
        assert 0 < ascending[0] <= ascending[-1] < 10_000
    for name in PERCENTILES:
        assert published[name] <= planned[name] * BUCKET
    assert published["p50"] < planned["p50"]  # a batch is published every 20 ms


def test_of_a_sample_it_is_known_when_messages_arrived(summary: dict[str, Any]) -> None:
    share = summary["client_share"]
    assert WATCHED_AT_LEAST <= share["sampled_connections"] < USERS / 4
    assert 0 < share["sampled_messages"] + share["shared"] <= summary["messages"]["received"]
    for name in PERCENTILES:
        assert share["arrival_ms"][name] <= share["read_ms"][name] <= summary["messages"]["latency_ms"]["max"] * BUCKET
    assert share["note"] is None


def test_samples_show_the_messages_as_they_come(record: Record, summary: dict[str, Any]) -> None:
    assert [stage["name"] for stage in record.run["stages"]] == ["start", "ramp", "hold", "messages", "close"]
    samples = [sample for sample in record.samples if sample.stage == "messages"]
    for name in ("messages", "server_messages", "server_routed"):
        counts = [getattr(sample, name) for sample in samples]
        assert counts == sorted(counts)
        assert len(set(counts)) > 2
        assert counts[0] == 0
    last = samples[-1]
    assert (last.messages, last.server_messages) == (summary["messages"]["received"], 1000)
    seen = [sample for sample in samples if sample.latency_p50 is not None]
    assert len(seen) > 1
    for sample in seen:
        assert 0 < (sample.latency_p50 or 0) <= (sample.latency_p99 or 0) <= (sample.latency_max or 0)
    highest = max(sample.latency_max or 0 for sample in seen)
    assert highest == pytest.approx(summary["messages"]["latency_ms"]["max"], abs=0.001)


def test_the_latencies_in_the_record_are_all_of_them(record: Record, summary: dict[str, Any]) -> None:
    received = summary["messages"]["received"]
    milliseconds, planned, published, sampled, arrived = record.read_latency().rows.T
    assert (planned.sum(), published.sum()) == (received, received)
    assert sampled.sum() == arrived.sum() == summary["client_share"]["sampled_messages"]
    half = milliseconds[np.searchsorted(np.cumsum(planned), np.ceil(received / 2))]
    assert half == pytest.approx(summary["messages"]["latency_ms"]["p50"], abs=0.001)
    assert milliseconds[-1] == pytest.approx(summary["messages"]["latency_ms"]["max"], abs=0.001)


def test_the_record_keeps_the_summary_and_not_the_store(record: Record, summary: dict[str, Any]) -> None:
    assert record.run["summary"] == summary
    assert {path.name for path in record.folder.iterdir()} == {
        "run.json", "samples.csv", "states.u8", "ports.u16", "server.log", "latency.csv", "messages.log",
    }  # fmt: skip
    assert (record.folder / "server.log").read_text() == ""
    assert "published 1,000 of 1,000 messages" in (record.folder / "messages.log").read_text()


def test_friends_as_people_have_them_are_loaded_and_it_is_said_who_is_no_user_of_the_run(tmp_path: Path) -> None:
    rows = "".join(f"{number * 7}\t{(number + 1) % 110 * 7}\t0.5\n" for number in range(110))
    (tmp_path / "soc.txt").write_bytes(gzip.compress(f"# FromNodeId\tToNodeId\n{rows}".encode()))
    code, summary, errors = flood(
        tmp_path / "runs", "--connections", "100", "--friends", str(tmp_path / "soc.txt"), "--renumber",
        "--messages", "200/s", "--message-seconds", "1", "--hold", "0",
    )  # fmt: skip
    assert (code, summary["outcome"]) == (0, "ok"), errors
    assert summary["messages"]["expected"] == summary["messages"]["received"]
    assert (
        390 <= summary["messages"]["received"] <= 400
    )  # each goes to its user and to one who subscribed, if connected
    record = Path(summary["run"])
    assert "soc.txt has 3 columns; the first two are the pair." in errors
    assert f"10 of the 110 users of {tmp_path}/soc.txt are not among the 100 of this run." in errors
    assert f"{record}/friends.ids.csv has the ids that users have in {tmp_path}/soc.txt." in errors
    originals = "".join(f"{number + 1},{number * 7}\n" for number in range(110))
    assert (record / "friends.ids.csv").read_text() == f"user,original\n{originals}"
    assert load(record).run["options"]["renumber"] is True


def test_the_parts_of_a_parquet_file_and_their_columns_are_loaded(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow, the extra parquet, is not installed")
    parts, store = tmp_path / "parts", tmp_path / "store"
    parts.mkdir()
    write_pairs(parts / "a.parquet", np.array([[1, 2], [3, 2]], np.uint32), "parquet")
    write_pairs(parts / "b.parquet", np.array([[4, 7]], np.uint32), "parquet")

    async def load_them() -> list[str]:
        async with removed_in_the_end(tmp_path / "held") as held:
            return await load_friends(Friends(parts, ("subject", "subscriber")), store, held, 100)

    assert trio.run(load_them) == []
    with Store(store) as opened:
        assert [opened.subscribers(user).tolist() for user in (1, 2, 3, 4, 7)] == [[2], [], [2], [7], []]


def test_a_store_without_users_of_the_run_is_refused_and_one_with_some_is_told(tmp_path: Path) -> None:
    store = tmp_path / "db"
    with Store(store, create=True) as opened:
        opened.add_subscriptions([(101, 102), (103, "photo:9")])
    options = "--connections", "100", "--messages", "10", "--hold", "0", "--db", str(store)
    code, summary, _ = flood(tmp_path / "runs", *options)
    assert (code, summary["outcome"]) == (3, "refused")
    words = f"None of the 3 users of {store} is among the 100 users of this run, whose ids go from 1 to 100."
    assert summary["reasons"][0].startswith(words)
    (folder,) = (tmp_path / "runs").glob("*")
    assert not load(folder).read_states().any()
    assert trio.run(look_into_store, store, 101) == [f"2 of the 3 users of {store} are not among the 101 of this run."]
    assert trio.run(look_into_store, store, 103) == []


def test_without_subscriptions_a_message_goes_to_its_subject_only(tmp_path: Path) -> None:
    code, summary, errors = flood(
        tmp_path, "--connections", "1000", "--messages", "500", "--message-seconds", "1", "--hold", "0"
    )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    messages = summary["messages"]
    assert messages["published"] == messages["expected"] == messages["received"] == 500


def test_a_token_of_another_server_does_not_disturb_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_TOKEN", "of another server")
    code, summary, errors = flood(
        tmp_path, "--connections", "100", "--messages", "100", "--message-seconds", "1", "--hold", "1", "--tick", "0.5s"
    )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    assert summary["messages"]["received"] == summary["messages"]["published"] == 100
    assert [tick["received"] for tick in summary["ticks"]] == [tick["sent"] for tick in summary["ticks"]] != []


def test_a_store_that_was_named_says_who_gets_what_and_stays(tmp_path: Path) -> None:
    users, each = 1000, 4
    ring = [(1 + (user + step) % users, 1 + user) for user in range(users) for step in range(1, each + 1)]
    not_connected = [(users + 1 + user % 7, 1 + user) for user in range(users)]
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions(ring + not_connected)
    code, summary, errors = flood(
        tmp_path / "runs", "--connections", str(users), "--db", str(tmp_path / "db"),
        "--messages", "300", "--message-seconds", "1", "--hold", "0", "--message-size", "1000",
    )  # fmt: skip
    assert (code, summary["outcome"]) == (0, "ok"), errors
    messages = summary["messages"]
    assert messages["expected"] == messages["received"] == 300 * (1 + each)
    assert summary["bytes"] > 1000 * messages["received"]
    with Store(tmp_path / "db") as store:
        assert store.counts() == (users, len(ring) + len(not_connected))


def test_more_than_a_machine_carries_is_a_shortfall_that_says_how_far_behind(tmp_path: Path) -> None:
    code, summary, errors = flood(
        tmp_path, "--connections", "2000", "--messages", "1000000/s", "--message-seconds", "1", "--hold", "0"
    )
    assert (code, summary["outcome"]) == (4, "shortfall"), errors
    messages = summary["messages"]
    assert messages["planned"] == 1_000_000
    assert 0 < messages["published"] < messages["planned"]
    assert messages["expected"] == messages["received"] == messages["published"]
    assert messages["lost"] == messages["duplicated"] == 0
    assert messages["late"] > 0
    assert messages["latency_ms"]["max"] > 100
    (reason,) = summary["reasons"]
    found = re.search(r"1,000,000 planned were published, and the last one ([\d.]+) s behind its time", reason)
    assert found, reason
    assert float(found[1]) == pytest.approx(messages["most_behind_seconds"], abs=0.06)
    assert float(found[1]) > 0.1
    (stage,) = [stage for stage in load(summary["run"]).run["stages"] if stage["name"] == "messages"]
    assert stage["end"] - stage["start"] < 60


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--friends", None, "There is no file {}"),
        ("--friends", "1 2\n3 x\n", "{}, line 2"),
        ("--friends", "0 1\n", "With --renumber, "),
        ("--friends", "1,2,3\n", "there are 3 columns without names"),
        ("--friends", "101 102\n101 103\n", "None of the 3 users of {} is among the 100 users of this run"),
        ("--db", None, "There is no subscription store in {}"),
        ("--db", "1 2\n", "There is no subscription store in {}"),
    ],
    ids=["no file", "a malformed line", "ids from 0", "unclear columns", "strangers", "no store", "a file for a store"],
)
def test_friends_that_cannot_be_had_are_refused(option: str, text: str | None, words: str, tmp_path: Path) -> None:
    named = tmp_path / "named"
    if text is not None:
        named.write_text(text)
    code, summary, errors = flood(
        tmp_path / "runs", "--connections", "100", "--messages", "10", "--hold", "0", option, str(named)
    )
    assert (code, summary["outcome"], summary["run"]) == (3, "refused", None)
    (reason,) = summary["reasons"]
    assert words.format(named) in reason
    assert reason in errors
    assert "Traceback" not in errors
    for folder in (tmp_path / "runs").glob("*"):
        assert not load(folder).read_states().any()  # not one connection was begun
        assert not (folder / "subscriptions").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--messages", "5", "--target", "http://127.0.0.1:1/{user}"), "--messages to a server of yours needs"),
        (("--messages", "5", "--publish", "http://h/"), "--publish and --deliver-to are for a server of yours"),
        (("--messages", "5", "--target", "http://h/{user}", "--publish", "h/x"), "--publish takes a URL of ASCII"),
        (
            ("--messages", "5", "--target", "http://h/{user}", "--publish", "http://h/", "--publish-body", "x"),
            "--publish-body needs {message} in it",
        ),
        (
            ("--messages", "5", "--target", "http://h/{user}", "--publish", "http://h/", "--db", "d"),
            "--friends and --db are for our own server",
        ),
        (("--messages", "5", "--publish-header", "x"), "--publish-header takes a header such as"),
        (("--messages", "5", "--deliver-to", "all"), "--publish and --deliver-to are for a server of yours"),
        (("--publish", "http://h/", "--deliver-to", "all"), "--publish and --deliver-to are for --messages"),
        (("--message-seconds", "5"), "--message-seconds is for --messages: say that as well"),
        (("--messages", "5", "--target", "http://h/", "--publish", "http://h/"), "--publish says nowhere who gets"),
        (
            ("--messages", "5", "--target", "http://h/", "--publish", "http://h/{user}", "--deliver-to", "all"),
            "--deliver-to all is for messages that are about nobody",
        ),
        (
            ("--messages", "5", "--target", "http://h/", "--publish", "http://h/{user}", "--message-size", "30"),
            "--message-size must be at least",
        ),
        (("--friends", "f"), "--friends and --db are for --messages"),
        (("--messages", "5", "--friends", "f", "--db", "d"), "--friends and --db say the same thing"),
        (("--messages", "5", "--renumber"), "--columns and --renumber are for --friends"),
        (("--messages", "5", "--db", "d", "--columns", "1,2"), "--columns and --renumber are for --friends"),
        (
            ("--messages", "5", "--friends", "f", "--columns", "1"),
            "--columns takes the names or numbers of two columns",
        ),
        (("--messages", "5", "--message-size", "5"), "--message-size takes 30 bytes"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value,
)
def test_nonsense_about_messages_is_named(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    code, _, errors = flood(tmp_path, "--connections", "10", *arguments)
    assert code == 2
    assert words in errors
    assert not list(tmp_path.iterdir())


# -- who gets what, held against a dictionary ------------------------------------------------------------------------

PEOPLE = 100


def generate(server: Comet) -> dict[str, Any]:
    """Publish 400 messages about users, the same ones each time; return what their generator says."""
    done = run(
        "comet", "msggen", "--control", f"http://127.0.0.1:{server.control}", "--json",
        "--rate", "400/s", "--seconds", "1", "--users", str(PEOPLE), "--seed", "2008",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert (said["planned"], said["published"], said["unpublished"]) == (400, 400, 0)
    return said


class Reader:
    """A client that counts its messages; each must have the number after that of the one before."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.number = 0

    def count_until(self, text: str) -> int:
        """Return how many messages come before one with this text."""
        before = self.number
        while True:
            self.number += 1
            found = self.client.chunk()
            start = f"Recvd msg #{self.number}: "
            assert found.startswith(start)
            if found == f"{start}{text}\n":
                return self.number - before - 1


def counts_of(server: Comet, readers: list[Reader], text: str) -> list[int]:
    """End what was sent so far with a message to all; return how many every client got before it."""
    line = json.dumps({"subject": "all", "message": text}).encode()
    assert control(server, "POST", "/publish", line).json() == {"messages": 1, "deliveries": len(readers)}
    return [reader.count_until(text) for reader in readers]


def test_each_client_gets_what_a_dictionary_says(tmp_path: Path) -> None:
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions([(user, "all") for user in range(1, PEOPLE + 1)])
    subscriptions = {(a, b) for a, b in friend_graph(PEOPLE + 20, 3, seed=2).tolist()} | {(5, 5), (PEOPLE + 1, 7)}
    with comet("--max-users", "200", "--db", str(tmp_path / "db")) as server, ExitStack() as stack:
        users = [*range(1, PEOPLE + 1), 1]  # one of them twice
        readers = [Reader(client) for client in streams(stack, server, *users)]
        said = generate(server)
        counts = counts_of(server, readers, "that was one")
        assert counts[0] == counts[-1] > 0
        assert said["deliveries"] == sum(counts)
        about = Counter(dict(zip(users, counts, strict=True)))
        assert about.total() == 400

        lines = "\n".join(json.dumps({"subscriber": a, "subject": b}) for a, b in sorted(subscriptions))
        assert control(server, "POST", "/subscriptions", lines.encode()).json()["added"] == len(subscriptions)
        said = generate(server)
        others = {user: sum(about[b] for a, b in subscriptions if a == user != b) for user in users}
        expected = [about[user] + others[user] for user in users]
        assert counts_of(server, readers, "that was two") == expected
        assert said["deliveries"] == sum(expected) > 2 * 400
        stats = server.stats()
        assert stats["routed"] == stats["deliveries"] == sum(reader.number for reader in readers)
        assert (stats["messages"], stats["undeliverable"]) == (2 * (400 + 1), 0)


# -- the instrument --------------------------------------------------------------------------------------------------


def stamped(planned: int, late_us: int) -> bytes:
    return stamp.FORMAT % (planned, late_us) + b"x" * 70


def test_lost_and_repeated_messages_with_stamps_are_found(tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        user = user_of(connection.recv(4096))
        connection.sendall(HEAD + chunk(b"Welcome, user %b\n" % user))
        for number in (1, 2, 4, 5, 5):
            connection.sendall(message(number, stamped(time.monotonic_ns(), int(user))))

    with scripted_server(handle) as target:
        code, summary, _ = flood(tmp_path, "--target", target, "--connections", "100", "--hold", "1")
    assert (code, summary["outcome"], summary["received"]) == (4, "shortfall", 600)
    assert (summary["missing"], summary["repeated"]) == (100, 100)
    assert summary["reasons"] == ["message numbers show 100 missing and 100 repeated messages"]
    assert summary["messages"] is None


LATENCY_MS, LATE_MS = 2500, 1000


@pytest.mark.parametrize("users", [1, 3, 200])
def test_latencies_are_the_time_from_the_stamp_to_the_read(users: int, rig: ClientRig) -> None:
    """One by one, a few at a time, and enough to be taken apart by the column."""
    servers = rig.open(*range(1, users + 1))
    for number in range(1, 1 + 600 // users):
        for server in servers:
            planned = time.monotonic_ns() - LATENCY_MS * 1_000_000
            server.sendall(message(number, stamped(planned, LATE_MS * 1000)))
        rig.settle()
    ledger = rig.ledger
    found = [histogram.microseconds_at([0, 0.5], ledger.total(name)) for name in ("latency", "latency_published")]
    assert ledger.total("latency").sum() == ledger.total("messages") == 600 // users * users
    (lowest, middle), (lowest_published, middle_published) = (figures or pytest.fail("no latency") for figures in found)
    assert LATENCY_MS * 1000 <= lowest <= middle < 2_750_000
    assert (LATENCY_MS - LATE_MS) * 1000 <= lowest_published <= middle_published < 1_750_000
    assert middle - middle_published == pytest.approx(LATE_MS * 1000, abs=0.008 * (middle + middle_published))
