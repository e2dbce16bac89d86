"""Messages and subscriptions by the control API of a real `comet serve`, with raw sockets as its subscribers."""

import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
import trio
from starlette.applications import Starlette
from trio.testing import MockClock, wait_all_tasks_blocked

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.control import messages as messages_api
from floodtest.server_under_test.routing.router import Router
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.control import MAX_BATCH, MAX_BATCH_BYTES
from tests.rigs.support import Comet, comet, run_here, wait_until
from tests.server_under_test.test_comet import Client, asking, control, stats_when, streams

MAX_USERS = 20_000
KIB_64 = 1 << 16
BAD_SUBJECTS: list[object] = [0, -1, 2**32, 10**30, "0", "9" * 5000, "", "x" * 256, "é" * 128, None, True, 1.5, [7]]

users = count(1)
"""Each test takes users from here whom no other test has."""


WAYS = {"memory": (), "valkey": ("--bus", "valkey:")}
"""Of messages to the fronts: the answers and what arrives are alike."""


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return WAYS[request.param]


@pytest.fixture(scope="module")
def db(way: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "db"
    Store(folder, create=True).close()
    return folder


@pytest.fixture(scope="module")
def server(way: tuple[str, ...], db: Path) -> Iterator[Comet]:
    with comet("--max-users", str(MAX_USERS), "--db", str(db), *way) as one:
        yield one


@pytest.fixture(scope="module")
def without_store() -> Iterator[Comet]:
    with comet("--max-users", str(MAX_USERS)) as one:
        yield one


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def message(subject: object, text: object = "x") -> bytes:
    return json.dumps({"subject": subject, "message": text}).encode()


def pair(subscriber: object, subject: object) -> bytes:
    return json.dumps({"subscriber": subscriber, "subject": subject}).encode()


def accepted(server: Comet, method: str, path: str, *lines: bytes) -> dict[str, Any]:
    """Send a batch that makes sense; return the answer."""
    answer = control(server, method, path, b"\n".join(lines))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def refused(server: Comet, method: str, path: str, *lines: bytes) -> tuple[int, str]:
    answer = control(server, method, path, b"\n".join(lines))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.status_code, answer.text


def deliveries(server: Comet, subject: object, text: str = "x") -> int:
    """Publish a message; return to how many connections it is on its way."""
    answer = accepted(server, "POST", "/publish", message(subject, text))
    assert answer == {"messages": 1, "deliveries": answer["deliveries"]}
    return int(answer["deliveries"])


def subscribe(server: Comet, *pairs: tuple[int, object]) -> int:
    answer = accepted(server, "POST", "/subscriptions", *(pair(*each) for each in pairs))
    assert answer["pairs"] == len(pairs)
    return int(answer["added"])


def subscribers(server: Comet, subject: int | str) -> list[int]:
    answer = control(server, "GET", f"/subscriptions?subject={quote(str(subject))}").json()
    assert answer == {"subject": subject, "subscribers": answer["subscribers"]}
    found: list[int] = answer["subscribers"]
    return found


def nothing_is_on_its_way(server: Comet) -> bool:
    """Return whether each delivery that was routed is in one count or the other."""
    stats = server.stats()
    return bool(stats["routed"] == stats["deliveries"] + stats["undeliverable"])


def assert_next(server: Comet, client: Client, user: int, number: int = 1) -> None:
    """Check that the next message a client gets is one that is sent now: nothing came before it."""
    assert deliveries(server, user, "what comes next") == 1
    assert client.chunk() == f"Recvd msg #{number}: what comes next\n"


def test_ids_may_be_far_higher_than_connections_are_many(tmp_path: Path, stack: ExitStack) -> None:
    highest = 600_000_000
    fans = list(range(1, highest, highest // 20_000))
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions([(fan, highest) for fan in fans])
    sizes = ("--max-users", str(highest), "--max-connections", "200", "--db", str(tmp_path / "db"))
    server = stack.enter_context(comet(*sizes))
    clients = streams(stack, server, highest, fans[7], fans[-1], 300_000_002)
    assert deliveries(server, highest, "to the fans") == 3
    for client in clients[:3]:
        assert client.chunk() == "Recvd msg #1: to the fans\n"
    assert_next(server, clients[3], 300_000_002)
    shared = re.search(r"RssShmem:\s+(\d+) kB", Path(f"/proc/{server.stats()['pids']['parent']}/status").read_text())
    assert shared is not None
    assert int(shared[1]) < 10_000  # the router has looked up all fans, and nobody but four has a page
    with Client(server, asking(highest + 1)) as stranger:
        assert stranger.head()[0] == 503


# -- who gets a message ----------------------------------------------------------------------------------------------


def test_subscribers_and_the_subject_itself_get_a_message_and_nobody_else(server: Comet, stack: ExitStack) -> None:
    about, first, second, other = (next(users) for _ in range(4))
    assert subscribe(server, (first, about), (second, about), (first, other)) == 3
    clients = streams(stack, server, about, first, second)
    (stranger,) = streams(stack, server, other)
    assert deliveries(server, about, "Hello") == 3
    assert [client.chunk() for client in clients] == ["Recvd msg #1: Hello\n"] * 3
    assert deliveries(server, other, "to the other one and the first") == 2
    assert stranger.chunk() == "Recvd msg #1: to the other one and the first\n"
    assert clients[1].chunk() == "Recvd msg #2: to the other one and the first\n"


@pytest.mark.parametrize(
    "text",
    ["", " ", "tick 7", "Grüße, 你好, 🌊", '"{}\\', "two\r\nlines", "a\0b", "\u2028", "5\r\nabc\r\n0\r\n\r\n", "%d{}"],
)
def test_any_text_arrives_as_it_is(text: str, server: Comet, stack: ExitStack) -> None:
    user = next(users)
    (client,) = streams(stack, server, user)
    assert deliveries(server, user, text) == 1
    assert client.chunk() == f"Recvd msg #1: {text}\n"
    assert_next(server, client, user, 2)


def test_text_may_be_escaped_or_plain_utf_8(server: Comet, stack: ExitStack) -> None:
    user = next(users)
    (client,) = streams(stack, server, user)
    lines = [f'{{"subject":{user},"message":"{text}"}}' for text in ("\\u00e9\\ud83c\\udf0a", "é🌊")]
    accepted(server, "POST", "/publish", "\n".join(lines).encode())
    assert [client.chunk() for _ in lines] == [f"Recvd msg #{n}: é🌊\n" for n in (1, 2)]


@pytest.mark.parametrize("form", ["{}", "00{}"])
def test_digits_in_a_string_are_a_user(form: str, server: Comet, stack: ExitStack) -> None:
    user, fan = next(users), next(users)
    (client, fans) = streams(stack, server, user, fan)
    assert subscribe(server, (fan, form.format(user))) == 1
    assert deliveries(server, form.format(user), "a") == 2
    assert deliveries(server, user, "b") == 2
    for each in (client, fans):
        assert [each.chunk() for _ in range(2)] == ["Recvd msg #1: a\n", "Recvd msg #2: b\n"]


@pytest.mark.parametrize("name", ["photo:789", "x" * 255, "é" * 127, "-7", "7.0", " 7", "a b&c=d/é?#%20", "٣"])
def test_a_name_is_a_subject_of_its_own(name: str, server: Comet, stack: ExitStack) -> None:
    fan, other = next(users), next(users)
    (client, bystander) = streams(stack, server, fan, other)
    assert subscribe(server, (fan, name)) == 1
    assert subscribers(server, name) == [fan]
    assert deliveries(server, name, "named") == 1
    assert client.chunk() == "Recvd msg #1: named\n"
    assert_next(server, bystander, other)


def test_a_user_who_subscribed_twice_or_to_itself_gets_a_message_once(server: Comet, stack: ExitStack) -> None:
    user = next(users)
    assert subscribe(server, (user, user), (user, user), (user, str(user))) == 1
    (client,) = streams(stack, server, user)
    assert deliveries(server, user) == 1
    assert client.chunk() == "Recvd msg #1: x\n"
    assert_next(server, client, user, 2)


def test_all_connections_of_a_user_are_served(server: Comet, stack: ExitStack) -> None:
    about, fan = next(users), next(users)
    subscribe(server, (fan, about))
    clients = streams(stack, server, fan, fan, about, about, about)
    assert deliveries(server, about, "to all") == 5
    assert [client.chunk() for client in clients] == ["Recvd msg #1: to all\n"] * 5
    assert deliveries(server, fan, "to two") == 2
    assert [client.chunk() for client in clients[:2]] == ["Recvd msg #2: to two\n"] * 2


@pytest.mark.parametrize("subject", [19_999, MAX_USERS + 1, 2**32 - 1, "nobody's subject"])
def test_a_message_to_nobody_is_fine_and_goes_nowhere(subject: int | str, server: Comet) -> None:
    before = server.stats()
    assert deliveries(server, subject) == 0
    stats = server.stats()
    assert (stats["messages"], stats["routed"]) == (before["messages"] + 1, before["routed"])


def test_a_user_who_disconnected_gets_nothing_and_costs_nothing(server: Comet, stack: ExitStack) -> None:
    gone, stays = next(users), next(users)
    subscribe(server, (gone, "those who leave"), (stays, "those who leave"))
    stats_when(server, connections=0)
    (staying,) = streams(stack, server, stays)
    with ExitStack() as visit:
        streams(visit, server, gone, gone)
        assert deliveries(server, gone) == 2
    stats_when(server, connections=1)
    wait_until(lambda: nothing_is_on_its_way(server), "what was for them is counted")  # as delivered, or not
    before = server.stats()
    assert deliveries(server, gone) == 0
    assert deliveries(server, "those who leave", "bye") == 1
    assert staying.chunk() == "Recvd msg #1: bye\n"
    stats = stats_when(server, deliveries=before["deliveries"] + 1)
    assert stats["routed"] == before["routed"] + 1
    assert stats["undeliverable"] == before["undeliverable"]


def test_of_five_thousand_subscribers_those_who_are_connected_get_it(server: Comet, stack: ExitStack) -> None:
    about, fans = 15_000, range(9000, 14_000)
    for part in (fans[:4000], fans[4000:]):
        assert subscribe(server, *((fan, about) for fan in part)) == len(part)
    assert subscribers(server, about) == list(fans)
    clients = streams(stack, server, *fans[::100])
    assert deliveries(server, about, "few are here") == 50
    assert [client.chunk() for client in clients] == ["Recvd msg #1: few are here\n"] * 50
    (itself,) = streams(stack, server, about)
    assert deliveries(server, about, "and now itself") == 51
    assert itself.chunk() == "Recvd msg #1: and now itself\n"
    assert [client.chunk() for client in clients] == ["Recvd msg #2: and now itself\n"] * 50


# -- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_arrives_in_its_order_and_its_answer_counts_all(server: Comet, stack: ExitStack) -> None:
    about, fan = next(users), next(users)
    subscribe(server, (fan, about), (fan, "ordered"))
    (itself, client) = streams(stack, server, about, fan)
    lines = [message(subject, f"{n}") for n in range(50) for subject in (about, "ordered", "nobody's subject")]
    assert accepted(server, "POST", "/publish", *lines) == {"messages": 150, "deliveries": 50 + 100}
    assert [client.chunk() for _ in range(100)] == [f"Recvd msg #{n + 1}: {n // 2}\n" for n in range(100)]
    assert [itself.chunk() for _ in range(50)] == [f"Recvd msg #{n + 1}: {n}\n" for n in range(50)]


@pytest.mark.parametrize("form", ["{0}\n{0}", "{0}\n{0}\n", "{0}\r\n{0}\r\n", "  {0}\t\n {0} \n"])
def test_lines_end_with_or_without_carriage_returns_and_the_last_one_need_not_end(form: str, server: Comet) -> None:
    line = message("nobody's subject").decode()
    assert accepted(server, "POST", "/publish", form.format(line).encode()) == {"messages": 2, "deliveries": 0}


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/publish", {"messages": 0, "deliveries": 0}),
        ("POST", "/subscriptions", {"pairs": 0, "added": 0}),
        ("DELETE", "/subscriptions", {"pairs": 0, "removed": 0}),
    ],
)
def test_an_empty_batch_does_nothing(method: str, path: str, answer: dict[str, int], server: Comet) -> None:
    assert accepted(server, method, path) == answer


@pytest.mark.parametrize("form", ["\n{0}\n{0}", "{0}\n\n \t\n{0}\n\n", "{0}\r\n\r\n{0}\r\n\r\n"])
def test_blank_lines_are_skipped(form: str, server: Comet) -> None:
    line = message("nobody's subject").decode()
    assert accepted(server, "POST", "/publish", form.format(line).encode()) == {"messages": 2, "deliveries": 0}
    twice = form.format(pair(1, "blank lines").decode()).encode()
    assert accepted(server, "POST", "/subscriptions", twice) == {"pairs": 2, "added": 1}
    assert accepted(server, "DELETE", "/subscriptions", twice) == {"pairs": 2, "removed": 1}


@pytest.mark.parametrize("bad", [b"{", message(0), message("")])
def test_blank_lines_are_counted_where_a_later_one_is_named(bad: bytes, server: Comet) -> None:
    status, text = refused(server, "POST", "/publish", b"", message(7), b" \t", bad)
    assert (status, text.partition(": ")[0]) == (400, "Line 4")
    status, text = refused(server, "POST", "/subscriptions", b"", pair(1, 7), b"", b"", pair(0, 7))
    assert (status, text.partition(": ")[0]) == (400, "Line 5")


def test_blank_lines_count_among_those_that_are_too_many(server: Comet) -> None:
    assert refused(server, "POST", "/publish", *[b""] * (MAX_BATCH + 1), b"")[0] == 413


NO_OBJECTS = [
    b"\0",
    b"\f",
    b"{",
    b"{}",
    b"[]",
    b"null",
    b'"x"',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"[" * 100_000,
    b"no json at all",
]
NO_MESSAGES = [
    *NO_OBJECTS,
    *(message(subject) for subject in BAD_SUBJECTS),
    *(message(7, text) for text in (None, 5, True, ["x"], {"x": "y"})),
    message(7) + b" x",
    message(7) + message(7),
    message(7)[:-1],
    b'{"subject": 7}',
    b'{"message": "x"}',
    b'{"subject": 7, "message": "\\ud800"}',
    b'{"subject": "\\ud800", "message": "x"}',
    b'{"subject": 7, "message": "\xff"}',
    b'{"subject": "\xe9", "message": "x"}',
    b'{"subject": ' + b"9" * 5000 + b', "message": "x"}',
    b'{"subject": 7, "message": "x", "more": ' + b"[" * 100_000,
    message(7, "x" * (KIB_64 + 1)),
    message(7, "é" * (KIB_64 // 2 + 1)),
]


@pytest.mark.parametrize("line", NO_MESSAGES, ids=lambda line: repr(line[:50]))
def test_a_line_that_is_no_message_is_named_and_nothing_of_its_batch_is_sent(
    line: bytes, server: Comet, stack: ExitStack
) -> None:
    user = next(users)
    (client,) = streams(stack, server, user)
    before = server.stats()["messages"]
    status, text = refused(server, "POST", "/publish", message(user), message(user), line, message(user))
    assert status == 400
    assert text.startswith("Line 3: ")
    assert text.endswith("Nothing of the batch was done.\n")
    assert len(text) < 500
    assert_next(server, client, user)
    assert server.stats()["messages"] == before + 1


def test_the_first_bad_line_is_the_one_that_is_named(server: Comet) -> None:
    lines = [message(7), message(0), message(7), b"{", message("")]
    assert refused(server, "POST", "/publish", *lines[2:])[1].startswith("Line 2: ")
    assert refused(server, "POST", "/publish", *lines)[0] == 400


@pytest.mark.parametrize("text", ["x" * KIB_64, "é" * (KIB_64 // 2), "\\" * KIB_64, "\n" * KIB_64])
def test_a_message_of_64_kib_arrives_whole(text: str, server: Comet, stack: ExitStack) -> None:
    user = next(users)
    clients = streams(stack, server, user, user)
    assert deliveries(server, user, text) == 2
    for client in clients:
        assert client.chunk() == f"Recvd msg #1: {text}\n"
    assert_next(server, streams(stack, server, other := next(users))[0], other)


def test_as_many_lines_as_are_allowed_arrive_and_one_more_is_too_many(server: Comet, stack: ExitStack) -> None:
    user = next(users)
    (client,) = streams(stack, server, user)
    status, text = refused(server, "POST", "/publish", *[message(user)] * (MAX_BATCH + 1))
    assert (status, text) == (413, "The batch has 4,097 lines, and 4,096 are the most.\n")
    told = accepted(server, "POST", "/publish", *[message(user)] * MAX_BATCH)
    assert told == {"messages": MAX_BATCH, "deliveries": MAX_BATCH}
    for number in range(1, MAX_BATCH + 1):
        assert client.chunk() == f"Recvd msg #{number}: x\n"


def batch_of(size: int) -> bytes:
    """Return a batch about nobody of so many bytes."""
    frame = message("nobody's subject", "") + b"\n"
    line = message("nobody's subject", "x" * (KIB_64 - len(frame))) + b"\n"
    return line * (size // KIB_64) + b" " * (size % KIB_64)


def test_as_many_bytes_as_are_allowed_are_taken_and_one_more_is_too_many(server: Comet) -> None:
    lines = MAX_BATCH_BYTES // KIB_64
    assert accepted(server, "POST", "/publish", batch_of(MAX_BATCH_BYTES)) == {"messages": lines, "deliveries": 0}
    status, text = refused(server, "POST", "/publish", batch_of(MAX_BATCH_BYTES + 1))
    assert (status, "4,194,304 bytes" in text) == (413, True)


def test_a_body_of_unknown_length_is_cut_short_as_well(server: Comet) -> None:
    before = server.stats()["messages"]
    parts = (batch_of(KIB_64) for _ in range(10 * MAX_BATCH_BYTES // KIB_64))
    answer = httpx.post(
        f"http://127.0.0.1:{server.control}/publish", content=parts, trust_env=False, verify=False, timeout=60
    )
    assert answer.status_code == 413
    assert server.stats()["messages"] == before


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("size", [(MAX_BATCH + 1, 30), (1, MAX_BATCH_BYTES + 1)], ids=["lines", "bytes"])
def test_subscriptions_come_in_batches_of_the_same_bounds(size: tuple[int, int], method: str, server: Comet) -> None:
    lines, width = size
    before = server.stats()["subscriptions"]
    assert refused(server, method, "/subscriptions", *[pair(1, "too much").rjust(width)] * lines)[0] == 413
    assert server.stats()["subscriptions"] == before


def test_many_publishers_at_once_all_get_their_answer_and_lose_nothing(server: Comet, stack: ExitStack) -> None:
    publishers, each = 3 * messages_api.BATCHES, 20
    user = next(users)
    (client,) = streams(stack, server, user)
    answers: list[dict[str, int]] = []

    async def publish(api: httpx.AsyncClient, name: int) -> None:
        lines = b"\n".join(message(user, f"{name} {n}") for n in range(each))
        answers.append((await api.post("/publish", content=lines)).json())

    async def all_of_them() -> None:
        url, limits = f"http://127.0.0.1:{server.control}", httpx.Limits(max_connections=None)
        client = httpx.AsyncClient(base_url=url, trust_env=False, verify=False, limits=limits, timeout=60)
        async with client as api, trio.open_nursery() as tasks:
            for name in range(publishers):
                tasks.start_soon(publish, api, name)

    trio.run(all_of_them)
    assert answers == [{"messages": each, "deliveries": each}] * publishers
    texts = [client.chunk().partition(": ")[2].rstrip("\n") for _ in range(publishers * each)]
    assert sorted(texts) == sorted(f"{name} {n}" for name in range(publishers) for n in range(each))
    for name in range(publishers):
        assert [text for text in texts if text.startswith(f"{name} ")] == [f"{name} {n}" for n in range(each)]


def test_publishers_that_hang_up_in_their_batch_leave_room_for_others(server: Comet, stack: ExitStack) -> None:
    user = next(users)
    (client,) = streams(stack, server, user)
    begun = b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n" + message(user) + b"\n"
    with ExitStack() as publishers:
        for _ in range(2 * messages_api.BATCHES):
            sock = publishers.enter_context(socket.create_connection(("127.0.0.1", server.control)))
            sock.sendall(begun)
    assert_next(server, client, user)


def test_stats_count_what_was_routed_and_what_is_subscribed(server: Comet, stack: ExitStack) -> None:
    fan = next(users)
    before = server.stats()
    subscribe(server, (fan, "counted"), (fan, "counted as well"), (fan, fan))
    streams(stack, server, fan, fan)
    accepted(server, "POST", "/publish", message("counted"), message(fan), message("nobody's subject"))
    stats = stats_when(server, deliveries=before["deliveries"] + 4)
    assert stats["messages"] == before["messages"] + 3
    assert stats["routed"] == before["routed"] + 4
    assert stats["undeliverable"] == before["undeliverable"]
    grown = {name: stats["subscriptions"][name] - before["subscriptions"][name] for name in ("subjects", "pairs")}
    assert grown == {"subjects": 3, "pairs": 3}


# -- subscriptions ---------------------------------------------------------------------------------------------------


def test_subscriptions_are_added_shown_and_removed(server: Comet) -> None:
    about = next(users)
    lines = [pair(3, about), pair(1, str(about)), pair(2, "shown"), pair(3, about), pair(2**32 - 1, about)]
    assert accepted(server, "POST", "/subscriptions", *lines) == {"pairs": 5, "added": 4}
    assert accepted(server, "POST", "/subscriptions", *lines) == {"pairs": 5, "added": 0}
    assert subscribers(server, about) == [1, 3, 2**32 - 1]
    assert subscribers(server, "shown") == [2]
    gone = [pair(3, about), pair(9, about), pair(2, "shown"), pair(2, "never there")]
    assert accepted(server, "DELETE", "/subscriptions", *gone) == {"pairs": 4, "removed": 2}
    assert (subscribers(server, about), subscribers(server, "shown")) == ([1, 2**32 - 1], [])


def test_subscriptions_are_on_disk_when_the_answer_comes(server: Comet, db: Path) -> None:
    about = next(users)
    subscribe(server, (1, about), (2, about), (3, "on disk"))
    with Store(db) as store:
        assert (store.subscribers(about).tolist(), store.subscribers("on disk").tolist()) == ([1, 2], [3])
        accepted(server, "DELETE", "/subscriptions", pair(1, about))
        assert store.subscribers(about).tolist() == [2]


def test_the_next_message_already_follows_a_change(server: Comet, stack: ExitStack) -> None:
    fan = next(users)
    (client,) = streams(stack, server, fan)
    assert deliveries(server, "changing", "too early") == 0
    subscribe(server, (fan, "changing"))
    assert deliveries(server, "changing", "just right") == 1
    accepted(server, "DELETE", "/subscriptions", pair(fan, "changing"))
    assert deliveries(server, "changing", "too late") == 0
    assert client.chunk() == "Recvd msg #1: just right\n"
    assert_next(server, client, fan, 2)


def test_what_the_command_line_changes_is_seen_at_once(server: Comet, db: Path, stack: ExitStack) -> None:
    fan = next(users)
    (client,) = streams(stack, server, fan)
    assert run_here("comet", "subs", "add", str(fan), "by hand", "--db", str(db)).stdout == "Added.\n"
    assert deliveries(server, "by hand", "seen") == 1
    assert client.chunk() == "Recvd msg #1: seen\n"
    assert subscribers(server, "by hand") == [fan]
    assert run_here("comet", "subs", "remove", str(fan), "by hand", "--db", str(db)).stdout == "Removed.\n"
    assert deliveries(server, "by hand", "not seen") == 0


NO_SUBSCRIPTIONS = [
    *NO_OBJECTS,
    *(pair(1, subject) for subject in BAD_SUBJECTS),
    *(pair(subscriber, 7) for subscriber in (0, -1, 2**32, "1", "anna", None, True, 1.5, [1])),
    b'{"subscriber": 1}',
    b'{"subject": 7}',
    b'{"subscriber": 1, "subject": "\xff"}',
    pair(1, 7) + b",",
]


@pytest.mark.parametrize("line", NO_SUBSCRIPTIONS, ids=lambda line: repr(line[:50]))
def test_a_line_that_is_no_subscription_is_named_and_nothing_of_its_batch_is_done(line: bytes, server: Comet) -> None:
    subscribe(server, (1, "kept"))
    before = server.stats()["subscriptions"]
    for method, change in (("POST", pair(1, "not made")), ("DELETE", pair(1, "kept"))):
        status, text = refused(server, method, "/subscriptions", change, line, change)
        assert (status, text[:8]) == (400, "Line 2: ")
    assert server.stats()["subscriptions"] == before
    assert (subscribers(server, "kept"), subscribers(server, "not made")) == ([1], [])


@pytest.mark.parametrize("query", ["", "?", "?subject=", "?subject=0", "?subject=4294967296", "?Subject=7"])
@pytest.mark.parametrize("more", ["", "x" * 256])
def test_a_subject_that_is_none_has_no_subscribers_to_show(query: str, more: str, server: Comet) -> None:
    status, text = refused(server, "GET", f"/subscriptions{query}{more and f'?subject={more}'}")
    if more and query in ("?subject=0", "?subject=4294967296"):
        query = f"{query}{more}"
    assert (status, " not " in text) == (400, True)


def test_without_a_store_there_are_no_subscriptions(without_store: Comet, stack: ExitStack) -> None:
    (client,) = streams(stack, without_store, 7)
    for method, path in (("GET", "?subject=7"), ("POST", ""), ("DELETE", "")):
        status, text = refused(without_store, method, f"/subscriptions{path}", *[pair(8, 7)] * (method != "GET"))
        assert (status, "--db" in text) == (409, True)
    assert without_store.stats()["subscriptions"] is None
    assert accepted(without_store, "POST", "/publish", message(7, "alone"), message("photo:7")) == {
        "messages": 2,
        "deliveries": 1,
    }
    assert client.chunk() == "Recvd msg #1: alone\n"


class Unreadable:
    """A store, and a router that reads it, whose disk is gone."""

    def fail(self, *arguments: object) -> int:
        raise Refused("The subscription store db can't be used: Input/output error. It is as it was.")

    subscribers = add_subscriptions = remove_subscriptions = fail

    async def publish(self, subjects: object, texts: object) -> int:
        return self.fail()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/publish", message(7)),
        ("GET", "/subscriptions?subject=7", b""),
        ("POST", "/subscriptions", pair(1, 7)),
        ("DELETE", "/subscriptions", pair(1, 7)),
    ],
)
def test_a_store_that_cannot_be_read_is_told_to_who_asked(method: str, path: str, body: bytes) -> None:
    broken = Unreadable()
    routes = messages_api.routes(cast(Router, broken), cast(Store, broken))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://comet") as api:
            return await api.request(method, path, content=body)

    answer = trio.run(ask)
    assert (answer.status_code, "Input/output error" in answer.text) == (503, True)


# -- who stalls ------------------------------------------------------------------------------------------------------


class Patient:
    """A router that publishes at once, and a store that writes when `released`; `writers` has who wrote at a time."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.released = threading.Event()
        self.writers: list[int] = []
        self._writing = 0

    async def publish(self, subjects: Sequence[object], texts: object) -> int:
        return len(subjects)

    def add_subscriptions(self, pairs: Sequence[object]) -> int:
        self._writing += 1
        self.writers.append(self._writing)
        trio.from_thread.run_sync(self.begun.set)
        self.released.wait()
        self._writing -= 1
        return len(pairs)

    remove_subscriptions = add_subscriptions

    def api(self) -> httpx.AsyncClient:
        routes = messages_api.routes(cast(Router, self), cast(Store, self))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=Starlette(routes=routes)), base_url="http://comet", verify=False
        )


def test_changes_that_wait_for_the_store_are_bounded_and_hold_up_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Patient()
    answers: list[int] = []
    taken_apart: list[bytes] = []
    read = messages_api.read_subscriptions

    def read_and_count(body: bytes) -> list[tuple[int, Subject]]:
        taken_apart.append(body)
        return read(body)

    monkeypatch.setattr(messages_api, "read_subscriptions", read_and_count)

    async def send(client: httpx.AsyncClient, method: str) -> None:
        answers.append((await client.request(method, "/subscriptions", content=pair(1, 7))).status_code)

    async def all_of_them() -> None:
        async with api.api() as client, trio.open_nursery() as tasks:
            for number in range(3 * messages_api.BATCHES):
                tasks.start_soon(send, client, ("POST", "DELETE")[number % 2])
            await api.begun.wait()
            await wait_all_tasks_blocked()
            try:
                assert len(taken_apart) == messages_api.BATCHES
                assert (await client.post("/publish", content=message(7))).json() == {"messages": 1, "deliveries": 1}
            finally:
                api.released.set()

    trio.run(all_of_them)
    assert answers == [200] * 3 * messages_api.BATCHES
    assert api.writers == [1] * 3 * messages_api.BATCHES


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        ("POST", "/publish", message(7)),
        ("POST", "/subscriptions", pair(1, 7)),
        ("DELETE", "/subscriptions", pair(1, 7)),
    ],
)
def test_a_batch_takes_a_place_only_when_it_is_whole(method: str, path: str, line: bytes) -> None:
    api = Patient()
    api.released.set()

    async def stalled() -> AsyncIterator[bytes]:
        yield line
        await trio.sleep_forever()

    async def send(client: httpx.AsyncClient) -> None:
        await client.request(method, path, content=stalled())

    async def all_of_them() -> None:
        async with api.api() as client, trio.open_nursery() as tasks:
            for _ in range(2 * messages_api.BATCHES):
                tasks.start_soon(send, client)
            await wait_all_tasks_blocked()
            assert (await client.request(method, path, content=line)).status_code == 200
            assert trio.current_time() == 0
            tasks.cancel_scope.cancel()

    trio.run(all_of_them, clock=MockClock(autojump_threshold=0))


# -- methods and bytes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/publish") for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")),
        *((method, "/subscriptions") for method in ("PUT", "PATCH", "OPTIONS")),
    ],
)
def test_other_methods_are_not_allowed(method: str, path: str, server: Comet) -> None:
    answer = control(server, method, path, message(7))
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


NOT_ASCII = [
    (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xc3\xa9\r\n\r\n", b"200"),
    (b"GET /healthz HTTP/1.1\r\nHost: \xff\r\nX-\xc3: \xe9\r\n\r\n", b"400"),
    (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: \xff\xfe\r\n\r\n", b"200"),
    (b"GET /subscriptions?subject=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    (b"GET /%FF HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
    (b"GET /subscriptions?subject=%FF HTTP/1.1\r\nHost: localhost\r\n\r\n", b"200"),
    (b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xb2\r\n\r\n", b"400"),
]


def status_of(server: Comet, request: bytes) -> bytes:
    """Send bytes to the control API; return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.control), timeout=60) as sock:
        sock.sendall(request)
        with sock.makefile("rb") as file:
            return file.readline().split()[1]


@pytest.mark.parametrize(("request_", "status"), NOT_ASCII)
def test_bytes_that_are_no_ascii_are_answered(request_: bytes, status: bytes, server: Comet) -> None:
    assert status_of(server, request_) == status
    assert control(server, "GET", "/healthz").text == "ok\n"
