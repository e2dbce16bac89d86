"""Machines on one machine: network namespaces joined by a bridge, as hosts of a cluster are by a switch.

`apart` starts a program in namespaces of its own, of the network, of processes and, for who is not root, of users. In
there `Switch` makes machines, each a namespace with a device `eth0`, joined to the bridge, on which the program itself
has the first address. The kernel ends all processes of the namespace when the program ends, or who started it, however
that comes, and with the last process and socket of a namespace its devices are gone: nothing has to be cleaned up.

Takes unshare, setpriv and nsenter (util-linux), and ip (iproute2). Fails: CalledProcessError of ip, AssertionError
where a namespace does not come up.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rigs.support import wait_until

NETWORK = "10.99.0"
HUB = f"{NETWORK}.1"
"""The address of the program itself."""

BRIDGE = "bridge"

ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Has the kernel kill a program when the process ends that has started it."""

ESTABLISHED = "01"
"""State of a connection in /proc/net/tcp (TCP_ESTABLISHED of include/net/tcp_states.h)."""


def apart(module: str, *words: str) -> list[str]:
    """Return the command line of a module of ours in namespaces of its own; all that it starts ends with it."""
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    namespaces = [*users, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*ENDS_WITH_US, "unshare", *namespaces, sys.executable, "-P", "-m", module, *words]


@dataclass(frozen=True)
class Machine:
    """A namespace that a process holds."""

    name: str
    address: str
    holder: int

    def line(self, *words: str) -> list[str]:
        """Return the command line of a program on this machine."""
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *words]

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program on it."""
        return subprocess.Popen(self.line(*words), **options)

    def cut(self) -> None:
        """Pull its cable: nothing comes through, and nobody is told."""
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.name, "up")

    def processes(self) -> list[int]:
        """Return the processes on it, the one that holds it left out."""
        ours, found = os.readlink(f"/proc/{self.holder}/ns/net"), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):  # it has ended
                if os.readlink(f"/proc/{pid}/ns/net") == ours and int(pid) != self.holder:
                    found.append(int(pid))
        return found

    def kill(self) -> None:
        """Kill all processes on it."""
        while self.processes():
            self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send all processes on it a signal."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def established(self, port: int, is_server: bool) -> int:
        """Return how many connections the kernel has there from, or to, a port."""
        column, wanted = 1 if is_server else 2, f":{port:04X}"
        lines = Path(f"/proc/{self.holder}/net/tcp").read_text().splitlines()[1:]
        fields = (line.split(maxsplit=4) for line in lines)
        return sum(field[3] == ESTABLISHED and field[column].endswith(wanted) for field in fields)


class Switch:
    """A bridge in the namespace of this process, and the machines on it."""

    def __init__(self) -> None:
        _ip("link", "set", "lo", "up")
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{HUB}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        self._count = 1

    def add(self, name: str) -> Machine:
        """Add a machine."""
        self._count += 1
        holder = subprocess.Popen([*ENDS_WITH_US, "unshare", "--net", "sleep", "infinity"])
        made = Machine(name, f"{NETWORK}.{self._count}", holder.pid)
        ours = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours, "the namespace is there")
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _ip("link", "set", name, "master", BRIDGE, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{made.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            subprocess.run(made.line("ip", *words), check=True)
        return made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def ahead(seconds: int, words: Sequence[str]) -> list[str]:
    """Return a command line whose clocks that count from the start of a machine are ahead, as on another machine."""
    clocks = ["--monotonic", str(seconds), "--boottime", str(seconds)]
    return ["unshare", "--time", *clocks, "--fork", "--kill-child", *words]
