"""How one plan is shared out among hosts: users, source addresses, rate, and connections in flight. Pure.

In: the options of the run, and what each host says that it can hold. Out: the options of each host, whose plans
together are the plan. Hosts get users in proportion to what they can hold, and whole source addresses where there are
enough in their network, or equal parts of the ports of all addresses otherwise. Hosts on one machine can hold together
what each of them says. Fails: Refused where all of them together can't hold the plan.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.cluster.host_messages import Standing
from floodtest.loadgen.plan.cluster import ClusterOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import Stage
from floodtest.loadgen.plan.plan import Plan


@dataclass(frozen=True)
class Capacity:
    """What a host says of itself: how many of all planned connections its machine could hold, and why no more."""

    name: str
    standing: Standing
    connections: int
    reason: str
    base_ip: str
    addresses: int

    @property
    def pool(self) -> tuple[str, str, str]:
        """What hosts have in common that have the same source addresses."""
        return self.standing.kernel, self.standing.network, self.base_ip

    @property
    def has_enough_addresses(self) -> bool:
        """Whether there are always more: to a path it takes none, and IPv4's loopback has them beyond --ips as well."""
        if not self.base_ip:
            return True
        first = ipaddress.ip_address(self.base_ip)
        return first.version == 4 and first.is_loopback


@dataclass(frozen=True)
class Room:
    """How many connections a host has room for, and what sets that bound."""

    connections: int
    reason: str


@dataclass(frozen=True)
class Part:
    """What a host is to do: its own options, and how many users of the run come before its own."""

    name: str
    options: RunOptions
    before: int


def rooms_of(plan: Plan, hosts: Sequence[Capacity]) -> list[Room]:
    """Return the room of each host: those of one machine share what it can hold, as those of one network share its
    source addresses.
    """
    machines, pools = [one.standing.kernel for one in hosts], [one.pool for one in hosts]
    rooms = []
    for place, one in enumerate(hosts):
        room = Room(_share(one.connections, place, machines), one.reason)
        sources = _share(one.addresses * plan.each, place, pools)
        if sources < room.connections and not one.has_enough_addresses:
            room = Room(
                sources, f"{counted(one.addresses, 'source addresses')} of {plan.each:,} each from {one.base_ip}"
            )
        rooms.append(room)
    return rooms


def _share(whole: int, place: int, owners: Sequence[object]) -> int:
    """Return a part of what equal owners share: the parts differ by one at the most, and none of it is left over."""
    of_owner, before = owners.count(owners[place]), owners[:place].count(owners[place])
    return whole * (before + 1) // of_owner - whole * before // of_owner


def refuse_too_many(plan: Plan, hosts: Sequence[Capacity]) -> None:
    """Refuse more connections than all hosts have room for."""
    rooms = rooms_of(plan, hosts)
    if (fits := sum(room.connections for room in rooms)) >= plan.connections:
        return
    remedy = f"{fits:,} would fit: --connections {fits}, or --fit." if fits else "Not even one connection fits."
    rows = [f"{one.name} can hold {room.connections:,}: {room.reason}." for one, room in zip(hosts, rooms, strict=True)]
    raise Refused("\n".join([f"{counted(plan.connections, 'connections')} don't fit on the hosts. {remedy}", *rows]))


def counts_of(connections: int, rooms: Sequence[int]) -> list[int]:
    """Share out connections in proportion to room, of which there is enough; what is left over goes to the first."""
    total = sum(rooms)
    counts = [connections * room // total for room in rooms]
    for place, room in enumerate(rooms):
        counts[place] += min(room - counts[place], connections - sum(counts))
    return counts


def share_out(options: RunOptions, hosts: Sequence[Capacity]) -> list[Part]:
    """Return the part of each host that gets any users."""
    rooms = [room.connections for room in rooms_of(options.plan, hosts)]
    counts = counts_of(options.plan.connections, rooms)
    users = [(one, count) for one, count in zip(hosts, counts, strict=True) if count]
    plans = _plans(options.plan, users)
    parts, before = [], 0
    for (one, count), plan in zip(users, plans, strict=True):
        parts.append(Part(one.name, _options(options, plan, count / options.plan.connections), before))
        before += count
    return parts


def _options(options: RunOptions, plan: Plan, share: float) -> RunOptions:
    """Return the options of a host with this plan and this share of the connections; it serves and publishes nothing.

    Its connections come about beside those of the other hosts, each at its part of the rate.
    """
    stages = options.stages and tuple(
        Stage(None if stage.rate is None else stage.rate * share, stage.seconds) for stage in options.stages
    )
    if stages and stages[-1].rate is not None and stages[-1].seconds is not None:
        stages = (*stages, Stage(None))  # parts of a rate, rounded, may bring a connection less than is planned
    messages = options.messages and replace(options.messages, publish=None)
    return replace(
        options,
        plan=plan,
        rate=None if options.rate is None else options.rate * share,
        stages=stages,
        in_flight=max(1, int(options.in_flight * share)),
        network="host",
        cluster=ClusterOptions(),
        friends=None,
        db=None,
        messages=messages,
        token=None,
        fail_if=(),
        name=None,
    )


def _plans(plan: Plan, users: Sequence[tuple[Capacity, int]]) -> list[Plan]:
    """Return the plan of each host with its number of users, which follow those of the hosts before it."""
    first_users = [plan.first_user + sum(count for _, count in users[:place]) for place in range(len(users))]
    if plan.is_anonymous:
        return [Plan.anonymous(count, first) for (_, count), first in zip(users, first_users, strict=True)]
    pools: dict[tuple[str, str, str], list[int]] = {}
    for place, (one, _) in enumerate(users):
        pools.setdefault(one.pool, []).append(place)
    found: dict[int, Plan] = {}
    for places in pools.values():
        members = [(users[place][0], users[place][1], first_users[place]) for place in places]
        found |= zip(places, _plans_of_pool(plan, members), strict=True)
    return [found[place] for place in range(len(users))]


def _plans_of_pool(plan: Plan, members: Sequence[tuple[Capacity, int, int]]) -> list[Plan]:
    """Return the plans of hosts that have the same source addresses, with their numbers of users and first users."""
    (host, *_), *_ = members
    base = ipaddress.ip_address(host.base_ip)
    needed = [-(-count // plan.each) for _, count, _ in members]
    if sum(needed) <= host.addresses or host.has_enough_addresses:
        taken = [sum(needed[:place]) for place in range(len(needed))]
        return [
            Plan(ips, plan.each, str(base + skipped), plan.first_port, count, first)
            for ips, skipped, (_, count, first) in zip(needed, taken, members, strict=True)
        ]
    each = plan.each // len(members)
    return [
        Plan(min(host.addresses, -(-count // each)), each, host.base_ip, plan.first_port + place * each, count, first)
        for place, (_, count, first) in enumerate(members)
    ]
