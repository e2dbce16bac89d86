"""A network namespace of a run's own: entered before anything else is started, gone with the run's last process.

In: a `Wish`. Out: the `Network` that this process, and all it starts from then on, are in. As root it takes
CLONE_NEWNET; without, a user namespace besides, in which our own user is the only one (user_namespaces(7)). Root
without CAP_SYS_ADMIN takes all users along into that, and with them its rights to their files.

Nothing of the host is written. A new namespace gets a table of established connections of the size that
net.ipv4.tcp_child_ehash_entries of its *parent* says (tcp_set_hashinfo, net/ipv4/tcp_ipv4.c, since Linux 6.1); so a
first namespace is told the size, and a second one is made from it, whereupon the first is gone.

A forked process makes all of it and hands over descriptors; only then does this one join (setns(2)). So whatever step
the machine forbids, this process is where it was. A user namespace takes in only a process that has one thread: see
`loadgen.commands.isolated`.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import msgspec

from floodtest.flyweight.errors import FloodtestError, Refused
from floodtest.flyweight.machine.files import PROC
from floodtest.loadgen.network.wish import HOST, LOOPBACK_DEVICE, VETH_SERVERS, Network, Wish, entries_for
from floodtest.loadgen.plan.choices import BASE_IPS

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000

BACKLOG = 65535
"""What the bundled server's listener asks for."""

_CHILD_ENTRIES = "net/ipv4/tcp_child_ehash_entries"
_ENTRIES = "net/ipv4/tcp_ehash_entries"

_NEW_USERS, _FAILED, _MADE = b"u", b"f", b"m"
"""What the process that makes a network says: its users are to be mapped, a step failed, it is there."""

_MESSAGE = 1 << 12

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_IFREQ = "16sh22x"

REMEDY = (
    "Become root, or have user namespaces allowed (user.max_user_namespaces, kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns); in a container: --cap-add SYS_ADMIN --security-opt "
    "seccomp=unconfined. Or leave it at --network host."
)


class Forbidden(FloodtestError):
    """The machine lets a run have no network of its own; the message says which step failed."""


def try_to_enter(wish: Wish) -> Network:
    """Enter a network of our own, or stay in the host's, which then says why."""
    try:
        return enter(wish)
    except Forbidden as error:
        return msgspec.structs.replace(HOST, reason=f"the kernel permits no other: {error}")


def refuse_the_host(network: Network) -> None:
    """Refuse the host's network where one of its own was asked for."""
    if not network.is_isolated:
        raise Refused(f"--network isolated: {network.reason}. {REMEDY}")


def enter(wish: Wish) -> Network:
    """Move this process into a network of its own; Forbidden, and still where it was, when a step of it fails."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _make_and_exit(wish, theirs)
    theirs.close()
    try:
        with ours:
            return _join_what_is_made(ours, pid)
    finally:
        os.waitpid(pid, 0)


def _join_what_is_made(maker: socket.socket, pid: int) -> Network:
    """Wait until the other process has made the network, and enter it."""
    said, descriptors = _hear(maker)
    users = said[:1] == _NEW_USERS
    if users:
        _map_users(pid)
        maker.send(_NEW_USERS)
        said, descriptors = _hear(maker)
    with ExitStack() as opened:
        for descriptor in descriptors[:2]:
            opened.callback(os.close, descriptor)
        network = msgspec.json.decode(said[1:], type=Network)
        if users:
            enter_namespace(descriptors[0], CLONE_NEWUSER)
        enter_namespace(descriptors[1])
    return msgspec.structs.replace(network, server_namespace=descriptors[2] if len(descriptors) > 2 else None)


def _hear(maker: socket.socket) -> tuple[bytes, list[int]]:
    said, descriptors, _, _ = socket.recv_fds(maker, _MESSAGE, 3, socket.MSG_CMSG_CLOEXEC)
    if said[:1] in (_NEW_USERS, _MADE):
        return said, descriptors
    raise Forbidden(said[1:].decode(errors="replace") or "the process that made it ended")


def _make_and_exit(wish: Wish, joiner: socket.socket) -> NoReturn:
    """Make the network around this process, and hand over its namespaces: of users, of the client, of the server."""
    try:
        network = _make(wish, joiner)
        descriptors = [os.open(PROC / "self/ns" / kind, os.O_RDONLY) for kind in ("user", "net")]
        if network.server_namespace is not None:
            descriptors.append(network.server_namespace)
        socket.send_fds(joiner, [_MADE + msgspec.json.encode(network)], descriptors)
    except BaseException as error:  # the last frame of this process
        joiner.send(_FAILED + (str(error) or type(error).__name__).encode()[: _MESSAGE - 1])
    finally:
        os._exit(0)


def _make(wish: Wish, joiner: socket.socket) -> Network:
    entries = entries_for(wish.sockets, abs(_read(_ENTRIES) or 0))
    _unshare_network(joiner)
    if entries is not None and _write(_CHILD_ENTRIES, str(entries)):
        unshare(CLONE_NEWNET)
    _set_up(wish)
    if wish.link == "veth":
        return _make_the_clients(wish, entries)
    if wish.first_address is not None:
        in_a_process_of_its_own(lambda: _add_addresses(wish.addresses))
    return Network("isolated", hash_entries=own_entries())


def _add_addresses(addresses: Sequence[str]) -> None:
    from floodtest.loadgen.network.addresses import bring_up

    bring_up(addresses)


def _make_the_clients(wish: Wish, entries: int | None) -> Network:
    """Leave this namespace to the server, and enter another, for the client, that a veth pair joins to it."""
    servers = os.open(PROC / "self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if entries is not None:
        _write(_CHILD_ENTRIES, str(entries))
    unshare(CLONE_NEWNET)
    _set_up(wish)
    address = VETH_SERVERS[ipaddress.ip_address(wish.first_address or BASE_IPS["veth"]).version]
    in_a_process_of_its_own(lambda: _join(servers, wish.addresses, address))
    return Network("isolated", "veth", own_entries(), address, servers)


def _join(servers: int, addresses: Sequence[str], server: str) -> None:
    from floodtest.loadgen.network import link

    link.make_pair(servers)
    link.set_up_client(addresses, server)
    enter_namespace(servers)
    link.set_up_server(server)


def own_entries() -> int | None:
    """Return how many entries our namespace's own table has; None where it shares the host's (the kernel then says less
    than 0).
    """
    entries = _read(_ENTRIES)
    return entries if entries is not None and entries > 0 else None


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces; Forbidden when the kernel says no."""
    _call("unshare", ctypes.c_int(flags))


def enter_namespace(descriptor: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into another namespace; Forbidden when the kernel says no."""
    _call("setns", ctypes.c_int(descriptor), ctypes.c_int(kind))


def _call(name: str, *arguments: ctypes.c_int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        error = ctypes.get_errno()
        used_up = "user.max_user_namespaces or user.max_net_namespaces are used up"
        raise Forbidden(f"{name}: {used_up if error == errno.ENOSPC else os.strerror(error)}")


def _unshare_network(joiner: socket.socket) -> None:
    """Leave the host's network: as root, or in a user namespace, whose users the process outside has to name."""
    try:
        unshare(CLONE_NEWNET)
    except Forbidden:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        joiner.send(_NEW_USERS)
        if not joiner.recv(1):
            os._exit(0)  # it could not


def _map_users(pid: int) -> None:
    """Name the users of a process's user namespace, each as it is outside: all, if we are root, or ourselves alone."""
    folder, user, group = PROC / str(pid), os.geteuid(), os.getegid()
    try:
        if user == 0:
            users, groups = (_same_ids(PROC / "self" / name) for name in ("uid_map", "gid_map"))
        else:
            (folder / "setgroups").write_text("deny")
            users, groups = f"{user} {user} 1", f"{group} {group} 1"
        (folder / "uid_map").write_text(users)
        (folder / "gid_map").write_text(groups)
    except OSError as error:
        raise Forbidden(f"the users of a user namespace can't be named: {error.strerror}") from error


def _same_ids(ours: Path) -> str:
    """Return a map of all ids that a namespace has to themselves."""
    ranges = (line.split() for line in ours.read_text().splitlines())
    return "".join(f"{first} {first} {count}\n" for first, _, count in ranges)


def _set_up(wish: Wish) -> None:
    """Take the loopback device up, and set what is the namespace's own, as far as it may be written."""
    try:
        _raise_loopback()
    except OSError as error:
        raise Forbidden(f"the loopback device can't be taken up: {error.strerror}") from error
    _write("net/core/somaxconn", str(BACKLOG))
    _write("net/ipv4/tcp_max_syn_backlog", str(BACKLOG))
    if wish.port_range is not None:
        _write("net/ipv4/ip_local_port_range", "{} {}".format(*wish.port_range))


def _raise_loopback() -> None:
    """Set IFF_UP (netdevice(7)); the kernel then gives it 127.0.0.1/8 and ::1 by itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack(_IFREQ, LOOPBACK_DEVICE.encode(), 0))
        _, flags = struct.unpack(_IFREQ, request)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack(_IFREQ, LOOPBACK_DEVICE.encode(), flags | _IFF_UP))


def _read(key: str, proc: Path = PROC) -> int | None:
    try:
        return int((proc / "sys" / key).read_text().split()[0])
    except (OSError, ValueError):
        return None


def _write(key: str, value: str, proc: Path = PROC) -> bool:
    """Set a sysctl of our namespace; False where it can't be: an old kernel, or a /proc that is mounted read-only."""
    try:
        (proc / "sys" / key).write_text(value)
    except OSError:
        return False
    return True


def in_a_process_of_its_own(work: Callable[[], object]) -> None:
    """Fork, do the work there and wait; Forbidden with the words of what it raised. For a process of one thread."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_and_exit(work, writer)
    os.close(writer)
    with open(reader, "rb") as said:
        words = said.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise Forbidden(words or f"the process that tried it ended with {status}")


def _work_and_exit(work: Callable[[], object], writer: int) -> None:
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:  # the last frame of this process
        os.write(writer, str(error).encode()[: 1 << 12] or type(error).__name__.encode())
    finally:
        os._exit(status)
