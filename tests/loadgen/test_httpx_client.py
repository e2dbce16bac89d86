"""`floodtest run --client httpx`: what httpx hides, and what it can't do. The rest is in the tests of all clients."""

import errno
import socket
from pathlib import Path

import httpcore
import httpx
import pytest
import trio

from floodtest.analysis import load
from floodtest.loadgen.client.accounts import Phase, State
from floodtest.loadgen.client.tasks import Stream, cause, split_text
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.ports import note_on_kernel_ports
from floodtest.wire.causes import Cause
from floodtest.wire.framing import lines
from floodtest.wire.framing.frames import MAX_PAYLOAD
from floodtest.wire.open_when import Search
from tests.rigs.client import ID, message, welcome
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.support import HEAD, chunk, flood, run_here, scripted_server, user_of

FEW = ("--client", "httpx", "--connections", "3", "--hold", "0.3")


def raised(error: type[httpx.TransportError], number: int) -> httpx.TransportError:
    """Return an error as httpx raises it: the OSError is at the bottom of a chain, one link of which is hidden."""
    of_httpx, of_httpcore, of_trio = error("it says"), httpcore.NetworkError(), trio.BrokenResourceError()
    of_trio.__cause__ = ExceptionGroup("attempts", [OSError(number, "of the kernel")])
    of_httpcore.__context__ = of_trio  # httpcore raises what it has caught once more, `from None`
    of_httpx.__cause__ = of_httpcore
    return of_httpx


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.EMFILE, errno.ENETUNREACH])
@pytest.mark.parametrize(
    ("error", "phase"),
    [(httpx.ConnectError, Phase.CONNECT), (httpx.WriteError, Phase.REQUEST), (httpx.ReadError, Phase.RESPONSE)],
)
def test_an_error_is_named_by_what_is_below_it(error: type[httpx.TransportError], phase: Phase, number: int) -> None:
    assert cause(raised(error, number)) == (phase, number)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectTimeout(""), (Phase.CONNECT, errno.ETIMEDOUT)),
        (httpx.RemoteProtocolError("illegal status line"), (Phase.RESPONSE, Cause.NOT_HTTP)),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            (Phase.RESPONSE, Cause.NO_ANSWER),
        ),
        (httpx.ReadError("for a reason it does not give"), (Phase.RESPONSE, errno.EIO)),
    ],
)
def test_an_error_with_nothing_below_it(error: httpx.TransportError, expected: tuple[Phase, int]) -> None:
    assert cause(error) == expected


def test_what_each_connection_got_is_on_the_accounts(httpx_rig: HttpxRig) -> None:
    answers = {user: [welcome(user) + message(1)[:9], message(1)[9:], message(2, b"tick 7")] for user in range(1, 10)}
    httpx_rig.feed({**answers, 10: [b"HTTP/1.1 404 Not Found\r\n\r\n"]})
    assert httpx_rig.states.tolist() == [State.CLOSED_EARLY] * 9 + [State.FAILED]
    assert (httpx_rig.closed, httpx_rig.failed) == ({"cut": 9}, {"HTTP_404@response": 1})
    assert (httpx_rig.received[0], httpx_rig.ticks, httpx_rig.out_of_sequence) == (27, {7: 9}, (0, 0))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (welcome(1).replace(b"HTTP/1.1", b"HTTP/9.9"), "not_http"),
        (b"HTTP/2.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not_http"),
        (b"HTTP/1.2 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP_404"),
    ],
)
def test_an_answer_of_another_major_version_opens_nothing(answer: bytes, name: str, httpx_rig: HttpxRig) -> None:
    later = welcome(2).replace(b"HTTP/1.1", b"HTTP/1.2")
    others = {user: [welcome(user)] for user in range(3, 11)}
    httpx_rig.feed({1: [answer], 2: [later], **others})
    assert (httpx_rig.failed, httpx_rig.closed) == ({f"{name}@response": 1}, {"cut": 9})


def test_users_go_to_the_addresses_of_a_target_in_turn(tmp_path: Path) -> None:
    rig = HttpxRig(tmp_path, 5, ["127.0.0.1", "127.0.0.2"])
    rig.feed({user: [welcome(user)] for user in range(1, 6)})
    rig.end()
    assert rig.hosts == {user: "127.0.0.1" if user % 2 else "127.0.0.2" for user in range(1, 6)}


def test_explicit_ports_are_refused_when_asked_for_by_name(tmp_path: Path) -> None:
    done = run_here("floodtest", "run", *FEW, "--ports", "explicit", "--out", str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("floodtest: --ports explicit is not for --client httpx")
    assert not list(tmp_path.iterdir())


def test_otherwise_the_kernel_chooses_them_and_the_record_says_so(tmp_path: Path) -> None:
    code, summary, errors = flood(tmp_path, *FEW)
    assert code == 0, errors
    options = load(summary["run"]).run["options"]
    assert (options["client"], options["ports"]) == ("httpx", "kernel")
    assert summary["connections"]["replaced_ports"] == 0


def test_more_connections_from_an_address_than_the_kernel_has_ports_are_spoken_of() -> None:
    note = note_on_kernel_ports(Plan(2, 62_000, "127.0.1.1", 1024, 100_000), (32_768, 60_999))
    assert note
    assert "28,232 for each address" in note
    assert "33,768 or more will fail" in note
    assert note_on_kernel_ports(Plan(2, 62_000, "127.0.1.1", 1024, 28_232), (32_768, 60_999)) is None
    assert note_on_kernel_ports(Plan(4, 25_000, "127.0.1.1", 1024, 100_000), (32_768, 60_999)) is None


def test_what_has_no_end_of_line_is_not_taken_for_a_chunk(tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        connection.sendall(HEAD + chunk(b"Welcome, user %b" % user_of(connection.recv(4096))))

    with scripted_server(handle) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, "--open-when", "first", "--connect-timeout", "1s")
    assert (code, summary["connections"]["failed"]) == (4, {"ETIMEDOUT@response": 3})


def test_a_text_of_any_size_without_an_end_of_line_is_one_message_of_which_a_part_is_kept(tmp_path: Path) -> None:
    rig, text = HttpxRig(tmp_path, 1), [chunk(b"x" * 65536)] * 20
    rig.feed({1: [welcome(1), *text, chunk(b"\n"), message(1), *text]})
    assert (rig.received[0], rig.closed, rig.out_of_sequence) == (3, {"cut_inside": 1}, (0, 0))
    rig.end()
    stream = Stream(1, Search(ID, 1))
    for _ in range(20):
        assert split_text(stream, b"x" * 65536) == ([], None)
    assert len(stream.begun) == MAX_PAYLOAD


def test_of_a_line_of_any_size_a_part_is_kept() -> None:
    stream = Stream(1, Search(ID, 1), framing=lines)
    for _ in range(20):
        assert split_text(stream, b"x" * 65536) == ([], None)
    assert split_text(stream, b"\nmore\n") == ([b"x" * MAX_PAYLOAD, b"more"], None)


def test_a_message_in_pieces_is_counted_once(tmp_path: Path) -> None:
    message = chunk(b"Recvd msg #1: " + b"x" * 200_000 + b"\n")

    def handle(connection: socket.socket) -> None:
        welcome = HEAD + chunk(b"Welcome, user %b\n" % user_of(connection.recv(4096)))
        connection.sendall(welcome + message + chunk(b"Recvd msg #2: y\n"))

    with scripted_server(handle) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW)
    assert (code, summary["received"], summary["missing"], summary["repeated"]) == (0, 9, 0, 0)
    assert summary["bytes"] == 3 * (len(b"Welcome, user 1\n") + 200_015 + len(b"Recvd msg #2: y\n"))


def test_the_users_of_one_client_do_not_share_cookies(tmp_path: Path) -> None:
    requests: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        head = HEAD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: session=%b\r\n\r\n" % user_of(requests[-1]))
        connection.sendall(head + chunk(b"Welcome, user %b\n" % user_of(requests[-1])))

    with scripted_server(handle) as target:
        code, _, errors = flood(tmp_path, "--target", target, *FEW, "--in-flight", "1")
    assert (code, len(requests)) == (0, 3), errors
    assert not [request for request in requests if b"ookie" in request]
    assert all(b"User-Agent: floodtest\r\n" in request for request in requests)


def test_models_that_make_no_sense_are_named() -> None:
    done = run_here("floodtest", "run", "--client", "curl", "--server-model", "threads")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert "--client takes columns or httpx, not 'curl'." in done.stderr
    assert "--server-model takes columns or tasks, not 'threads'." in done.stderr
    done = run_here("floodtest", "run", "--target", "http://127.0.0.1:1/{user}", "--server-model", "tasks")
    assert (done.returncode, "--server-model is for our own server" in done.stderr) == (2, True)
