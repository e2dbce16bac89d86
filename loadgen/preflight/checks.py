"""The checks: what a run needs of Linux, as a table. Each row reads a value, says what is needed, and why (see
`preflight.verdicts`).
"""

from floodtest.flyweight.processes.worker_count import MAX_WORKERS
from floodtest.loadgen.preflight.demand import Demand, tracked
from floodtest.loadgen.preflight.machine import PAGE, Machine
from floodtest.loadgen.preflight.needs import (
    always,
    files_needed,
    hash_entries,
    in_flight,
    left_of,
    memory_needed,
    objects_kept,
    objects_of_a_worker,
    planned,
    ports_left,
    ports_needed,
    rooms,
    spares,
    sysctl,
    tasks_left,
    tasks_needed,
    unless_bundled,
)
from floodtest.loadgen.preflight.verdicts import Check, Setting, Verdict

IP_SYSCTL = "Documentation/networking/ip-sysctl.rst"
KERNEL_SYSCTL = "Documentation/admin-guide/sysctl/kernel.rst"
FS_SYSCTL = "Documentation/admin-guide/sysctl/fs.rst"
NET_SYSCTL = "Documentation/admin-guide/sysctl/net.rst"


_TASKS = "each worker at each end is a thread, and where a thread can have no files of its own a process"

CHECKS = (
    Check(
        "open files, hard limit",
        lambda machine, demand: machine.files[1],
        files_needed,
        f"a worker holds as many connections as it may open files, and an end has at most {MAX_WORKERS} workers",
        "getrlimit(2) RLIMIT_NOFILE; unshare(2) CLONE_FILES",
        stops=True,
    ),
    Check(
        "open files, soft limit",
        lambda machine, demand: machine.files[0],
        always(0),
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
        objects_kept,
        objects_of_a_worker,
        "each has an object of OpenSSL of 15 to 35 KiB: take TLS 1.3, or fewer connections; fronts of our own server "
        "have unequal shares, for which a quarter is added",
        "docs/tls.md",
        stops=True,
    ),
    Check(
        "fs.nr_open",
        sysctl("fs/nr_open"),
        files_needed,
        "no hard limit of open files can be raised above it",
        FS_SYSCTL,
        setting=Setting("fs/nr_open"),
    ),
    Check(
        "fs.file-max, less files in use",
        left_of("fs/file-max", "fs/file-nr"),
        lambda machine, demand: 0 if machine.is_privileged else demand.sockets + 1000,
        "each end of a connection on this machine is an open file; only root goes beyond it",
        FS_SYSCTL,
        stops=True,
        setting=Setting("fs/file-max"),
    ),
    Check(
        "kernel.threads-max, less tasks",
        tasks_left("kernel/threads-max"),
        tasks_needed,
        _TASKS,
        KERNEL_SYSCTL,
        stops=True,
        setting=Setting("kernel/threads-max"),
    ),
    Check(
        "kernel.pid_max, less tasks",
        tasks_left("kernel/pid_max"),
        tasks_needed,
        _TASKS,
        KERNEL_SYSCTL,
        stops=True,
        setting=Setting("kernel/pid_max"),
    ),
    Check(
        "processes of the user, left",
        lambda machine, demand: machine.tasks_of_user,
        tasks_needed,
        f"{_TASKS}; raise ulimit -u, limits.conf(5), or LimitNPROC= of the service",
        "getrlimit(2) RLIMIT_NPROC",
        stops=True,
    ),
    Check(
        "pids of the cgroup, left",
        lambda machine, demand: machine.tasks_of_cgroup,
        tasks_needed,
        f"{_TASKS}; raise pids.max (TasksMax= of the service, --pids-limit of the container)",
        "Documentation/admin-guide/cgroup-v2.rst, pids.max",
        stops=True,
    ),
    Check(
        "fs.epoll.max_user_watches",
        sysctl("fs/epoll/max_user_watches"),
        lambda machine, demand: demand.sockets + 1000,
        "each end of a connection is watched by an epoll, and the bound holds for all processes of a user together",
        "epoll(7)",
        stops=True,
        setting=Setting("fs/epoll/max_user_watches"),
    ),
    Check(
        "memory available, beyond the reserve",
        rooms(0),
        memory_needed,
        "sockets, inodes, files and epoll items of both ends, nearly all of it the kernel's; or the loading of "
        "--friends before that, if it takes more",
        "proc_meminfo(5) MemAvailable, less the inodes of open files; /sys/kernel/slab",
        stops=True,
        unit="MiB",
    ),
    Check(
        "memory of the cgroup, beyond the reserve",
        rooms(1),
        memory_needed,
        "the kernel's memory for sockets counts against a cgroup's limit",
        "Documentation/admin-guide/cgroup-v2.rst, memory.max",
        stops=True,
        unit="MiB",
    ),
    Check(
        "swap in use",
        lambda machine, demand: machine.memory.swapped,
        always(0),
        "a worker whose pages were swapped out answers late, which looks like a slow server",
        "proc_meminfo(5) SwapTotal, SwapFree",
        "<=",
        unit="MiB",
    ),
    Check(
        "net.ipv4.ip_local_port_range, ports left free",
        ports_left,
        ports_needed,
        "an outgoing connection gets no port that any socket has bound explicitly, so other programs need some; "
        "with --ports kernel, each address needs a port for each of its connections",
        "__inet_hash_connect, net/ipv4/inet_hashtables.c; " + IP_SYSCTL,
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.ip_local_reserved_ports, planned ones",
        planned(lambda machine: machine.reserved_ports),
        spares,
        "each reserved port is replaced by a spare of the same address, as long as there are any",
        IP_SYSCTL,
        "<=",
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "wildcard listeners on planned ports",
        planned(lambda machine: machine.listening_ports),
        spares,
        "a port on which something listens for all addresses can't be bound to any, and is replaced by a spare",
        "inet_csk_get_port, net/ipv4/inet_connection_sock.c",
        "<=",
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.core.somaxconn",
        sysctl("net/core/somaxconn"),
        in_flight,
        "connections that the server has not accepted yet wait there; past it handshakes are dropped and tried again "
        "a second later, and connections to a Unix socket have to wait",
        "listen(2)",
        setting=Setting("net/core/somaxconn"),
        of_network=True,
    ),
    Check(
        "backlog of the server",
        lambda machine, demand: demand.server_backlog,
        in_flight,
        "the queue of its listener holds so many connections that it has not accepted, and past it others have to be "
        "tried again: raise what it tells listen(2), net.core.somaxconn if that is less, or take a smaller --in-flight",
        "listen(2); sock_diag(7)",
    ),
    Check(
        "net.ipv4.tcp_max_syn_backlog",
        sysctl("net/ipv4/tcp_max_syn_backlog"),
        in_flight,
        "handshakes under way at a listener",
        "tcp(7)",
        setting=Setting("net/ipv4/tcp_max_syn_backlog"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_syncookies",
        sysctl("net/ipv4/tcp_syncookies"),
        always(1),
        "1 answers with a cookie only when the backlog is full; 2 always, at the price of TCP options and CPU",
        IP_SYSCTL,
        "<=",
        setting=Setting("net/ipv4/tcp_syncookies"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_mem, the most",
        sysctl("net/ipv4/tcp_mem", 2),
        lambda machine, demand: max(demand.unread, in_flight(machine, demand)),
        "pages that TCP may queue in all; a message that waits to be read is counted as a page, and one to everybody "
        "waits in all queues at once. Past the bound TCP drops what comes behind the first message of a queue",
        IP_SYSCTL,
        unit=" pages",
        setting=Setting("net/ipv4/tcp_mem", 2),
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_rmem, the least",
        sysctl("net/ipv4/tcp_rmem"),
        always(PAGE),
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
        sysctl("net/ipv4/tcp_wmem"),
        always(PAGE),
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
        sysctl("net/ipv4/tcp_max_orphans"),
        unless_bundled,
        "connections closed while the other side has not answered; those beyond are reset, which a server of another "
        "kind may take for failures. Our own server is left by reset, without orphans",
        IP_SYSCTL,
        setting=Setting("net/ipv4/tcp_max_orphans"),
        of_tcp=True,
    ),
    Check(
        "net.ipv4.tcp_max_tw_buckets",
        sysctl("net/ipv4/tcp_max_tw_buckets"),
        unless_bundled,
        "closed connections stay in TIME_WAIT for a minute; those beyond are forgotten at once. Our own server is "
        "left by reset, without TIME_WAIT",
        IP_SYSCTL,
        setting=Setting("net/ipv4/tcp_max_tw_buckets"),
        of_network=True,
        of_tcp=True,
    ),
    Check(
        "net.core.netdev_max_backlog",
        sysctl("net/core/netdev_max_backlog"),
        always(1000),
        "packets that wait for a core; loopback's pass there as well, and those beyond are dropped",
        NET_SYSCTL,
        setting=Setting("net/core/netdev_max_backlog"),
        of_tcp=True,
    ),
    Check(
        "conntrack entries left",
        left_of("net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_count"),
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
        hash_entries,
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
        always("performance"),
        "a clock that follows the load makes rates depend on what ran before",
        "Documentation/admin-guide/pm/cpufreq.rst",
        "==",
    ),
    Check(
        "CPU time stolen since boot",
        lambda machine, demand: machine.steal_percent,
        always(2),
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
