"""What containers and administrators take away: put on a process before it starts (preexec_fn), and on its children."""

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

LOAD, EQUAL, ANSWER = 0x20, 0x15, 0x06  # BPF_LD+W+ABS, BPF_JMP+JEQ+K, BPF_RET+K
REFUSE, ALLOW = 0x00050000 | errno.EPERM, 0x7FFF0000
CALL, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data

AF_NETLINK = 16
CLONE_NEWUSER = 0x10000000
CAP_SETUID, CAP_SYS_ADMIN, CAP_NET_ADMIN = 7, 21, 12

Step = tuple[int, int, int, int]


def _number(x86_64: int, aarch64: int) -> int:
    return {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]


def _filter(steps: list[Step]) -> None:
    """Have the kernel run this on every system call (seccomp(2))."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filtering = 38, 22, 2
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    assert libc.prctl(set_seccomp, filtering, program, 0, 0) == 0


def forbid_unshare() -> None:
    """Refuse unshare(2), as some containers do."""
    call = _number(272, 97)
    _filter([(LOAD, 0, 0, CALL), (EQUAL, 0, 1, call), (ANSWER, 0, 0, REFUSE), (ANSWER, 0, 0, ALLOW)])


def forbid_netlink() -> None:
    """Refuse netlink sockets, without which nobody is told of addresses or changes them."""
    call = _number(41, 198)
    _filter(
        [
            *((LOAD, 0, 0, CALL), (EQUAL, 0, 3, call)),
            *((LOAD, 0, 0, FIRST_ARGUMENT), (EQUAL, 0, 1, AF_NETLINK)),
            *((ANSWER, 0, 0, REFUSE), (ANSWER, 0, 0, ALLOW)),
        ]
    )


def forbid_user_namespaces() -> None:
    """Leave no right to make namespaces but through a user namespace, and none of those.

    The limit is that of a user namespace of our own, so that the host's stays what it is.
    """
    _enter_user_namespace()
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    drop(CAP_SYS_ADMIN)


def allow_one_network_namespace() -> None:
    """Let there be one network namespace besides the host's, as long as it is there."""
    _enter_user_namespace()
    Path("/proc/sys/user/max_net_namespaces").write_text("1")


def hide_proc() -> None:
    """Have nothing in /proc, as in a chroot into which nobody has mounted it."""
    _mount_tmpfs("/proc", "")


def on_a_little_disk(folder: Path, options: str) -> None:
    """Have a file system in a folder that is soon full: options of tmpfs(5), such as size=16k or nr_inodes=5."""
    _mount_tmpfs(str(folder), options)


def _mount_tmpfs(folder: str, options: str) -> None:
    """Mount an empty file system on a folder, for this process and its children alone."""
    new_mounts, private_below = 0x00020000, 0x4000 | 1 << 18  # CLONE_NEWNS; MS_REC | MS_PRIVATE
    libc = ctypes.CDLL(None)
    if libc.unshare(new_mounts) != 0:
        _enter_user_namespace()
        assert libc.unshare(new_mounts) == 0
    assert libc.mount(None, b"/", None, private_below, None) == 0
    assert libc.mount(b"none", folder.encode(), b"tmpfs", 0, options.encode()) == 0


def _enter_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    assert ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def drop(*capabilities: int) -> None:
    """Take capabilities from what this process has, and from what it and its children can ever have; for who has none
    it is nothing.

    The second alone would take effect by execve(2), which is not called where the process is forked to be a program.
    """
    drop_from_bounding_set, version_3 = 24, 0x20080522
    libc = ctypes.CDLL(None)
    for capability in capabilities:
        libc.prctl(drop_from_bounding_set, capability, 0, 0, 0)
    header, sets = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for capability in capabilities:
        for kind in range(3):  # effective, permitted and inheritable, the first 32 of each before the others
            sets[capability // 32 * 3 + kind] &= ~(1 << capability % 32)
    assert libc.capset(header, sets) == 0
