"""What goes wrong in a run, and what must happen: each loss is counted and named, and nothing is left behind."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from floodtest.analysis import load
from floodtest.analysis.record.stages import Stage
from tests.rigs.support import (
    HEAD,
    Handler,
    chunk,
    comet,
    descendants,
    flood,
    open_now,
    processes_of,
    run_here,
    scripted_server,
    started,
    user_of,
    wait_until,
)

FEW = ("--connections", "20", "--hold", "0.5")


def against(handle: Handler, tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    with scripted_server(handle) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, *arguments)
    connections = summary["connections"]
    failed = sum(connections["failed"].values())
    assert connections["planned"] == connections["opened"] + failed + connections["not_reached"]
    return code, connections


def welcome(request: bytes) -> bytes:
    return HEAD + chunk(b"hello user %b\n" % user_of(request))


def answer(make: Callable[[bytes], bytes], then_close: bool = False) -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.sendall(make(connection.recv(4096)))
        if then_close:
            connection.close()

    return handle


def test_a_plain_server_of_another_kind(client: str, tmp_path: Path) -> None:
    code, connections = against(answer(welcome), tmp_path, "--client", client)
    assert (code, connections["peak_open"]) == (0, 20)


def test_the_welcome_byte_by_byte(client: str, tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in welcome(connection.recv(4096)):
            connection.send(bytes([byte]))

    code, connections = against(handle, tmp_path, "--client", client)
    assert (code, connections["opened"]) == (0, 20)


def test_a_chunk_header_split_across_reads(client: str, tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        request = connection.recv(4096)
        connection.sendall(welcome(request) + b"1")
        time.sleep(0.1)  # so that the client reads in between: that is what is tested
        connection.sendall(b"4\r\n" + b"x" * 19 + b"\n\r\n")

    with scripted_server(handle) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, "--hold", "2", "--client", client)
    assert (code, summary["received"]) == (0, 40)


def test_refused(client: str, tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # so that no other server gets the port, and with it these connections
        target = f"http://127.0.0.1:{nobody.getsockname()[1]}/test/{{user}}"
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, "--client", client)
    assert (code, summary["outcome"]) == (4, "shortfall")
    assert summary["connections"]["failed"] == {"ECONNREFUSED@connect": 20}


def test_reset_before_the_welcome(client: str, tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    code, connections = against(handle, tmp_path, "--client", client)
    assert (code, connections["failed"]) == (4, {"ECONNRESET@response": 20})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP_404@response"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP_503@response"),
        (b"\x00\x01garbage\r\n\r\n", "not_http@response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not_http@response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "not_a_stream@response"),
        (HEAD + b"zz\r\nhello\r\n", "bad_framing@response"),
        (HEAD + chunk(b"hello user 999999999\n"), "open_when_unmet@response"),
    ],
)
def test_an_answer_that_opens_nothing(client: str, text: bytes, name: str, tmp_path: Path) -> None:
    options = ("--client", client, "--open-when", "id", "--connect-timeout", "1s")
    code, connections = against(answer(lambda _: text), tmp_path, *options)
    assert (code, connections["failed"]) == (4, {name: 20})


def test_a_redirect_is_told_in_words_and_shown(client: str, tmp_path: Path) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
    with scripted_server(answer(lambda _: head)) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, "--client", client)
    (cause,) = summary["causes"]
    assert (code, cause["name"], cause["count"]) == (4, "HTTP_302@response", 20)
    assert cause["note"] == "Location: https://elsewhere.example/"
    kept = json.loads((Path(summary["run"]) / "answers.json").read_text())
    assert [(one["name"], one["note"]) for one in kept] == [("HTTP_302@response", cause["note"])] * 5
    assert all(one["answer"].startswith(r"HTTP/1.1 302 Found\r\nLocation: ") for one in kept)
    assert summary["timing"]["first_byte_ms"]["max"] > 0
    assert (summary["timing"]["connect_ms"] is not None) == (client == "columns")
    assert summary["timing"]["open_ms"] is summary["lifetimes"] is None


def test_closed_before_the_welcome(client: str, tmp_path: Path) -> None:
    options = ("--client", client, "--open-when", "first")
    code, connections = against(answer(lambda _: HEAD, then_close=True), tmp_path, *options)
    assert (code, connections["failed"]) == (4, {"cut@response": 20})


def test_closed_in_mid_chunk(client: str, tmp_path: Path) -> None:
    code, connections = against(
        answer(lambda r: welcome(r) + b"40\r\nhalf of it", then_close=True),
        tmp_path,
        "--client",
        client,
        "--hold",
        "10",
    )
    assert (code, connections["closed_early"], connections["closed_by"]) == (4, 20, {"cut_inside": 20})


def test_never_answers(client: str, tmp_path: Path) -> None:
    code, connections = against(lambda connection: None, tmp_path, "--client", client, "--connect-timeout", "1s")
    assert (code, connections["failed"]) == (4, {"ETIMEDOUT@response": 20})


def test_lost_and_repeated_messages_are_found(client: str, tmp_path: Path) -> None:
    def messages(request: bytes) -> bytes:
        numbers = [1, 2, 4, 4, 5]
        return welcome(request) + b"".join(chunk(b"Recvd msg #%d: x\n" % n) for n in numbers)

    with scripted_server(answer(messages)) as target:
        code, summary, _ = flood(tmp_path, "--target", target, *FEW, "--client", client)
    assert (code, summary["missing"], summary["repeated"]) == (4, 20, 20)


def test_an_unknown_name_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    code, summary, errors = flood(tmp_path, "--target", "http://no.such.host.invalid/test/{user}", *FEW)
    assert (code, summary["outcome"]) == (3, "refused")
    assert "can't be resolved" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_missing_addresses_are_named(tmp_path: Path) -> None:
    code, _, errors = flood(
        tmp_path, "--target", "http://192.0.2.1/test/{user}", "--base-ip", "192.0.2.7", "--ips", "2", "--each", "10"
    )
    assert code == 3
    assert "192.0.2.7, 192.0.2.8" in errors


def test_loopback_sources_do_not_reach_other_machines(tmp_path: Path) -> None:
    code, _, errors = flood(tmp_path, "--target", "http://192.0.2.1/test/{user}", *FEW)
    assert code == 3
    assert "--base-ip" in errors


def test_a_name_is_looked_up_for_the_kind_of_the_sources(client: str, tmp_path: Path) -> None:
    with scripted_server(answer(welcome)) as target:
        code, _, errors = flood(
            tmp_path, "--target", target.replace("127.0.0.1", "localhost"), *FEW, "--client", client
        )
    assert code == 0, errors


def test_nonsense_is_named_all_at_once() -> None:
    done = run_here(
        "floodtest", "run", "--ips", "0", "--each", "abc", "--hold", "soon", "--rate", "-1", "--ports", "mine",
        "--base-ip", "nowhere", "--target", "ftp://x", "--tick", "1",
    )  # fmt: skip
    assert done.returncode == 2
    for option in ("--ips", "--each", "--hold", "--rate", "--ports", "--target", "--tick"):
        assert f"{option} " in done.stderr, done.stderr
    assert "--target 'ftp://x' has to begin with one of http://, https://, ws://, wss://, tcp://." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, summary, errors = flood(tmp_path / "file", *FEW)
    assert (code, summary["outcome"]) == (3, "refused")
    assert "Choose another --out" in errors


def workers_of(process: "subprocess.Popen[str]", model: str) -> list[psutil.Process]:
    """Return the workers of a run, those that only fork left out."""
    return [one for one in descendants(process, model) if not one.children()]


def until_open(tmp_path: Path, connections: int) -> None:
    wait_until(lambda: open_now(tmp_path) >= connections, f"{connections} open connections")


def test_a_client_worker_that_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "4000", "--hold", "6") as process:
        until_open(tmp_path, 4000)
        victim = workers_of(process, "floodtest.loadgen.client.columns")[0]
        victim.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        summary = json.loads(output)
        connections = summary["connections"]
        assert (process.returncode, summary["outcome"]) == (4, "shortfall")
        assert connections["opened"] == 4000
        assert connections["closed_early"] == connections["closed_by"]["LOST"] > 0
        assert "by signal 9" in " ".join(summary["reasons"])


def stage_of(out: Path) -> str | None:
    """Return the stage that the only run in a folder is in; None before its record is begun."""
    for file in out.glob("*/run.json"):
        return str(load(file.parent).run["stages"][-1]["name"])
    return None


def leaves(process: "subprocess.Popen[str]", module: str) -> list[psutil.Process]:
    """Wait for the workers of a run, the processes that only fork left out."""
    return list(wait_until(lambda: workers_of(process, module), f"workers of {module}"))


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the summary of a run that ends and leaves no process behind."""
    tree = [one.pid for one in descendants(process)]
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    wait_until(lambda: not processes_of(tree), "no process of the run is left")
    summary: dict[str, Any] = json.loads(output)
    return summary


def test_the_process_that_client_workers_come_from_is_killed(tmp_path: Path) -> None:
    """Its workers can't be told of any more, so they end with it: none may fall out of the figures."""
    with started(tmp_path, "--connections", "4000", "--hold", "20") as process:
        until_open(tmp_path, 4000)
        (worker, *_) = workers_of(process, "floodtest.loadgen.client.columns")
        psutil.Process(worker.ppid()).send_signal(signal.SIGKILL)
        summary = ended(process)
    assert (process.returncode, summary["outcome"]) == (4, "shortfall")
    assert summary["connections"]["closed_by"] == {"LOST": 4000}
    (reason,) = [one for one in summary["reasons"] if "client workers" in one]
    assert "by signal 9" in reason


def test_the_process_that_fronts_come_from_is_killed(tmp_path: Path) -> None:
    """It takes them along, and a server without fronts ends."""
    with started(tmp_path, "--connections", "3000", "--hold", "30") as process:
        until_open(tmp_path, 3000)
        fronts = descendants(process, "floodtest.server_under_test.fronts.columns")
        (origin,) = [one for one in fronts if one.children()]
        origin.send_signal(signal.SIGKILL)
        summary = ended(process)
    assert (process.returncode, summary["outcome"]) == (4, "shortfall")
    assert summary["connections"]["closed_early"] == sum(summary["connections"]["closed_by"].values()) == 3000
    assert summary["reasons"][0].startswith("the bundled server ended by itself; its last words are in server.log")
    assert "All fronts have ended by themselves" in (Path(summary["run"]) / "server.log").read_text()


def test_a_front_that_is_killed_before_the_ramp(tmp_path: Path) -> None:
    """Nobody misses a connection, and yet the server measured is not the one that was asked for."""
    with started(tmp_path, "--connections", "2000", "--stages", "0/s:6s,max", "--hold", "0.5") as process:
        wait_until(lambda: stage_of(tmp_path) == "ramp", "the ramp")
        leaves(process, "floodtest.server_under_test.fronts.columns")[0].send_signal(signal.SIGKILL)
        summary = ended(process)
    assert (process.returncode, summary["connections"]["opened"]) == (4, 2000)
    assert summary["reasons"] == [
        "1 of 2 fronts of the bundled server ended by themselves, by signal 9, and with them the connections they held"
    ]


def test_a_client_worker_that_is_stopped_does_not_keep_the_run_from_ending(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "4000", "--hold", "1") as process:
        until_open(tmp_path, 4000)
        workers_of(process, "floodtest.loadgen.client.columns")[0].send_signal(signal.SIGSTOP)
        summary = ended(process)
    assert summary["connections"]["opened"] == 4000


@pytest.mark.parametrize("which", ["front", "server"])
def test_a_server_that_is_stopped_does_not_keep_the_run_from_ending(which: str, tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "2000", "--hold", "1") as process:
        until_open(tmp_path, 2000)
        front = leaves(process, "floodtest.server_under_test.fronts.columns")[0]
        (server,) = [one for one in descendants(process, "floodtest.server_under_test") if one.ppid() == process.pid]
        (front if which == "front" else server).send_signal(signal.SIGSTOP)
        summary = ended(process)
    assert summary["connections"]["opened"] == 2000
    assert summary["outcome"] == ("ok" if which == "front" else "shortfall")
    assert ("the bundled server did not answer" in " ".join(summary["reasons"])) == (which == "server")


def test_a_stopped_server_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "2000", "--hold", "30") as process:
        until_open(tmp_path, 2000)
        tree = descendants(process)
        for one in tree:
            one.send_signal(signal.SIGSTOP)
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes_of([one.pid for one in tree]), "no process of the run is left")


def test_a_disk_that_is_full_ends_no_run(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "2000", "--hold", "6", "--interval", "0.1") as process:
        wait_until(lambda: stage_of(tmp_path) == "hold", "the hold")
        (samples,) = tmp_path.glob("*/samples.csv")
        room = samples.stat().st_size + 100  # for a part of a line
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (room, room))
        summary = ended(process)
    assert (process.returncode, summary["connections"]["opened"]) == (4, 2000)
    assert summary["connections"]["closed_early"] == 0
    (reason,) = summary["reasons"]
    assert reason.startswith(f"record: Can't write the run record {summary['run']}: ")
    record = load(summary["run"])
    assert record.samples[-1].stage in (Stage.RAMP, Stage.HOLD)
    assert record.read_states().tolist() == [2] * 2000


@pytest.mark.parametrize("connections", [1, 2500, 5000])
def test_the_parent_is_killed(connections: int, tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "5000", "--rate", "4000", "--hold", "30") as process:
        until_open(tmp_path, connections)
        tree = [child.pid for child in descendants(process)]
        assert len(tree) >= 5
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
        record = load(next(tmp_path.iterdir()))
        assert record.samples
        assert record.read_states().size == 5000


def test_files_run_out_in_a_worker(tmp_path: Path) -> None:
    with started(tmp_path, "--connections", "4000", "--rate", "1000", "--hold", "0.5") as process:
        until_open(tmp_path, 1)
        for worker in workers_of(process, "floodtest.loadgen.client.columns"):
            psutil.Process(worker.pid).rlimit(psutil.RLIMIT_NOFILE, (500, 500))
        output, _ = process.communicate(timeout=60)
        summary = json.loads(output)
        connections = summary["connections"]
        assert process.returncode == 4
        assert set(connections["failed"]) == {"EMFILE@bind"}
        assert connections["opened"] + connections["failed"]["EMFILE@bind"] == 4000


def test_the_same_pairs_twice_in_a_row(tmp_path: Path) -> None:
    """A run right after another one, against a server that leaves lingering sockets, still gets its connections."""
    with comet("--max-users", "500") as server:
        for _ in range(2):
            code, summary, errors = flood(
                tmp_path, "--target", server.url, "--connections", "500", "--hold", "0", "--first-port", "3000"
            )
            assert (code, summary["connections"]["opened"]) == (0, 500), errors


def test_an_external_server_is_found_and_measured(tmp_path: Path) -> None:
    with comet("--max-users", "500") as server:
        code, summary, errors = flood(tmp_path, "--target", server.url, "--connections", "300", "--hold", "0.2")
    assert code == 0
    (process,) = summary["server"]["processes"]
    assert process["pid"] == server.process.pid
    assert f"those of {process['name']} (process {process['pid']}) and its children: found by who" in errors
    assert summary["server"]["addresses"] == [f"127.0.0.1:{server.port}"]
    assert summary["server"]["queue"]["overflows"] is not None
    assert summary["memory"]["server_user_bytes_per_connection"] > 0
    assert summary["workers"]["server"] is None


def test_own_processes_only(tmp_path: Path) -> None:
    """A run leaves no socket, process or file but its record behind."""
    code, summary, _ = flood(tmp_path, *FEW)
    assert code == 0
    assert {path.name for path in Path(summary["run"]).iterdir()} == {
        "run.json", "samples.csv", "states.u8", "ports.u16", "server.log",
    }  # fmt: skip
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert os.listdir(tmp_path) == [Path(summary["run"]).name]
