"""Which processes are the server's that is not ours: those that `--server-pid` names, or that listen at the target.

In: a process, or the addresses of a target on this machine. Out: the processes at the top, each of which stands for all
that descend from it, or a sentence that says why nobody's memory is measured: where one of the listeners belongs to
somebody who can't be looked at, or passes connections on to others, nothing is guessed. Cost: a look into /proc/PID/fd
of each process, so it is done once, before anything is open. Fails: Refused for a process that was named and can't be
measured.
"""

import os
import pwd
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.endpoints import Endpoint, is_path
from floodtest.flyweight.machine.files import PROC
from floodtest.flyweight.machine.listeners import Listener, listeners_at
from floodtest.flyweight.machine.processes import private_bytes

LOOK_SECONDS = 2.0
"""How long open files are looked at: on a machine of a million of them the walk would hold up the start."""

FORWARDERS = frozenset(
    {
        *("docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "pasta.avx2", "passt", "gvproxy"),
        *("kubectl", "ssh", "sshd", "socat", "systemd-socket-proxyd", "systemd", "init", "inetd", "xinetd"),
    }
)
"""Programs that listen for a server elsewhere, as in a container or on another machine, or for one they start then."""

PROXIES = frozenset({"apache2", "caddy", "envoy", "haproxy", "httpd", "nginx", "traefik", "varnishd"})
"""Programs that are the server itself, or pass connections on to it: they are measured, and it is said."""


@dataclass(frozen=True)
class Process:
    """A process, and what it is called."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@dataclass(frozen=True)
class ServerProcesses:
    """Whose memory and CPU are the server's: each process with all that descend from it."""

    roots: tuple[Process, ...] = ()
    """None: nobody's."""
    reason: str = ""
    """Why these, or why nobody: a part of a sentence."""
    holders: tuple[int, ...] = ()
    """All processes that listen, of which the roots are those at the top; none where one of them can't be seen."""

    def pids(self) -> list[int]:
        """Return all processes that there are now; OSError where /proc can't be opened."""
        return process_tree([process.pid for process in self.roots])

    def note(self) -> str:
        """Say whose memory it is."""
        if not self.roots:
            return f"The server's memory and CPU are not measured: {self.reason}."
        named = ", ".join(map(str, self.roots[:5]))
        more = "" if len(self.roots) <= 5 else f" and {len(self.roots) - 5} more"
        whose = "its" if len(self.roots) == 1 else "their"
        return f"The server's memory and CPU are those of {named}{more} and {whose} children: {self.reason}."


def named_server(pid: int) -> ServerProcesses:
    """Return the process that somebody has named; Refused when it can't be found or measured."""
    if not psutil.pid_exists(pid):
        raise Refused(f"There is no process {pid}. Name the server's with --server-pid.")
    if private_bytes(pid) is None:
        raise Refused(
            f"The memory of process {pid} can't be read (/proc/{pid}/smaps_rollup): it is another user's. Be that "
            "user or root, or leave --server-pid out: the server is not measured then."
        )
    return ServerProcesses((Process(pid, _name(pid)),), "as asked for with --server-pid", tuple(process_tree([pid])))


def find_server(
    addresses: Sequence[Endpoint],
    listeners: Sequence[Listener],
    proc: Path = PROC,
    clock: Callable[[], float] = time.monotonic,
) -> ServerProcesses:
    """Return who listens at addresses of this machine, as far as that is found in `LOOK_SECONDS` of a clock."""
    holding: dict[int, list[int]] = {}
    for address, port in addresses:
        at = listeners_at(listeners, address, port)
        if not at:
            return ServerProcesses(
                reason=f"nothing listens {_at(address, port)} in this network namespace, so either nothing answers "
                "there, or what does is elsewhere, as in a container"
            )
        holding |= {listener.inode: [] for listener in at}
    until = clock() + LOOK_SECONDS
    if not _find_holders(holding, proc, lambda: clock() > until):
        return ServerProcesses(
            reason=f"who listens there was not found in {LOOK_SECONDS:g} s among all open files of this machine, and "
            "the search was given up; --server-pid names the server"
        )
    for listener in listeners:
        if holding.get(listener.inode) == []:
            return ServerProcesses(reason=_why_unseen(listener))
    pids = {pid for found in holding.values() for pid in found}
    pids |= _holders_by_thread(pids, holding, proc, lambda: clock() > until)
    return _judge(sorted(pids), proc)


def _judge(pids: Sequence[int], proc: Path) -> ServerProcesses:
    """Return the topmost of those who listen, or why they are not the server as a whole."""
    found, parents, reason = tuple(pids), parents_of_all(proc), "found by who listens at the target"
    if os.getpid() in found:
        return ServerProcesses(reason="it is in the process that runs floodtest", holders=found)
    processes = [Process(pid, _name(pid)) for pid in pids]
    serving = {process.pid: process for process in processes if process.name not in FORWARDERS}
    if not serving:
        passed_on = f"{processes[0]} listens there for a server elsewhere"
        return ServerProcesses(reason=f"{passed_on}, which --server-pid may name", holders=found)
    tops = [pid for pid in serving if serving.keys().isdisjoint(_ancestors(pid, parents))]
    for pid in tops:
        if private_bytes(pid, proc) is None:
            return ServerProcesses(reason=f"the memory of {serving[pid]} is not ours to read", holders=found)
    proxies = sorted({serving[pid].name for pid in tops} & PROXIES)
    if proxies:
        reason += f"; if {' or '.join(proxies)} passes connections on, --server-pid may name the server behind it"
    return ServerProcesses(tuple(serving[pid] for pid in tops), reason, found)


def _why_unseen(listener: Listener) -> str:
    """Say why no process was found that has the listening socket."""
    where = _at(listener.address, listener.port)
    if os.geteuid() in (0, listener.uid):
        return f"what listens {where} is a process that is not in our /proc, as in a container"
    try:
        user = pwd.getpwuid(listener.uid).pw_name
    except KeyError:
        user = str(listener.uid)
    return f"what listens {where} belongs to the user {user}, and only that user and root can look at it"


def _at(address: str, port: int) -> str:
    return f"at the socket {address}" if is_path(address) else f"at {address} port {port}"


def _find_holders(holding: dict[int, list[int]], proc: Path, is_late: Callable[[], bool]) -> bool:
    """Find the processes that have sockets open, as far as we may look, and append them to the entries by inode; return
    False if it got too late for that.
    """
    links = _links_to(holding)
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            for inode in _open_ones(entry / "fd", links, is_late):
                holding[inode].append(int(entry.name))
        if is_late():
            return False
    return True


def _holders_by_thread(pids: set[int], inodes: Iterable[int], proc: Path, is_late: Callable[[], bool]) -> set[int]:
    """Return which processes below these have one of the sockets open in a thread that has files of its own.

    A server may have its fronts in such threads, as ours has. These are not looked for on the whole machine, and where
    it gets too late for them, fewer files are known of.
    """
    links = _links_to(inodes)
    below = set(process_tree(pids, proc)) - pids
    return {pid for pid in below if any(_open_ones(task / "fd", links, is_late) for task in _tasks(proc / str(pid)))}


def _links_to(inodes: Iterable[int]) -> dict[str, int]:
    """Return what the open files of a process link to that are these sockets (proc_pid_fd(5)), and the socket."""
    return {f"socket:[{inode}]": inode for inode in inodes}


def _tasks(process: Path) -> list[Path]:
    try:
        return list((process / "task").iterdir())
    except OSError:
        return []  # it ended just now


def _open_ones(folder: Path, links: dict[str, int], is_late: Callable[[], bool]) -> set[int]:
    """Return which of the sockets a process has open; its files are read until all are found, or it is too late."""
    found: set[int] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if (inode := links.get(_link(entry.path))) is not None:
                    found.add(inode)
                if len(found) == len(links) or is_late():
                    break
    except OSError:
        pass  # somebody else's, or it ended just now
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # it was closed just now


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "a process that has ended"


def process_tree(roots: Iterable[int], proc: Path = PROC) -> list[int]:
    """Return processes and all that descend from them, as far as they are alive, without floodtest's own.

    A server may be an ancestor of floodtest, as in a test: then the branch that leads to floodtest is left out.
    """
    parents = parents_of_all(proc)
    tops = {root for root in roots if root in parents}
    ours = {os.getpid(), *_ancestors(os.getpid(), parents)} - tops
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found = dict.fromkeys(tops)
    waiting = list(tops)
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), ()) if pid not in found and pid not in ours]
        found |= dict.fromkeys(below)
        waiting += below
    return list(found)


def parents_of_all(proc: Path = PROC) -> dict[int, int]:
    """Return the parent of each process (proc_pid_stat(5)); OSError where /proc can't be opened."""
    found = {}
    for name in os.listdir(proc):
        if name.isdecimal():
            try:
                text = (proc / name / "stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended just now, or belongs to somebody else (hidepid of proc(5))
            found[int(name)] = int(text.rpartition(b")")[2].split()[1])
    return found


def _ancestors(pid: int, parents: dict[int, int]) -> Iterable[int]:
    """Yield a process's parent, its parent, and so on."""
    while (pid := parents.get(pid, 0)) != 0:
        yield pid
