"""What connections ask for: placeholders, headers, methods, bodies and credentials, by both models of the client."""

import base64
import json
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from floodtest.analysis import load
from floodtest.loadgen.client.worker import column_of
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.request import HIDDEN
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.preflight.users import load_users
from floodtest.wire.template import RequestTemplate
from tests.rigs.client import welcome
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.loopback import WorkerRig, can_be_read
from tests.rigs.support import OURS, chunk, flood, run_here, scripted_server

PLAN = Plan(1, 10, "127.0.1.1", 1024, 10)


def requests_of(rig: WorkerRig, count: int) -> list[bytes]:
    """Let a worker begin all its connections; return their requests in the order of their users."""
    rig.go()
    rig.until(lambda: rig.client.in_flight == count)
    accepted = [rig.listener.accept()[0] for _ in range(count)]
    try:
        rig.until(lambda: all(map(can_be_read, accepted)))
        return [sock.recv(1 << 20) for sock in sorted(accepted, key=socket.socket.getpeername)]
    finally:
        for sock in accepted:
            sock.close()


def test_each_user_asks_for_what_its_row_and_its_address_say(tmp_path: Path) -> None:
    asked = RequestTemplate(b"/{user}/{line}/{token}", headers=((b"From", b"{address}"),), body=b"{token}{{}}")
    (tmp_path / "users.csv").write_text("token\n" + "".join(f"t {row}\n" for row in range(1, 6)))
    users = load_users(tmp_path / "users.csv", asked, 5)
    rig = WorkerRig(tmp_path, users=5, each=2, first_user=1_000_001, request=asked, table=users)
    assert requests_of(rig, 5) == [
        f"GET /{1_000_000 + row}/{row}/t%20{row} HTTP/1.1\r\nFrom: {rig.plan.pair(1_000_000 + row)[0]}\r\n"
        f"Content-Length: 5\r\n\r\nt {row}{{}}".encode()
        for row in range(1, 6)
    ]
    rig.close()


def test_a_request_that_is_longer_than_one_write_takes_comes_whole(tmp_path: Path) -> None:
    asked = RequestTemplate(b"/", b"POST", body=b"{wide}" * 200)
    (tmp_path / "users.csv").write_text("wide\n" + "w" * 60_000)
    rig = WorkerRig(tmp_path, users=1, each=1, request=asked, table=load_users(tmp_path / "users.csv", asked, 1))
    rig.go()
    rig.until(lambda: rig.client.in_flight == 1)
    expected = b"POST / HTTP/1.1\r\nContent-Length: 12000000\r\n\r\n" + b"w" * 12_000_000
    connection, _ = rig.listener.accept()
    with connection:
        read = bytearray()

        def take() -> bool:
            while can_be_read(connection):
                read.extend(connection.recv(1 << 20))
            return len(read) == len(expected)

        rig.until(take)
    assert read == expected
    rig.close()


def test_the_httpx_client_sends_what_the_other_one_does_and_headers_that_httpx_adds(tmp_path: Path) -> None:
    headers = ((b"Host", b"other"), (b"X", b"1"), (b"x", b"{user}"), (b"User-Agent", b""), (b"Accept", b"a"))
    asked = RequestTemplate(
        b"/test/{user}?%2f/../{line}", headers=headers, credentials=b"a:b", body=b"{address}\r\n{user}"
    )
    rig = HttpxRig(tmp_path, 12, request=asked)
    sent = rig.feed({user: [welcome(user)] for user in range(1, 13)})
    rig.end()
    column = partial(column_of, share=Plan(1, 12, "127.0.0.1", 1024, 12).shares(1)[0], columns=(), texts=None)
    for request, expected in zip(sorted(sent), sorted(asked.requests(column)(list(range(1, 13)))), strict=True):
        (line, *lines), body = head_and_body(request)
        assert ([line, *(one for one in lines if one not in OF_HTTPX)], body) == head_and_body(expected)


def head_and_body(request: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


OF_HTTPX = (b"Accept-Encoding: identity", b"Connection: keep-alive")

GUARDED = {
    b"accept": b"text/event-stream",
    b"authorization": b"Basic " + base64.b64encode(b"bob:s3cr3t@"),
    b"user-agent": b"mine",
}
"""What a server of the kinds that answer 406 and 401 wants to see."""


def test_a_feed_for_all_behind_a_login_opens_with_headers_and_a_row_for_each_user(client: str, tmp_path: Path) -> None:
    bodies: dict[bytes, bytes] = {}
    wrong: list[bytes] = []
    lock = threading.Lock()

    def handle(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request or not request.endswith(b"}"):
            request += connection.recv(4096)
        head, _, body = request.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(b": ") for one in lines)}
        with lock:
            bodies[headers[b"cookie"]] = body
            if line != b"POST /a%2Fb/../events HTTP/1.1" or not GUARDED.items() <= headers.items():
                wrong.append(head)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(chunk(b'data: {"px": 1.1}\n\n'))
        connection.recv(1)

    (tmp_path / "users.csv").write_text("name,token\n" + "".join(f"n{row},t0k3n-{row}\n" for row in range(1, 13)))
    with scripted_server(handle) as url:
        target = url.replace("//", "//bob:s3cr3t%40@").replace("/test/{user}", "/a%2Fb/../events")
        options = [
            "--target",
            target,
            "--connections",
            "12",
            "--first-user",
            "101",
            "--hold",
            "0.5",
            "--client",
            client,
        ]
        options += ["--header", "Accept: text/event-stream", "--header=Cookie: session={token}"]
        options += ["--header", "User-Agent: mine", "--users", str(tmp_path / "users.csv")]
        options += ["--method", "POST", "--body", '{{"w0rd": "{name}", "line": {line}, "user": {user}}}']
        code, summary, errors = flood(tmp_path / "runs", *options)
    assert (code, summary["connections"]["opened"]) == (0, 12), errors
    assert wrong == []
    assert {cookie: json.loads(body) for cookie, body in bodies.items()} == {
        b"session=t0k3n-%d" % row: {"w0rd": f"n{row}", "line": row, "user": 100 + row} for row in range(1, 13)
    }
    record = load(summary["run"]).run
    assert record["options"]["target"] == target.replace("bob:s3cr3t%40", HIDDEN)
    assert record["options"]["headers"] == ["Accept: text/event-stream", f"Cookie: {HIDDEN}", "User-Agent: mine"]
    for file in Path(summary["run"]).iterdir():
        for secret in (b"s3cr3t", b"t0k3n", b"session", b"w0rd"):
            assert secret not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": "http://h/{name}"}, "--target has {name}, and there is no such placeholder: there are {user}, "),
        ({"headers": ("Accept text/plain",)}, "--header takes a header such as 'Accept: text/event-stream'."),
        ({"headers": ("A: b\nC: d",)}, "--header A has a carriage return, a line feed or a NUL in it"),
        ({"headers": ("Transfer-Encoding: chunked",)}, "--header Transfer-Encoding can't be given"),
        ({"method": "GET /"}, "--method takes a method such as POST"),
        ({"method": "HEAD"}, "--method takes a method such as POST"),
        ({"body": "{"}, "--body has a brace of no placeholder, character 1"),
        ({"target": None, "headers": ("A: b",)}, "--header is for a server that was named with --target."),
        ({"target": None, "method": "POST"}, "--method is for a server that was named with --target."),
        ({"target": None, "body": "{"}, "--body is for a server that was named with --target."),
        ({"target": None, "users": Path("users.csv")}, "--users is for a server that was named with --target."),
    ],
)
def test_what_makes_no_sense_is_named(given: dict[str, Any], words: str) -> None:
    first, *_ = problems(RunOptions(**{"plan": PLAN, "target": "http://h/", **given}))
    assert first.startswith(words)


def test_all_that_is_wrong_is_told_at_once_and_no_secret() -> None:
    line = ["--target", "http://bob:s3cr3t@h/{", "--header", "Authorization s3cr3t", "--method", "a b", "--body", "}"]
    done = run_here("floodtest", "run", *line, "--first-user", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 5)
    assert "s3cr3t" not in done.stderr


def test_a_plan_tells_what_is_wrong_with_files_and_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("name\nann\n")
    (tmp_path / "body").write_text("{name} {word}")
    line = ["--target", "http://bob:s3cr3t@127.0.0.1:9/", "--users", str(tmp_path / "users.csv"), "--connections", "2"]
    done = run_here("floodtest", "plan", *OURS, *line, "--body", f"@{tmp_path / 'body'}", "--json")
    (obstacle,) = json.loads(done.stdout)["obstacles"]
    assert obstacle.startswith(
        "--body has {word}, and there is no such placeholder: there are {user}, {address}, {line}"
    )
    assert json.loads(done.stdout)["target"] == f"http://{HIDDEN}@127.0.0.1:9/"
    done = run_here("floodtest", "plan", *OURS, *line, "--body", "{name}")
    assert done.returncode == 3
    assert "has 1 row, and 2 connections are planned" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr
    done = run_here("floodtest", "plan", *OURS, *line, "--body", f"@{tmp_path / 'nothing'}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing for --body: No such file" in done.stderr


def test_secrets_of_publishing_are_hidden_as_well() -> None:
    messages = MessageOptions(
        10.0,
        publish=("POST", "http://bob:s3cr3t@h/pub/{user}"),
        publish_body="w0rd={message}",
        publish_header=("Authorization: t0k3n", "Accept: a"),
    )
    options = RunOptions(PLAN, target="ws://h/", send="s3nt", messages=messages)
    found = options.recorded()
    assert found["send"] == HIDDEN
    assert found["messages"]["publish"] == ["POST", f"http://{HIDDEN}@h/pub/{{user}}"]
    assert found["messages"]["publish_header"] == [f"Authorization: {HIDDEN}", "Accept: a"]
    assert found["messages"]["publish_body"] == HIDDEN
    assert options.hidden["POST http://bob:s3cr3t@h/pub/{user}"] == f"POST http://{HIDDEN}@h/pub/{{user}}"
