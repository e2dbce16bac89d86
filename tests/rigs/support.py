"""What several tests share: running the commands as a person does, and servers that misbehave."""

import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import numpy as np
import psutil

from floodtest.loadgen.client.accounts import State
from floodtest.wire.protocols import CHUNKED
from floodtest.wire.template import RequestTemplate
from tests.rigs.forking import forked, forking

COMMANDS = {"floodtest": "floodtest", "comet": "floodtest.server_under_test", "fakefriends": "floodtest.datagen"}


MAINS = {
    "floodtest": "floodtest.loadgen.commands.floodtest",
    "comet": "floodtest.server_under_test.commands.comet",
    "fakefriends": "floodtest.datagen.cli",
}

OUR_NETWORK = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
"""Loopback addresses of this test process: another one that runs at the same time has its own."""

OURS = ("--network", "host", "--base-ip", f"{OUR_NETWORK}.1")
"""In the network of the host: for one of its own a run starts anew, which takes a second of CPU. An option that is
given once more takes the place of the first."""


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of one of our commands, of the checkout or wheel that is being tested."""
    return [sys.executable, "-P", "-m", COMMANDS[name], *arguments]


def run(name: str, *arguments: str, timeout: float = 180, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start one of our commands as a person does, and run it to its end."""
    return subprocess.run(command(name, *arguments), capture_output=True, text=True, timeout=timeout, **options)


def run_forked(name: str, *arguments: str, timeout: float = 180, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one of our commands to its end in a fork of this process, which costs a fifth of one that is started."""
    line = command(name, *arguments)
    with forked(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def run_here(
    name: str, *arguments: str, cwd: Path | str = ".", timeout: float = 180
) -> subprocess.CompletedProcess[str]:
    """Run one of our commands in this process, which is quick; an error that is not ours is raised.

    What it launches is forked. Past its time it gets one SIGINT, which ends a run in order.
    """
    main = importlib.import_module(MAINS[name]).main
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    late = threading.Timer(timeout, os.kill, (os.getpid(), signal.SIGINT))
    no_exec = patch.object(os, "execv", None)  # a run that wants a network of its own would end the tests
    line = patch.object(sys, "argv", [name, *arguments])
    with redirect_stdout(out), redirect_stderr(err), chdir(cwd), line, no_exec, forking():
        late.start()
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            late.cancel()
    return subprocess.CompletedProcess([name, *arguments], code or 0, out.getvalue(), err.getvalue())


def run_in_child(
    before: Callable[[], None], name: str, *arguments: str, cwd: Path | str = "."
) -> subprocess.CompletedProcess[str]:
    """Run one of our commands in a fork of this process, which something limits first: quicker than to import it anew.

    The child has this thread only, and touches nothing that another one may hold.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # a server that does serve ends as well
        try:
            before()
            done = run_here(name, *arguments, cwd=cwd)
            told = [done.returncode, done.stdout, done.stderr]
        except BaseException:
            told = [1, "", traceback.format_exc()]
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    return subprocess.CompletedProcess([name, *arguments], *json.loads(text))


def flood(out: Path, *arguments: str, timeout: float = 180) -> tuple[int, dict[str, Any], str]:
    """Run `floodtest run --json`; return its exit code, its summary ({} if none) and its stderr, its workers' last.

    It runs in this process, but for one in a network of its own, which takes the place of its process: of a fork.
    """
    line = ("floodtest", "run", "--json", "--no-report", "--out", str(out), *OURS, *arguments)
    with tempfile.TemporaryFile() as workers:
        if {"--network", "--link"} & set(arguments):
            done = run_forked(*line, timeout=timeout)
        else:
            with _stderr_of_children(workers.fileno()):
                done = run_here(*line, timeout=timeout)
        workers.seek(0)
        errors = done.stderr + workers.read().decode(errors="replace")
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, errors


@contextmanager
def _stderr_of_children(descriptor: int) -> Iterator[None]:
    """What processes that are started in the block write to stderr goes to this descriptor."""
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def started(
    out: Path, *arguments: str, is_forked: bool = True, preexec_fn: Callable[[], None] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """A `floodtest run --json` that is under way; killed with the block if it has not ended.

    It is forked, unless the test is about how it starts.
    """
    process = (forked if is_forked else subprocess.Popen)(
        command("floodtest", "run", "--json", "--no-report", "--out", str(out), *OURS, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def open_now(out: Path) -> int:
    """Return how many connections of the only run in a folder are open."""
    for states in out.glob("*/states.u8"):
        return int(np.count_nonzero(np.fromfile(states, np.uint8) == State.OPEN))
    return 0


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Return the first true value of a condition about another process, which has no event to wait for.

    The time is that of a machine that does much else: it is there to end what would never come.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Comet:
    """A `comet serve` of this test: where it listens, and its figures."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, control: int) -> None:
        self.process = process
        self.port = port
        self.control = control
        self.url = f"http://127.0.0.1:{port}/test/{{user}}"

    def stats(self) -> dict[str, Any]:
        import httpx

        figures: dict[str, Any] = httpx.get(
            f"http://127.0.0.1:{self.control}/stats", trust_env=False, verify=False, timeout=60
        ).json()
        return figures

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def comet(*arguments: str, stderr: IO[str] | None = None, is_started: bool = False) -> Iterator[Comet]:
    """A `comet serve` on free ports as long as the block lasts; forked, unless it is to be started as a person does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fixed = ["--port", "0", "--control-port", "0", "--workers", "2", "--parent-fd", str(theirs.fileno())]
        line = command("comet", "serve", *fixed, *arguments)
        start = subprocess.Popen if is_started else forked
        process = start(line, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=stderr, text=True)
        theirs.close()
        ours.settimeout(60)
        where = json.loads(ours.recv(4096) or b"{}")
        try:
            yield Comet(process, where["port"], where["control"])
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(60)


Handler = Callable[[socket.socket], None]


@contextmanager
def scripted_server(handle: Handler, host: str = "127.0.0.1") -> Iterator[str]:
    """A server that calls `handle` in a thread for each connection it accepts; gives its target URL."""
    held: list[socket.socket] = []

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            held.append(connection)
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server((host, 0), backlog=1000) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://{host}:{listener.getsockname()[1]}/test/{{user}}"
        listener.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def user_of(request: bytes) -> bytes:
    """Return the id that a request asks for."""
    return request.split()[1].rpartition(b"/")[2]


REQUEST = CHUNKED.request(RequestTemplate(b"/test/{user}"), "target")
"""What a connection asks for unless a test says otherwise."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


def descendants(process: "subprocess.Popen[str]", *words: str) -> list[psutil.Process]:
    """Return the processes below one with all these words in their command lines (`a` stands for `a.b` as well).

    One that has ended meanwhile has no command line any more.
    """
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            line = [f"{word}." for word in one.cmdline()]
            if all(any(given.startswith(f"{word}.") for given in line) for word in words):
                found.append(one)
    return found


def processes_of(pids: list[int]) -> list[int]:
    """Return those of the process ids that still run."""
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}") and "Z" not in _state(pid)]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
