"""`floodtest run` against servers that are not ours: where they are, whose memory is theirs, and how they listen."""

import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from floodtest.analysis import load
from floodtest.flyweight.machine.listeners import ask_for_listeners
from tests.rigs.listening import listening
from tests.rigs.support import HEAD, flood, scripted_server

SLOW = """
import threading, time

def serve():
    while True:
        kept.append(heard.accept()[0])
        kept[-1].recv(4096)
        kept[-1].sendall(HEAD)
        time.sleep(0.05)

kept = []
threading.Thread(target=serve, daemon=True).start()
"""
"""Accepts 20 a second, of as many as have room in a queue of 5."""


def test_a_name_with_several_addresses_is_connected_to_at_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: Counter[str] = Counter()
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        got[connection.getsockname()[0]] += 1
        connection.sendall(HEAD)

    def look_up(host: str, port: int, *rest: object, **options: object) -> list[tuple[Any, ...]]:
        assert host == "several.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with scripted_server(handle, "0.0.0.0") as url:
        target = url.replace("0.0.0.0", "several.example")
        code, summary, errors = flood(tmp_path, "--target", target, "--connections", "30", "--hold", "0")
    assert code == 0, errors
    assert got == dict.fromkeys(addresses, 10)
    port = target.rpartition(":")[2].partition("/")[0]
    assert summary["server"]["addresses"] == [f"{address}:{port}" for address in addresses]
    assert "The target has 3 addresses, and users go to them in turn: 127.0.0.1, 127.0.0.2, 127.0.0.3." in errors
    assert (summary["server"]["processes"], summary["memory"]["server_fixed_bytes"]) == ([], None)
    assert "are not measured: it is in the process that runs floodtest." in errors
    assert load(summary["run"]).run["options"]["address"] == "all"


def test_a_listen_queue_that_is_full_is_named_with_what_helps(tmp_path: Path) -> None:
    if ask_for_listeners() is None:
        pytest.skip("the kernel hands out no list of listeners here (NETLINK_SOCK_DIAG), as in some containers")
    with listening(f"HEAD = {HEAD!r}\n{SLOW}") as server:
        arguments = ("--connections", "60", "--hold", "0", "--connect-timeout", "1.5")
        target = f"http://127.0.0.1:{server.port}/{{user}}"
        code, summary, _ = flood(tmp_path, "--target", target, *arguments)
    assert code == 4
    reason = summary["reasons"][-1]
    # Tests beside this one may have servers in this network that wait for requests: then it is not known whose it was.
    whose = "(the server's queue of 5|a queue of the server's network)"
    assert re.match(rf"listen queue: {whose} was full (\d+ times|once), ", reason), summary["reasons"]
    assert reason.endswith("raise its backlog (listen(2), net.core.somaxconn), or take --in-flight 5, or --rate")
    queue = summary["server"]["queue"]
    assert (queue["backlog"], queue["dropped"] > 0, queue["overflows"] > 0) == (5, True, True)
    assert queue["most_queued"] in range(1, 7)
    assert [process["pid"] for process in summary["server"]["processes"]] == [server.pid]
    assert summary["memory"]["server_user_bytes_per_connection"] > 0
