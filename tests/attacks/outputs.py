"""Commands whose standard output or standard error is closed, full, or loses its reader, from the start or midway.

What a command is for is done all the same, and its exit code says what became of standard output: 0 if nobody misses
anything, 3 where a disk is full, 141 where the reader has gone. Standard error is display only and changes nothing.
"""

import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from floodtest.analysis import load
from tests.analysis.test_report import EXAMPLE
from tests.attacks.order import Order, Tally
from tests.attacks.traces import left_after, marked
from tests.rigs.support import OURS, command

RUNS = 42

WAYS = ("open", "closed", "full", "unread", "dying")
"""What becomes of a stream: dying is a reader that reads some bytes and then goes."""

CODES = {"open": {0}, "closed": {0}, "full": {3}, "unread": {141}, "dying": {0, 141}}
"""By what became of standard output."""

SECONDS = 300.0
"""No command takes longer, on a machine that is busy with other attacks."""


@dataclass(frozen=True)
class Stream:
    """What a command gets as standard output or standard error: a descriptor, or none and it is closed."""

    way: str
    descriptor: int | None
    text: Path | None = None
    """Where what is written to it can be read."""


def attack(order: Order) -> Tally:
    """Run commands with streams that are lost in each way."""
    tally, random = Tally(), order.random
    for number in range(order.count(RUNS)):
        folder = order.folder / str(number)
        folder.mkdir()
        kind = KINDS[number % len(KINDS)]
        ways = random.choice(WAYS), random.choice(WAYS)
        tally.did[kind] += 1
        where = f"{kind} with standard output {ways[0]} and standard error {ways[1]} (number {number})"
        mark = f"{order.name}-{os.getpid()}-{number}"
        with ExitStack() as stack:
            out, err = (_stream(way, folder / name, random, stack) for way, name in zip(ways, "oe", strict=True))
            code = _run(kind, folder, out, err, mark)
        tally.saw["no end" if code is None else f"exit {code}"] += 1
        problems = _problems(kind, folder, out, err, code)
        problems += [f"a process was left: {line}" for line in left_after(mark)]
        tally.faults += [f"{where}: {problem}." for problem in problems]
    return tally


KINDS = ("run", "run --json", "serve", "gen", "stats", "report")


def _line(kind: str, folder: Path, port: int) -> list[str]:
    small = ("--connections", "50", "--hold", "0.1", "--no-report", "--out", str(folder / "runs"))
    match kind:
        case "run" | "run --json":
            return command("floodtest", *kind.split(), *OURS, *small)
        case "serve":
            return command("comet", "serve", "--port", str(port), "--control-port", "0", "--max-users", "10")
        case "gen":
            return command("fakefriends", "gen", "-n", "500", "--seed", "1", "--out", str(folder / "f.txt"))
        case "stats":
            (folder / "f.txt").write_text("1 2\n2 3\n")
            return command("fakefriends", "stats", str(folder / "f.txt"))
    shutil.copytree(EXAMPLE, folder / "example")
    return command("floodtest", "report", str(folder / "example"), "--out", str(folder / "page"))


def _run(kind: str, folder: Path, out: Stream, err: Stream, mark: str) -> int | None:
    """Run a command to its end, and return its exit code; None if it had to be killed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    closed = " ".join(f"{name}>&-" for name, stream in (("1", out), ("2", err)) if stream.descriptor is None)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *_line(kind, folder, port)],
        stdin=subprocess.DEVNULL,
        stdout=out.descriptor,
        stderr=err.descriptor,
        env=marked(mark),
        cwd=folder,
    )
    for stream in (out, err):
        if stream.way == "dying" and stream.descriptor is not None:
            os.close(stream.descriptor)  # otherwise its reader waits for us
    try:
        # One whose standard output fails ends by itself, once it says where it serves; a signal would cut that short.
        if kind == "serve" and out.way in ("open", "closed", "dying") and _serves(port, process):
            process.send_signal(signal.SIGTERM)
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _serves(port: int, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a server welcomes a user, or has ended; return whether it does."""
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                sock.sendall(b"GET /test/1 HTTP/1.1\r\nHost: a\r\n\r\n")
                if b"Welcome" in sock.recv(4096):
                    return True
        except OSError:
            threading.Event().wait(0.05)  # it does not listen yet, or has ended
    return False


def _stream(way: str, file: Path, random: Random, stack: ExitStack) -> Stream:
    """Make a stream that is lost in a way."""
    if way == "closed":
        return Stream(way, None)
    if way in ("open", "full"):
        opened = os.open("/dev/full" if way == "full" else file, os.O_WRONLY | os.O_CREAT)
        stack.callback(os.close, opened)
        return Stream(way, opened, None if way == "full" else file)
    reader, writer = os.pipe()
    if way == "unread":
        os.close(reader)
        stack.callback(os.close, writer)
        return Stream(way, writer)
    wanted = random.choice((1, 10, 100, 1000))

    def read_some() -> None:
        with open(reader, "rb", buffering=0) as reading:
            left = wanted
            while left and (data := reading.read(left)):
                left -= len(data)

    thread = threading.Thread(target=read_some)
    thread.start()
    stack.callback(thread.join)
    return Stream(way, writer)


def _problems(kind: str, folder: Path, out: Stream, err: Stream, code: int | None) -> list[str]:
    """Return what was wrong with how a command ended, and with what it has done."""
    if code is None:
        return [f"it did not end in {SECONDS:g} s"]
    codes = CODES[out.way] | ({-signal.SIGTERM} if (kind, out.way) == ("serve", "dying") else set())
    problems = [] if code in codes else [f"exit code {code}, and not {sorted(codes)}"]
    said = err.text.read_text(errors="replace") if err.text is not None else ""
    if "Traceback" in said or "Error" in said:
        problems.append(f"it said {said[-500:]!r}")
    if err.text is not None and out.way == "full" and "Can't write to standard output" not in said:
        problems.append("it did not say that standard output was full")
    if err.text is not None and out.way == "closed" and kind == "run" and "run.json" not in said:
        problems.append("it did not say where the summary is")
    return problems + _undone(kind, folder)


def _undone(kind: str, folder: Path) -> list[str]:
    """Return what a command was for and has not done."""
    if kind.startswith("run"):
        records = [load(path) for path in (folder / "runs").glob("*")]
        whole = [each for each in records if each.summary is not None and each.summary.outcome == "ok"]
        open_now = [int((each.read_states() == 2).sum()) for each in whole]
        return [] if open_now == [50] else [f"{len(records)} records, of which whole ones have {open_now} open"]
    made = {"gen": folder / "f.txt", "report": folder / "page/report.html"}.get(kind)
    if made is not None and not (made.exists() and made.stat().st_size > 10_000):
        return [f"{made.name} is not whole"]
    return []
