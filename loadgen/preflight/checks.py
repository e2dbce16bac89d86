"""The checks: what a run needs of Linux, as a table. Each row reads a value, says what is needed, and why (see
`preflight.verdicts`).
"""

from collections.abc import Callable

from floodtest.flyweight.machine.files import FILES_RESERVE
from floodtest.flyweight.processes.worker_count import MAX_WORKERS
from floodtest.loadgen.plan.plan import HOST_PORTS, planned_ports, spare_ports
from floodtest.loadgen.preflight.demand import Demand, forecast, tracked
from floodtest.loadgen.preflight.machine import PAGE, Machine
from floodtest.loadgen.preflight.ports import free_ports
from floodtest.loadgen.preflight.verdicts import Check, Setting, Value, Verdict
from floodtest.wire.tls.settings import MOST_KEPT

OTHER_TASKS = 16
"""Processes and threads of a run besides workers and nurseries: the run, the server, who loads, keeps and publishes."""

IP_SYSCTL = "Documentation/networking/ip-sysctl.rst"
KERNEL_SYSCTL = "Documentation/admin-guide/sysctl/kernel.rst"
FS_SYSCTL = "Documentation/admin-guide/sysctl/fs.rst"
NET_SYSCTL = "Documentation/admin-guide/sysctl/net.rst"


def _sysctl(key: str, field: int = 0) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: machine.setting(key, field)


def _always(value: Value) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: value


def _rooms(index: int) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: max(0, machine.rooms[index].free) if index < len(machine.rooms) else None


def _left(most: str, used: str, field: int = 0) -> Callable[[Machine, Demand], Value]:
    """What is left of a table: its bound less what is in use."""

    def read(machine: Machine, demand: Demand) -> Value:
        bound, count = machine.setting(most), machine.setting(used, field)
        return None if bound is None or count is None else bound - count

    return read


def _files_needed(machine: Machine, demand: Demand) -> int:
    return max(2 * FILES_RESERVE, FILES_RESERVE + -(-demand.connections // MAX_WORKERS))


def _memory_needed(machine: Machine, demand: Demand) -> int:
    return int(forecast(demand, machine).most * demand.margin)


def _objects_kept(machine: Machine, demand: Demand) -> Value:
    models = {demand.client_model, demand.server_model} if demand.bundled else {demand.client_model}
    return MOST_KEPT if demand.tls_objects and "columns" in models else None


def _objects_of_a_worker(machine: Machine, demand: Demand) -> int:
    found = forecast(demand, machine)
    each = -(-demand.connections // found.client_workers)
    shares_unevenly = demand.server_model == "columns" and (found.server_workers or 1) > 1
    return each + each // 4 if shares_unevenly else each


def _tasks_needed(machine: Machine, demand: Demand) -> int:
    """Return the processes and threads of a run: its workers, as many nurseries as ends and cores, and few others."""
    found = forecast(demand, machine)
    return found.client_workers + (found.server_workers or 0) + 2 * machine.cores + OTHER_TASKS


def _tasks_left(key: str) -> Callable[[Machine, Demand], Value]:
    def read(machine: Machine, demand: Demand) -> Value:
        bound = machine.setting(key)
        return None if bound is None or machine.tasks is None else bound - machine.tasks

    return read


def _in_flight(machine: Machine, demand: Demand) -> int:
    return min(demand.in_flight, demand.connections, 65535)


def _spares(machine: Machine, demand: Demand) -> int:
    return len(spare_ports(demand.plan))


def _planned(ports: Callable[[Machine], frozenset[int]]) -> Callable[[Machine, Demand], Value]:
    """How many planned ports of each address are among these."""

    def count(machine: Machine, demand: Demand) -> Value:
        used = planned_ports(demand.plan) if demand.explicit_ports else range(0)
        return sum(port in used for port in ports(machine))

    return count


def _range(machine: Machine, demand: Demand) -> Value:
    if machine.port_range is None:
        return None
    first, last = machine.port_range
    return free_ports(demand.plan, (first, last)) if demand.explicit_ports else last - first + 1


def _range_needed(machine: Machine, demand: Demand) -> int:
    return HOST_PORTS if demand.explicit_ports else min(demand.plan.each, demand.connections)


def _hash_entries(machine: Machine, demand: Demand) -> Value:
    entries = machine.setting("net/ipv4/tcp_ehash_entries")
    return None if entries is None else abs(entries)  # less than 0 in a network namespace that shares the host's


def _unless_bundled(machine: Machine, demand: Demand) -> int:
    return 0 if demand.bundled else demand.connections


_TASKS = "each worker at each end is a thread, and where a thread can have no files of its own a process"

CHECKS = (
    Check(
        "open files, hard limit",
        lambda machine, demand: machine.files[1],
        _files_needed,
        f"a worker holds as many connections as it may open files, and an end has at most {MAX_WORKERS} workers",
        "getrlimit(2) RLIMIT_NOFILE; unshare(2) CLONE_FILES",
        stops=True,
    ),
    Check(
        "open files, soft limit",
        lambda machine, demand: machine.files[0],
        _always(0),
        "floodtest raises it to the hard limit by itself",
        "getrlimit(2)",
    ),
    Check(
        "open files of the server",
        lambda machine, demand: demand.server_files,
        lambda machine, demand: demand.connections,
        "the server needs a file a connection: raise its own limit (LimitNOFILE= of its service, ulimit -n) and start "
        "it again",
        "proc_pid_limits(5)",
        stops=True,
    ),
    Check(
        "connections of TLS 1.2 that a worker keeps",
        _objects_kept,
        _objects_of_a_worker,
        "each has an object of OpenSSL of 15 to 35 KiB: take TLS 1.3, or fewer connections; fronts of our own server "
        "have unequal shares, for which a quarter is added",
        "docs/tls.md",
        stops=True,
    ),
    Check(
        "fs.nr_open",
        _sysctl("fs/nr_open"),
        _files_needed,
        "no hard limit of open files can be raised above it",
        FS_SYSCTL,
        setting=Setting("fs/nr_open"),
    ),
    Check(
        "fs.file-max, less files in use",
        _left("fs/file-max", "fs/file-nr"),
        lambda machine, demand: 0 if machine.is_privileged else demand.sockets + 1000,
        "each end of a connection on this machine is an open file; only root goes beyond it",
        FS_SYSCTL,
        stops=True,
        setting=Setting("fs/file-max"),
    ),
    Check(
        "kernel.threads-max, less tasks",
        _tasks_left("kernel/threads-max"),
        _tasks_needed,
        _TASKS,
        KERNEL_SYSCTL,
        stops=True,
        setting=Setting("kernel/threads-max"),
    ),
    Check(
        "kernel.pid_max, less tasks",
        _tasks_left("kernel/pid_max"),
        _tasks_needed,
        _TASKS,
        KERNEL_SYSCTL,
        stops=True,
        setting=Setting("kernel/pid_max"),
    ),
    Check(
        "processes of the user, left",
        lambda machine, demand: machine.tasks_of_user,
        _tasks_needed,
        f"{_TASKS}; raise ulimit -u, limits.conf(5), or LimitNPROC= of the service",
        "getrlimit(2) RLIMIT_NPROC",
        stops=True,
    ),
    Check(
        "pids of the cgroup, left",
        lambda machine, demand: machine.tasks_of_cgroup,
        _tasks_needed,
        f"{_TASKS}; raise pids.max (TasksMax= of the service, --pids-limit of the container)",
        "Documentation/admin-guide/cgroup-v2.rst, pids.max",
        stops=True,
    ),
    Check(
        "fs.epoll.max_user_watches",
        _sysctl("fs/epoll/max_user_watches"),
        lambda machine, demand: demand.sockets + 1000,
        "each end of a connection is watched by an epoll, and the bound holds for all processes of a user together",
        "epoll(7)",
        stops=True,
        setting=Setting("fs/epoll/max_user_watches"),
    ),
    Check(
        "memory available, beyond the reserve",
        _rooms(0),
        _memory_needed,
        "sockets, inodes, files and epoll items of both ends, nearly all of it the kernel's; or the loading of "
        "--friends before that, if it takes more",
        "proc_meminfo(5) MemAvailable, less the inodes of open files; /sys/kernel/slab",
        stops=True,
        unit="MiB",
    ),
    Check(
        "memory of the cgroup, beyond the reserve",
        _rooms(1),
        _memory_needed,
        "the kernel's memory for sockets counts against a cgroup's limit",
        "Documentation/admin-guide/cgroup-v2.rst, memory.max",
        stops=True,
        unit="MiB",
    ),
    Check(
        "swap in use",
        lambda machine, demand: machine.memory.swapped,
        _always(0),
        "a worker whose pages were swapped out answers late, which looks like a slow server",
        "proc_meminfo(5) SwapTotal, SwapFree",
        "<=",
        unit="MiB",
    ),
    Check(
        "net.ipv4.ip_local_port_range, ports left free",
        _range,
        _range_needed,
        "an outgoing connection gets no port that any socket has bound explicitly, so other programs need some; "
        "with --ports kernel, each address needs a port for each of its connections",
        "__inet_hash_connect, net/ipv4/inet_hashtables.c; " + IP_SYSCTL,
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.ip_local_reserved_ports, planned ones",
        _planned(lambda machine: machine.reserved_ports),
        _spares,
        "each reserved port is replaced by a spare of the same address, as long as there are any",
        IP_SYSCTL,
        "<=",
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "wildcard listeners on planned ports",
        _planned(lambda machine: machine.listening_ports),
        _spares,
        "a port on which something listens for all addresses can't be bound to any, and is replaced by a spare",
        "inet_csk_get_port, net/ipv4/inet_connection_sock.c",
        "<=",
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.core.somaxconn",
        _sysctl("net/core/somaxconn"),
        _in_flight,
        "connections that the server has not accepted yet wait there; past it handshakes are dropped and tried again "
        "a second later, and connections to a Unix socket have to wait",
        "listen(2)",
        setting=Setting("net/core/somaxconn"),
        of_network=True,
    ),
    Check(
        "backlog of the server",
        lambda machine, demand: demand.server_backlog,
        _in_flight,
        "the queue of its listener holds so many connections that it has not accepted, and past it others have to be "
        "tried again: raise what it tells listen(2), net.core.somaxconn if that is less, or take a smaller --in-flight",
        "listen(2); sock_diag(7)",
    ),
    Check(
        "net.ipv4.tcp_max_syn_backlog",
        _sysctl("net/ipv4/tcp_max_syn_backlog"),
        _in_flight,
        "handshakes under way at a listener",
        "tcp(7)",
        setting=Setting("net/ipv4/tcp_max_syn_backlog"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_syncookies",
        _sysctl("net/ipv4/tcp_syncookies"),
        _always(1),
        "1 answers with a cookie only when the backlog is full; 2 always, at the price of TCP options and CPU",
        IP_SYSCTL,
        "<=",
        setting=Setting("net/ipv4/tcp_syncookies"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_mem, the most",
        _sysctl("net/ipv4/tcp_mem", 2),
        lambda machine, demand: max(demand.unread, _in_flight(machine, demand)),
        "pages that TCP may queue in all; a message that waits to be read is counted as a page, and one to everybody "
        "waits in all queues at once. Past the bound TCP drops what comes behind the first message of a queue",
        IP_SYSCTL,
        unit=" pages",
        setting=Setting("net/ipv4/tcp_mem", 2),
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_rmem, the least",
        _sysctl("net/ipv4/tcp_rmem"),
        _always(PAGE),
        "what every socket may fill even when tcp_mem is used up, a million times over; buffers are not "
        "preallocated, so there is no need to lower the other two",
        "tcp(7)",
        "<=",
        unit=" B",
        setting=Setting("net/ipv4/tcp_rmem"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_wmem, the least",
        _sysctl("net/ipv4/tcp_wmem"),
        _always(PAGE),
        "what every socket may have queued to be sent even when tcp_mem is used up, a million times over",
        "tcp(7)",
        "<=",
        unit=" B",
        setting=Setting("net/ipv4/tcp_wmem"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_max_orphans",
        _sysctl("net/ipv4/tcp_max_orphans"),
        _unless_bundled,
        "connections closed while the other side has not answered; those beyond are reset, which a server of another "
        "kind may take for failures. Our own server is left by reset, without orphans",
        IP_SYSCTL,
        setting=Setting("net/ipv4/tcp_max_orphans"),
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_max_tw_buckets",
        _sysctl("net/ipv4/tcp_max_tw_buckets"),
        _unless_bundled,
        "closed connections stay in TIME_WAIT for a minute; those beyond are forgotten at once. Our own server is "
        "left by reset, without TIME_WAIT",
        IP_SYSCTL,
        setting=Setting("net/ipv4/tcp_max_tw_buckets"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.core.netdev_max_backlog",
        _sysctl("net/core/netdev_max_backlog"),
        _always(1000),
        "packets that wait for a core; loopback's pass there as well, and those beyond are dropped",
        NET_SYSCTL,
        setting=Setting("net/core/netdev_max_backlog"),
        of_tcp=True,
    ),
    Check(
        "conntrack entries left",
        _left("net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_count"),
        lambda machine, demand: tracked(demand, machine),
        "a full table drops packets of new connections; needed only while some rule tracks connections",
        "Documentation/networking/nf_conntrack-sysctl.rst",
        stops=True,
        setting=Setting("net/netfilter/nf_conntrack_max"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_ehash_entries",
        _hash_entries,
        lambda machine, demand: demand.sockets // 2,
        "each packet looks its connection up in this table, and long chains cost rate: up to twice the delivery at a "
        "million with a table of the right size; its size is set at boot, by thash_entries=",
        IP_SYSCTL + "; docs/benchmarks.md",
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "CPU governor",
        lambda machine, demand: machine.governor,
        _always("performance"),
        "a clock that follows the load makes rates depend on what ran before",
        "Documentation/admin-guide/pm/cpufreq.rst",
        "==",
    ),
    Check(
        "CPU time stolen since boot",
        lambda machine, demand: machine.steal_percent,
        _always(2),
        "what a hypervisor gives to other guests is missing from every rate",
        "proc_stat(5)",
        "<=",
        unit="%",
    ),
)


def examine(machine: Machine, demand: Demand) -> list[Verdict]:
    """Return what all checks find that apply: those of the network are left out where a run brings its own,
    and those of TCP where it has none.
    """
    found = []
    for check in CHECKS:
        if (check.of_network and demand.isolated) or (check.of_tcp and demand.plan.is_anonymous):
            continue
        value = check.value(machine, demand)
        if value is not None:
            found.append(Verdict(check, value, check.needed(machine, demand)))
    return found
