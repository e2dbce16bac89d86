"""A machine made of files: trees that look like /proc and /sys, in which a test changes one thing."""

import socket
import struct
from pathlib import Path

from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, Reserve
from floodtest.loadgen.preflight.machine import Machine

KIB_A_GIB = 1 << 20

SYSCTLS = {
    "fs/nr_open": "1048576",
    "fs/file-max": "9223372036854775807",
    "fs/file-nr": "1500\t0\t9223372036854775807",
    "fs/epoll/max_user_watches": "5491511",
    "net/core/somaxconn": "4096",
    "net/core/netdev_max_backlog": "1000",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/ip_local_reserved_ports": "",
    "net/ipv4/tcp_max_syn_backlog": "2048",
    "net/ipv4/tcp_syncookies": "1",
    "net/ipv4/tcp_mem": "287412\t383216\t574824",
    "net/ipv4/tcp_rmem": "4096\t131072\t33554432",
    "net/ipv4/tcp_wmem": "4096\t16384\t4194304",
    "net/ipv4/tcp_max_orphans": "131072",
    "net/ipv4/tcp_max_tw_buckets": "131072",
    "net/ipv4/tcp_ehash_entries": "262144",
}
"""As Linux 6.18 sets them on 24 GiB."""

SLABS = {
    "TCP": (3, 13),
    "TCPv6": (3, 12),
    "sock_inode_cache": (2, 19),
    "filp": (0, 21),
    "dentry": (0, 21),
    "eventpoll_epi": (0, 32),
    "eventpoll_pwq": (0, 64),
    "ep_head": (0, 256),
    "tcp_bind2_bucket": (0, 32),
    "tcp_bind_bucket": (0, 32),
}
"""Order and objects per slab, of Linux 6.18."""


class FakeMachine:
    """Trees in a folder of a test, and the `Machine` that reads them."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.sys = folder / "sys"
        self.modules = folder / "modules"
        for key, text in SYSCTLS.items():
            self.set(key, text)
        self.memory(total=24, available=22)
        self.files(1024, 20_000)
        self.write("proc/self/uid_map", "         0          0 4294967295\n")
        self.write("proc/self/cgroup", "0::/\n")
        self.write("proc/self/mountinfo", "")
        self.write("proc/stat", "cpu  100 0 100 9800 0 0 0 0 0 0\n")
        self.write("proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n")
        self.listeners()

    def write(self, path: str, text: str) -> Path:
        at = self.proc.parent / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        return at

    def set(self, key: str, text: str) -> None:
        """Set a sysctl."""
        self.write(f"proc/sys/{key}", f"{text}\n")

    def get(self, key: str) -> str:
        return (self.proc / "sys" / key).read_text().strip()

    def settings(self) -> dict[str, str]:
        """Return all sysctls."""
        root = self.proc / "sys"
        return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}

    def memory(self, total: float, available: float, swap_used: int = 0, reclaimable: float = 0) -> None:
        """Set memory and reclaimable slabs in GiB, and swap in KiB."""
        self.write(
            "proc/meminfo",
            f"MemTotal: {int(total * KIB_A_GIB)} kB\nMemAvailable: {int(available * KIB_A_GIB)} kB\n"
            f"Slab: 100000 kB\nSReclaimable: {int(reclaimable * KIB_A_GIB)} kB\n"
            f"SwapTotal: {1 << 20} kB\nSwapFree: {(1 << 20) - swap_used} kB\n",
        )

    def open_files(self, count: int) -> None:
        """Have so many files open on the machine."""
        self.set("fs/file-nr", f"{count}\t0\t9223372036854775807")

    def files(self, soft: int, hard: int, processes: int | None = None) -> None:
        """Limit the open files of a process, and the processes of the user."""
        head = "Limit                     Soft Limit           Hard Limit           Units     \n"
        files = f"Max open files            {soft:<20} {hard:<20} files     \n"
        most = "" if processes is None else f"Max processes             {processes:<20} {processes:<20} processes \n"
        self.write("proc/self/limits", head + most + files)

    def slabs(self) -> None:
        """Let the sizes of kernel objects be readable, as they are to root."""
        for cache, (order, objects) in SLABS.items():
            self.write(f"sys/kernel/slab/{cache}/order", f"{order}\n")
            self.write(f"sys/kernel/slab/{cache}/objs_per_slab", f"{objects}\n")

    def listeners(self, *where: tuple[str, int]) -> None:
        """Let somebody listen on these addresses and ports."""
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        lines = {"tcp": head, "tcp6": head}
        for number, (address, port) in enumerate(where):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            packed = socket.inet_pton(family, address)
            words = struct.unpack(f"={len(packed) // 4}I", packed)
            local = "".join(f"{word:08X}" for word in words) + f":{port:04X}"
            name = "tcp" if family == socket.AF_INET else "tcp6"
            remote = "0" * (len(packed) * 2) + ":0000"
            lines[name] += f"{number:>4}: {local} {remote} 0A 00000000:00000000 00:00000000 00000000 0 0 {number} 1\n"
        for name, text in lines.items():
            self.write(f"proc/net/{name}", text)

    def cgroup_v2(self, limit: str, used: int, inactive_file: int = 0) -> None:
        """Put the process into a cgroup of version 2, in a mount that is in the same folder."""
        mount = self.proc.parent / "cgroup"
        self.write("proc/self/cgroup", "0::/box/inner\n")
        self.write("proc/self/mountinfo", f"31 23 0:28 / {mount} rw,relatime - cgroup2 cgroup2 rw\n")
        self.write("cgroup/box/inner/memory.max", "max\n")
        self.write("cgroup/box/inner/memory.current", f"{used // 2}\n")
        self.write("cgroup/box/memory.max", f"{limit}\n")
        self.write("cgroup/box/memory.current", f"{used}\n")
        self.write("cgroup/box/memory.stat", f"anon 1\ninactive_file {inactive_file}\n")

    def cgroup_v1(self, limit: int, used: int, inactive_file: int = 0, root: str = "/") -> None:
        """Put the process into a cgroup of version 1; with a `root`, as a container without a namespace sees it."""
        mount = self.proc.parent / "memory"
        self.write("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n")
        self.write("proc/self/mountinfo", f"35 31 0:32 {root} {mount} rw,relatime - cgroup cgroup rw,memory\n")
        at = "memory/docker/abc" if root == "/" else "memory"
        self.write(f"{at}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{at}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"{at}/memory.stat", f"cache 5\ntotal_inactive_file {inactive_file}\n")

    def machine(self, reserve: Reserve = DEFAULT_RESERVE) -> Machine:
        """Read it anew."""
        return Machine(self.proc, self.sys, reserve, self.modules)
