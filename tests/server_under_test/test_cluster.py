"""`comet router` and `comet front` as their clients and operators see them: programs, over a real Valkey server."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.rigs.cluster import Cluster, Valkey, cluster, valkey
from tests.rigs.support import Comet, comet, run_here, wait_until


class Client:
    """A stream of lines."""

    def __init__(self, server: Comet, user: int) -> None:
        self._sock = server.connect()
        self._file = self._sock.makefile("rb")
        self._sock.sendall(b"GET /lines/%d HTTP/1.1\r\nHost: x\r\n\r\n" % user)
        while self._file.readline() != b"\r\n":
            pass
        assert self.line() == f"Welcome, user {user}"

    def line(self) -> str:
        """Return the next line; empty at the end."""
        size = self._file.readline()
        if not size:
            return ""
        text = self._file.read(int(size, 16))
        self._file.readline()
        return text.decode().rstrip("\n")

    def close(self) -> None:
        self._file.close()
        self._sock.close()


@contextmanager
def clients(*whom: tuple[Comet, int]) -> Iterator[list[Client]]:
    made = [Client(server, user) for server, user in whom]
    try:
        yield made
    finally:
        for client in made:
            client.close()


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def pair(bus: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    db = tmp_path_factory.mktemp("store") / "db"
    run_here("comet", "subs", "add", "2", "photo:7", "--db", str(db))
    with cluster(bus.url, "a", "b", options=("--db", str(db))) as made:
        yield made


def test_messages_reach_users_at_whichever_machine_they_are(pair: Cluster) -> None:
    a, b = pair.machines["a"], pair.machines["b"]
    with clients((a, 1), (b, 2), (b, 2), (a, 2)) as (one, *others):
        assert pair.publish((1, "Hello"), ("photo:7", "Smile"), (3, "Nobody")) == {"messages": 3, "deliveries": 4}
        assert one.line() == "Recvd msg #1: Hello"
        assert [other.line() for other in others] == ["Recvd msg #1: Smile"] * 3
        stats = pair.stats()
        assert (stats["connections"], stats["deliveries"], stats["undeliverable"]) == (4, 4, 0)
        assert [(one["name"], one["connections"], one["gaps"]) for one in stats["machines"]] == [
            ("a", 2, 0),
            ("b", 2, 0),
        ]


def test_a_batch_arrives_in_order_and_whoever_was_welcomed_gets_it(pair: Cluster) -> None:
    for user in range(10, 15):
        with clients((pair.machines["b"], user)) as (one,):
            texts = [f"message {number}" for number in range(300)]
            assert pair.publish(*((user, text) for text in texts))["deliveries"] == 300
            assert [one.line() for _ in texts] == [f"Recvd msg #{n}: {text}" for n, text in enumerate(texts, 1)]


def test_who_has_gone_is_told_nothing(pair: Cluster) -> None:
    with clients((pair.machines["a"], 20)) as (one,):
        assert pair.publish((20, "x"))["deliveries"] == 1
        assert one.line() == "Recvd msg #1: x"
    wait_until(lambda: pair.stats()["connections"] == 0, "it is logged out")
    assert pair.publish((20, "x"))["deliveries"] == 0


def test_ticks_reach_all_machines(pair: Cluster) -> None:
    url = f"http://127.0.0.1:{pair.router.control}/tick"

    def every(seconds: float | None) -> None:
        httpx.put(url, json={"seconds": seconds}, trust_env=False, verify=False, timeout=60)

    with clients((pair.machines["a"], 1), (pair.machines["b"], 1)) as both:
        every(3600)
        assert [one.line() for one in both] == ["Recvd msg #1: tick 1"] * 2
        wait_until(lambda: not pair.stats()["ticking"], "the tick is written")
        tick = pair.stats()["ticks"][-1]
        assert (tick["number"], tick["sent"]) == (1, 2)
        assert tick["planned"] <= tick["first"] <= tick["last"] < tick["planned"] + 60
        every(None)


def test_a_router_and_a_name_are_on_a_bus_once(pair: Cluster) -> None:
    done = run_here("comet", "router", "--bus", pair.url, "--control-port", "0")
    assert (done.returncode, "has a router already" in done.stderr) == (3, True)
    done = run_here("comet", "front", "--bus", pair.url, "--machine", "a", "--port", "0", "--max-users", "10")
    assert (done.returncode, "has a front machine a already" in done.stderr) == (3, True)


def test_a_server_over_a_bus_of_its_own_serves_as_any() -> None:
    with comet("--bus", "valkey:", "--max-users", "1000") as server, clients((server, 7)) as (one,):
        made = Cluster("", server, {})
        assert made.publish((7, "Hello"), (8, "Nobody")) == {"messages": 2, "deliveries": 1}
        assert one.line() == "Recvd msg #1: Hello"
        assert server.stats()["machines"][0]["frames"] == 1
        assert server.stop() == 0
        assert one.line() == ""
