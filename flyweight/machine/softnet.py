"""What the kernel has dropped of packets on their way between sockets of this machine, or from a device to its stack.

Each core has a queue for them of net.core.netdev_max_backlog packets. What finds it full is gone, and neither end is
told; TCP sends it again, after 0.2 seconds or more. In: /proc/net/softnet_stat. Out: a number, of all network
namespaces together, since when the machine was started. Fails: never; None is what can't be read.
"""

from pathlib import Path

_DROPPED = 1
"""Column of /proc/net/softnet_stat, a line a core, in hexadecimal (net/core/net-procfs.c)."""


def read_dropped(proc: Path = Path("/proc")) -> int | None:
    """Return how many packets have been dropped."""
    try:
        lines = (proc / "net/softnet_stat").read_text().splitlines()
        return sum(int(line.split()[_DROPPED], 16) for line in lines)
    except (OSError, ValueError, IndexError):
        return None
