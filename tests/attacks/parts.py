"""What processes a run is made of, found by their place in its tree and their command lines, and what is left of them.

In: the process id of a `floodtest run`. Out: the process ids of each part, by its name in `PARTS`. A run is started
with a word of its own in the environment, which all of its processes inherit: by that they are found when nobody is
their parent any more. Cost: a few reads of /proc for each process of the run, or of the machine.
"""

import os
from pathlib import Path

PROC = Path("/proc")

FLOODTEST = "floodtest"
MAKER = "maker of the network"
LOADER = "loader of friends"
READER = "reader of the store"
REMOVER = "remover of the store"
SERVER = "server"
SERVER_NURSERY = "server nursery"
FRONT = "front"
CLIENT_NURSERY = "client nursery"
CLIENT_WORKER = "client worker"
GENERATOR = "generator"

PARTS = (
    FLOODTEST, MAKER, LOADER, READER, REMOVER, SERVER, SERVER_NURSERY, FRONT, CLIENT_NURSERY, CLIENT_WORKER, GENERATOR,
)  # fmt: skip

MARK = "FLOODTEST_ATTACK"
"""The variable that tells the processes of a run."""

_BY_WORDS = (
    ("msggen", GENERATOR),
    ("load", LOADER),
    ("count", READER),
    ("floodtest.flyweight.processes.lifeline", REMOVER),
    ("serve", SERVER),
    ("floodtest.loadgen.commands.isolated", MAKER),
)


def find(run: int, part: str) -> list[int]:
    """Return the processes that are now this part of a run."""
    if part == FLOODTEST:
        return [run] if _command_line(run) else []
    return [pid for pid, name in _tree(run, FLOODTEST) if name == part]


def _tree(parent: int, name: str) -> list[tuple[int, str]]:
    """Return all processes below one of that name, each with its own name."""
    found: list[tuple[int, str]] = []
    for pid in _children(parent):
        own = _name(_command_line(pid), name)
        found.append((pid, own))
        found += _tree(pid, own)
    return found


def _name(words: list[str], parent: str) -> str:
    if "floodtest.flyweight.processes.nursery" in words:
        # One that was forked from a nursery, or has not become another program yet, has its parent's command line.
        if any(word.startswith("floodtest.loadgen.") for word in words):
            return CLIENT_NURSERY if parent == FLOODTEST else CLIENT_WORKER
        return SERVER_NURSERY if parent == SERVER else FRONT
    return next((name for word, name in _BY_WORDS if word in words), "")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> list[str]:
    """Return the words of a command line; none of a process that has ended, a zombie included."""
    try:
        return (PROC / f"{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def marked(mark: str) -> list[int]:
    """Return the processes that run with this mark, wherever they are in the tree."""
    wanted = f"{MARK}={mark}\0".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir(PROC)):
        try:
            if wanted in (PROC / pid / "environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def in_words(pids: list[int]) -> str:
    """Say which processes these are."""
    return ", ".join(f"{pid} ({' '.join(_command_line(pid)[3:])[:80]})" for pid in pids)
