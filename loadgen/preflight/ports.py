"""Source ports that are not ours to bind: what the administrator reserved, what listens, what is kept for the host."""

from collections.abc import Iterable

from floodtest.loadgen.plan.plan import HOST_PORTS, Plan, planned_ports, spare_ports
from floodtest.loadgen.preflight.machine import Machine


def kept_ports(plan: Plan, port_range: tuple[int, int]) -> frozenset[int]:
    """Return the planned ports that are left to the host, and replaced by spares.

    Linux gives an outgoing connection no port that any socket has bound explicitly, whatever the address (buckets with
    `fastreuse >= 0` are passed over in __inet_hash_connect, net/ipv4/inet_hashtables.c). A plan that binds the whole of
    net.ipv4.ip_local_port_range would keep every other program of this machine from connecting anywhere, so the upper
    end of the range stays free, as far as the address has spares to replace it.
    """
    first, last = port_range
    inside, used, spare = _planned_within(plan, port_range), planned_ports(plan), spare_ports(plan)
    free = last + 1 - first - len(inside)
    spares = len(spare) - max(0, last + 1 - max(first, used.stop))
    wanted = min(max(0, HOST_PORTS - free), max(0, spares // 2))
    return frozenset(inside[max(0, len(inside) - wanted) :])


def _planned_within(plan: Plan, port_range: tuple[int, int]) -> range:
    """Return the planned ports of a range, both of whose ends are included."""
    first, last = port_range
    used = planned_ports(plan)
    return range(max(first, used.start), min(last + 1, used.stop))


def free_ports(plan: Plan, port_range: tuple[int, int]) -> int:
    """Return how many ports of the range are left to other programs."""
    first, last = port_range
    return last + 1 - first - len(_planned_within(plan, port_range)) + len(kept_ports(plan, port_range))


def ports_to_avoid(plan: Plan, machine: Machine) -> frozenset[int]:
    """Return the ports that are not ours: reserved by the administrator, or kept for the host."""
    kept = frozenset[int]() if machine.port_range is None else kept_ports(plan, machine.port_range)
    return machine.reserved_ports | kept


def note_on_kernel_ports(plan: Plan, port_range: tuple[int, int]) -> str | None:
    """Return what to say of a plan whose source ports the kernel is to choose; None when it has enough of them."""
    if plan.is_anonymous:
        return None
    first, last = port_range
    room, users = last - first + 1, min(plan.each, plan.connections)
    if users <= room:
        return None
    return (
        f"The kernel chooses the source ports, and has {room:,} for each address (net.ipv4.ip_local_port_range): of "
        f"{users:,} connections from one, {users - room:,} or more will fail. Ask for a smaller --each and more --ips."
    )


def as_ranges(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Write ports as ranges, both ends included."""
    ranges: list[tuple[int, int]] = []
    for port in sorted(ports):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return ranges
