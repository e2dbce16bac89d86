"""Kills `comet load` at random instants: the store then holds nothing of the load or all of it, and takes it again.

The loads go into a new store with users as they are and numbered anew, and into a filled one with users as they are: a
store that holds something takes no users that are numbered anew. Most are killed while the store is open, the others
before. What a store has to hold is what an undisturbed load of that kind has made of it.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing.subscriptions import Store
from tests.attacks.order import Order, Tally
from tests.rigs.support import command, run_here

KILLS = 36
BEFORE = 0.15
"""Share of the kills that come before the store is opened."""

END_SECONDS = 120.0

USERS = {"new": 20_000, "filled": 4_000}
"""In the file that is loaded: into a filled store it is dearer by the pair."""

KINDS = (("new", False), ("new", True), ("filled", False))
"""Of loads: the store they go into, and whether users are numbered anew."""

NOTHING = "nothing"


@dataclass(frozen=True)
class Kind:
    """A kind of load, and what has to come of it."""

    target: str
    anew: bool
    friends: Path
    base: Path | None
    """The store that is loaded into, if it is there already."""
    before: str
    after: str
    ids: bytes | None
    until_open: float
    """Seconds from the start of an undisturbed load until it opens the store."""
    at_work: float
    """Seconds from there to its end."""

    def __str__(self) -> str:
        return f"a {self.target} store, users {'numbered anew' if self.anew else 'as they are'}"


def attack(order: Order) -> Tally:
    """Kill so many loads."""
    tally = Tally()
    random = order.random
    number = order.count(KILLS)
    base = _filled(order.folder)
    kinds = [_kind(order.folder, target, anew, base) for target, anew in KINDS[:number]]
    for kill in range(number):
        kind, is_before = kinds[kill % len(kinds)], random.random() < BEFORE
        delay = random.uniform(0, kind.until_open if is_before else kind.at_work)
        folder = order.folder / f"load-{kill}"
        seconds = _kill(kind, folder, is_before, delay)
        when = "before the store was open" if is_before else "while the store was open"
        tally.did["loads that ended before their kill" if seconds is None else f"kills {when}"] += 1
        found = content(folder / "db")
        tally.saw[{kind.before: "nothing of it", kind.after: "all of it"}.get(found, "something else")] += 1
        at = "it had ended" if seconds is None else f"killed {seconds:.2f} s after its start"
        tally.faults += [f"load {kill} into {kind}, {at}: {what}." for what in _wrong(kind, folder, found)]
        shutil.rmtree(folder)
    for kind in kinds:
        tally.notes.append(f"{kind}: {kind.until_open:.1f} s to its opening, {kind.at_work:.1f} s of work")
    return tally


def _filled(folder: Path) -> Path:
    """Make a store that holds something."""
    write_pairs(folder / "base.txt", friend_graph(USERS["filled"], 8, seed=1), "edgelist")
    _load(folder / "base.txt", folder / "base", [])
    return folder / "base"


def _kind(folder: Path, target: str, anew: bool, filled: Path) -> Kind:
    """Make an undisturbed load, and note what comes of it and how long it takes."""
    name = f"{target}-{'anew' if anew else 'plain'}"
    friends, own = folder / f"{name}.txt", folder / name
    write_pairs(friends, friend_graph(USERS[target], 8, seed=2), "edgelist")
    base = filled if target == "filled" else None
    before = _prepare(base, own)
    with _started(friends, own, anew) as load:
        began = time.monotonic()
        _wait_until_open(load, own)
        opened = time.monotonic()
        assert load.wait(END_SECONDS) == 0
        ended = time.monotonic()
    ids = (own / "ids.csv").read_bytes() if anew else None
    return Kind(target, anew, friends, base, before, content(own / "db"), ids, opened - began, ended - opened)


def _prepare(base: Path | None, own: Path) -> str:
    """Make the folder of a load, with a copy of the store that it goes into; return what that holds."""
    own.mkdir()
    if base is not None:
        shutil.copytree(base, own / "db")
    return content(own / "db")


def _started(friends: Path, own: Path, anew: bool) -> "subprocess.Popen[bytes]":
    line = command("comet", "load", str(friends), "--db", str(own / "db"), *_numbered(own, anew))
    return subprocess.Popen(line, stdout=subprocess.DEVNULL)


def _numbered(own: Path, anew: bool) -> list[str]:
    return ["--renumber", "--ids", str(own / "ids.csv"), "--force"] if anew else []


def _kill(kind: Kind, own: Path, is_before: bool, delay: float) -> float | None:
    """Make a load and kill it; return how long after its start, None if it had ended."""
    _prepare(kind.base, own)
    began = time.monotonic()
    with _started(kind.friends, own, kind.anew) as load:
        if not is_before:
            _wait_until_open(load, own)
        time.sleep(delay)
        if load.poll() is not None:
            return None
        load.send_signal(signal.SIGKILL)
        seconds = time.monotonic() - began
        load.wait()
    return seconds


def _wait_until_open(load: "subprocess.Popen[bytes]", own: Path) -> None:
    data, files = str(own / "db" / "data.mdb"), f"/proc/{load.pid}/fd"
    until = time.monotonic() + END_SECONDS
    while load.poll() is None and time.monotonic() < until:
        try:
            if data in [os.readlink(f"{files}/{name}") for name in os.listdir(files)]:
                return
        except OSError:
            pass  # one was closed meanwhile, or the process has ended
        time.sleep(0.002)


def _load(friends: Path, store: Path, options: Sequence[str]) -> None:
    done = run_here("comet", "load", str(friends), "--db", str(store), *options)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


def content(folder: Path) -> str:
    """Return a digest of all that a store holds; `NOTHING` where there is no store, or none of ours yet."""
    try:
        with Store(folder) as store:
            users = store.users().tolist()
            found = hashlib.sha256(repr((store.counts(), len(users))).encode())
            for user in users:
                found.update(store.subscribers(user).tobytes() + b"/")
            return NOTHING if store.counts() == (0, 0) else found.hexdigest()
    except Refused:
        if (folder / "data.mdb").exists() and (folder / "data.mdb").stat().st_size > 1 << 16:
            return "a store that can't be read"
        return NOTHING


def _wrong(kind: Kind, own: Path, found: str) -> Iterator[str]:
    """Say what is wrong with a store after a kill, and with what it holds when it is loaded again."""
    ids = own / "ids.csv"
    if found not in (kind.before, kind.after):
        yield f"the store holds neither nothing nor all of the load: {found}"
    if ids.exists():
        if ids.read_bytes() != kind.ids:
            yield "the file with the ids of users is not whole"
        elif found != kind.after:
            yield "there are the ids of users who are not in the store"
    try:
        _load(kind.friends, own / "db", _numbered(own, kind.anew))
    except Refused as error:
        yield f"it can't be loaded again: {error}"
        return
    if content(own / "db") != kind.after:
        yield "when it is loaded again, the store does not hold what it should"
    if kind.anew and ids.read_bytes() != kind.ids:
        yield "when it is loaded again, the ids of users are wrong"
