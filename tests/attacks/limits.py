"""Commands under small limits of a process: they do what they are for, or say in a line why they can't.

Limits are drawn at random from next to nothing up to what is enough: open files, the size of files (shared memory
included), addresses, and processes where they are counted. Nothing may hang, show a traceback or be left behind.
"""

import math
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tests.analysis.test_report import EXAMPLE
from tests.attacks.order import Order, Tally
from tests.attacks.traces import left_after, marked
from tests.rigs.support import OURS, command

COMMANDS_UNDER_LIMITS = 60

SECONDS = 300.0
"""No command takes longer, on a machine that is busy with other attacks."""

LIMITS = {
    "files": (resource.RLIMIT_NOFILE, 10, 1_000),
    "file size": (resource.RLIMIT_FSIZE, 100, 200 << 20),
    "addresses": (resource.RLIMIT_AS, 64 << 20, 2 << 30),
    "processes": (resource.RLIMIT_NPROC, 1, 100),
}
"""What is limited, from how little to how much."""

CODES = {0: "done", 2: "refused as usage", 3: "refused", 4: "fell short"}

RUN = ("run", *OURS, "--connections", "50", "--hold", "0.1", "--out", "runs")

KINDS: dict[str, list[str]] = {
    "run": command("floodtest", *RUN, "--no-report"),
    "run with messages": command(
        "floodtest",
        *(*RUN, "--json", "--friends", "friends.txt", "--messages", "50", "--message-seconds", "0.2", "--no-report"),
    ),
    "run with report": command("floodtest", *RUN),
    "serve": command("comet", "serve", "--control-port", "0", "--max-users", "100"),
    "load": command("comet", "load", "friends.txt", "--db", "db"),
    "gen": command("fakefriends", "gen", "-n", "2000", "--seed", "1", "--out", "new.txt"),
    "stats": command("fakefriends", "stats", "friends.txt"),
    "report": command("floodtest", "report", "example", "--out", "page"),
    "plan": command("floodtest", "plan", "--connections", "1000"),
}


def attack(order: Order) -> Tally:
    """Run commands under limits."""
    tally, random = Tally(), order.random
    names = sorted(LIMITS)
    if os.geteuid() == 0:
        names.remove("processes")
        tally.notes.append("no limit of processes: it does not apply to root (setrlimit(2))")
    tally.notes.append("no small cgroup: the host would have to be changed for one")
    for number in range(order.count(COMMANDS_UNDER_LIMITS)):
        folder = order.folder / str(number)
        folder.mkdir()
        (folder / "friends.txt").write_text("".join(f"{1 + user // 2} {user + 2}\n" for user in range(48)))
        shutil.copytree(EXAMPLE, folder / "example")
        kind, name = list(KINDS)[number % len(KINDS)], random.choice(names)
        limit, least, most = LIMITS[name]
        value = round(math.exp(random.uniform(math.log(least), math.log(most))))
        tally.did[f"limits of {name}"] += 1
        mark = f"{order.name}-{os.getpid()}-{number}"
        code, said = _run(kind, folder, _limiting(limit, value), mark)
        tally.saw["no end" if code is None else CODES.get(code, f"exit {code}")] += 1
        problems = _problems(code, said) + [f"a process was left: {line}" for line in left_after(mark)]
        problems += [f"a file was left: {path}" for path in _left_in(folder)]
        tally.faults += [f"{kind} with {name} limited to {value:,} (number {number}): {text}." for text in problems]
    return tally


def _limiting(limit: int, value: int) -> Callable[[], None]:
    """Return what sets a limit in the child: where a command is started, as a shell's ulimit does it."""
    return lambda: resource.setrlimit(limit, (value, value))


def _run(kind: str, folder: Path, limiting: Callable[[], None], mark: str) -> tuple[int | None, str]:
    """Run a command under a limit; return its exit code, None if it had to be killed, and its stderr."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    line = [*KINDS[kind], *(("--port", str(port)) if kind == "serve" else ())]
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=marked(mark),
        cwd=folder,
        preexec_fn=limiting,
    )
    if kind == "serve":
        threading.Thread(target=_use_and_end, args=(port, process), daemon=True).start()
    try:
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[1]
    return process.returncode, said


def _use_and_end(port: int, process: "subprocess.Popen[str]") -> None:
    """Be welcomed by a server, and end it; one that ends by itself is left alone."""
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                sock.sendall(b"GET /test/1 HTTP/1.1\r\nHost: a\r\n\r\n")
                if b"Welcome" in sock.recv(4096):
                    process.send_signal(signal.SIGTERM)
                    return
        except OSError:
            threading.Event().wait(0.05)  # it does not listen yet, or has ended


def _problems(code: int | None, said: str) -> list[str]:
    """Return what was wrong with how a command ended."""
    if code is None:
        return [f"it did not end in {SECONDS:g} s, and had said {said[-300:]!r}"]
    if "Traceback" in said:
        return [f"exit code {code} and a traceback: {said[-1000:]!r}"]
    if code not in CODES or (code in (2, 3) and not said.strip()):
        return [f"exit code {code}, and it said {said[-300:]!r}"]
    return []


def _left_in(folder: Path) -> list[str]:
    """Return stores and temporary files that a command has left; a store that was asked for may be there."""
    names = ("subscriptions*", "*.gone", ".*.part")
    return [str(path.relative_to(folder)) for name in names for path in folder.rglob(name)]
