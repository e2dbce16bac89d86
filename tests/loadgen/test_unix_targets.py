"""Targets that are Unix sockets: how they are written, what a plan and the checks make of them, and whole runs."""

import json
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.flyweight.machine.endpoints import MAX_PATH
from floodtest.loadgen.plan.models import CLIENT_MODELS
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan, Rows, planned_ports
from floodtest.loadgen.plan.request import TargetUrl, parse_target
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.preflight.checks import examine
from floodtest.loadgen.preflight.demand import Demand, kernel_memory
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.targets import resolve_target
from tests.rigs.nginx import NCHAN, needs_nchan, nginx
from tests.rigs.redis import needs_redis, redis
from tests.rigs.support import run_here

USERS = 60
OPTIONS = RunOptions(Plan.anonymous(10), target="http://unix:/run/s:/", ports="kernel")


def flood_socket(out: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run as `flood` does, without its source addresses."""
    line = ("floodtest", "run", "--json", "--no-report", "--out", str(out), *arguments)
    done = run_here(*line)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("unix:/run/a.sock", TargetUrl("/run/a.sock", 0, "")),
        ("unix:///run/a.sock", TargetUrl("/run/a.sock", 0, "")),
        ("http://unix:/run/a.sock:/events/{user}?a=b:c", TargetUrl("/run/a.sock", 0, "/events/{user}?a=b:c")),
        ("ws://unix:/run/a.sock:/live", TargetUrl("/run/a.sock", 0, "/live")),
        ("http://unix:/run/a.sock:", TargetUrl("/run/a.sock", 0, "/")),
        ("http://unix:/run/a.sock", TargetUrl("/run/a.sock", 0, "/")),
        ("http://bob:pw@unix:/a:/b", TargetUrl("/a", 0, "/b", "bob:pw")),
        ("http://unix:8080/a", TargetUrl("unix", 8080, "/a")),
        ("http://h/unix:/a:/b", TargetUrl("h", 80, "/unix:/a:/b")),
    ],
)
def test_a_socket_stands_where_a_url_has_host_and_port(url: str, found: TargetUrl) -> None:
    assert parse_target(url) == found


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:/run/{user}", "needs the path of a Unix socket"),
        (f"http://unix:/{'x' * MAX_PATH}:/", f"up to {MAX_PATH} bytes"),
        ("unix:/run/a?b", "name the path of its socket and nothing else"),
        ("unix:a.sock", "needs the whole path of its Unix socket, from / on"),
        ("http://unix:run/a.sock:/", "needs the whole path of its Unix socket, from / on"),
        ("ws://bob:s3cr3t@unix:a:/", "needs the whole path of its Unix socket, from / on"),
        ("http://unix:/run/a.sock/events/{user}", "which ends at a colon: what is asked for follows that"),
        ("https://unix:/run/a:/", "is a Unix socket, over which TLS is not spoken"),
        ("http://bob:s3cr3t@unix:/{user}:/", "has a placeholder in the path of its Unix socket"),
    ],
)
def test_what_is_no_socket_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_target(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ports": "explicit"}, "--ports explicit is not for a Unix socket"),
        ({"plan": Plan(1, 1, "127.0.0.1", 1024, 1)}, "A plan without source addresses (Plan.anonymous) is for"),
        ({"target": "http://h/"}, "A plan without source addresses (Plan.anonymous) is for"),
        ({"headers": ("X: {address}",)}, "{address} stands for a source address"),
        ({"target": "unix:/a", "protocol": "sse"}, "--protocol sse is not for a target of unix:/SOCKET"),
    ],
)
def test_what_makes_no_sense_for_a_socket_is_named(given: dict[str, Any], words: str) -> None:
    assert problems(OPTIONS) == problems(replace(OPTIONS, target="unix:/a", send="a")) == []
    assert problems(replace(OPTIONS, **given))[0].startswith(words)


def test_options_of_sources_are_refused_and_a_plan_shows_none(tmp_path: Path) -> None:
    target = f"http://unix:{tmp_path}/s:/{{user}}"
    for option in (("--ips", "2"), ("--each", "5"), ("--base-ip", "127.0.0.1"), ("--first-port", "2000")):
        done = run_here("floodtest", "plan", "--target", target, *option)
        assert (done.returncode, "are not for a Unix socket" in done.stderr) == (2, True)
    missing = run_here("floodtest", "plan", "--target", target)
    assert (missing.returncode, "can't be found: No such file or directory" in missing.stderr) == (3, True)
    (tmp_path / "file").touch()
    no_colon = run_here("floodtest", "plan", "--target", f"http://unix:{tmp_path}/file/events")
    assert (no_colon.returncode, "Where that ends there is a colon" in no_colon.stderr) == (3, True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen(5)
        shown = run_here("floodtest", "plan", "--json", "--target", target, "--connections", "2000000")
        doctor = run_here("floodtest", "doctor", "--json", "--target", target, "--connections", "100")
    found = json.loads(shown.stdout)
    assert (found["sources"], found["prediction"]["connections"]) == ([], 2_000_000)
    checks = {check["name"]: check["value"] for check in json.loads(doctor.stdout)["checks"]}
    assert checks["backlog of the server"] in (5, None)
    assert not [name for name in checks if name.startswith("net.ipv4.")]
    with pytest.raises(Refused, match="is no Unix socket"):
        resolve_target(f"http://unix:{__file__}:/", "")


def test_a_socket_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert resolve_target(f"unix:{path}", "").addresses == ((path, 0),)
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to all of them
        with pytest.raises(Refused, match="we may not write to"):
            resolve_target(f"unix:{path}", "")


def test_an_anonymous_plan_has_users_and_no_places() -> None:
    plan = Plan.anonymous(100_000, first_user=11)
    assert (plan.addresses, len(planned_ports(plan)), plan.last_user) == (("",), 0, 100_010)
    shares = plan.shares(3)
    assert sum(share.count for share in shares) == 100_000
    rows = shares[1].pieces[0].rows(0, 2)
    assert rows.users == [11 + shares[0].count, 12 + shares[0].count]
    assert isinstance(shares[1].rows(rows.users), Rows)
    with pytest.raises(UsageError, match="--connections must be at least 1"):
        Plan.anonymous(0)
    demand = Demand(plan, bundled=False, explicit_ports=False)
    kinds, _ = kernel_memory(demand, Machine())
    assert "Unix sockets" in kinds
    assert not {"TCP sockets", "source pairs"} & kinds.keys()
    assert all(not verdict.check.of_tcp for verdict in examine(Machine(), demand))


LOCATIONS = """
    listen unix:{path};
    location ~ ^/sub/(\\d+)$ {{ nchan_subscriber; nchan_channel_id $1; }}
    location ~ ^/pub/(\\d+)$ {{ nchan_publisher; nchan_channel_id $1; }}
"""


@needs_nchan
@pytest.mark.parametrize(("scheme", "client"), [("http", "columns"), ("http", "httpx"), ("ws", "columns")])
def test_messages_of_nginx_come_over_its_socket(scheme: str, client: str, tmp_path: Path) -> None:
    path = tmp_path / "nginx.sock"
    with nginx(tmp_path, LOCATIONS.format(path=path), f"load_module {NCHAN};", connections=500) as (host, port):
        there = f"{scheme}://unix:{path}:/sub/{{user}}"
        code, summary, errors = flood_socket(
            *(tmp_path / "runs", "--connections", str(USERS), "--hold", "0", "--client", client, "--target", there),
            *("--messages", "50/s", "--message-seconds", "1", "--publish", f"POST http://{host}:{port}/pub/{{user}}"),
        )
    assert (code, summary["outcome"], summary["connections"]["opened"]) == (0, "ok", USERS), errors
    messages = summary["messages"]
    assert (messages["received"], messages["lost"], messages["duplicated"]) == (50, 0, 0)
    server = summary["server"]
    assert server["addresses"] == [f"unix:{path}"]
    assert [process["name"] for process in server["processes"]] == ["nginx"]
    assert server["queue"]["backlog"] in (511, None)
    assert not np.fromfile(Path(summary["run"]) / "ports.u16", np.uint16).any()


@needs_redis
def test_a_stream_without_http_over_a_socket(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        code, summary, errors = flood_socket(
            *(tmp_path / "runs", "--connections", str(USERS), "--hold", "0", "--target", f"unix:{server.path}"),
            *("--send", r"SUBSCRIBE user:{user}\r\n", "--open-when", "text:user:{user}"),
        )
    assert (code, summary["connections"]["opened"]) == (0, USERS), errors
    assert summary["server"]["processes"][0]["name"] == "redis-server"


@pytest.mark.parametrize("client", CLIENT_MODELS)
def test_a_full_queue_makes_connections_wait_and_is_named(client: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen(4)  # 5 find room, and nobody accepts them
        options = ("--target", f"http://unix:{tmp_path}/s:/", "--client", client, "--connect-timeout", "1s")
        code, summary, errors = flood_socket(tmp_path / "runs", "--connections", "20", *options)
    assert code == 4, errors
    assert summary["connections"]["failed"] == {"ETIMEDOUT@response": 5, "ETIMEDOUT@connect": 15}
    assert summary["connections"]["attempts"] == 20
    assert summary["server"]["queue"]["put_off"] == 15
    assert any(reason.startswith("listen queue: the server's queue") for reason in summary["reasons"])


@pytest.mark.parametrize(
    ("target", "said", "ends"),
    [
        ("unix:{}", b"hello\n", ({}, {"cut": 100})),
        ("http://unix:{}:/", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", ({"HTTP_503@response": 100}, {})),
    ],
)
def test_what_a_server_says_that_goes_at_once_is_read(
    target: str, said: bytes, ends: tuple[dict[str, int], dict[str, int]], tmp_path: Path
) -> None:
    def answer(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            connection.sendall(said)
            connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen(200)
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        options = ("--connections", "100", "--hold", "0", "--target", target.format(f"{tmp_path}/s"))
        _, summary, errors = flood_socket(tmp_path / "runs", *options)
        listener.shutdown(socket.SHUT_RDWR)
    assert (summary["connections"]["failed"], summary["connections"]["closed_by"]) == ends, errors
    assert summary["received"] == sum(ends[1].values())


def test_a_probe_waits_for_room_in_a_full_queue_as_a_run_does(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(f"{tmp_path}/s")
        listener.listen(0)  # one finds room
        other.connect(f"{tmp_path}/s")
        full = run_here("floodtest", "probe", "--target", f"unix:{tmp_path}/s", "--connect-timeout", "300ms")
        timer = threading.Timer(3, lambda: listener.accept()[0].close())
        timer.start()
        found = run_here("floodtest", "probe", "--target", f"unix:{tmp_path}/s", "--connect-timeout", "30s")
        timer.join()
    assert full.returncode == 3
    assert "its queue was full for 0.3 s" in full.stderr
    assert any(line.startswith("open       after ") for line in found.stdout.splitlines()), found.stderr


def test_a_probe_says_what_came_of_a_server_that_answers_and_goes(tmp_path: Path) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.shutdown(socket.SHUT_RD)  # so that writing the next poll fails, as it does soon after a close
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        target = f"http://unix:{tmp_path}/s:/poll"
        done = run_here("floodtest", "probe", "--protocol", "longpoll", "--target", target)
    lines = done.stdout.splitlines()
    assert "message 1  5 bytes: hello" in lines, done.stderr
    assert any(line.startswith("ended      cut: ") for line in lines)


def test_a_socket_whose_server_has_gone_refuses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen(4)
    code, summary, errors = flood_socket(
        tmp_path / "runs", "--connections", "20", "--target", f"http://unix:{tmp_path}/s:/"
    )
    assert (code, summary["connections"]["failed"]) == (4, {"ECONNREFUSED@connect": 20}), errors
    assert "nothing listens at the socket" in summary["server"]["found"]
