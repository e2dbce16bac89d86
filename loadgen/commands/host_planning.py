"""What `floodtest plan` and `floodtest doctor` show of a run with a cluster: each host's part, as that host sees it."""

import sys
from collections.abc import Sequence

import msgspec
import trio

from floodtest.analysis import FORMAT
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.run import known_error, print_json
from floodtest.loadgen.cluster.fleet import Fleet, Member, assembled
from floodtest.loadgen.cluster.host_messages import Described
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.checkup import Checkup
from floodtest.loadgen.preflight.outlook import look
from floodtest.loadgen.preflight.preview import Preview


class HostPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A host: how many connections it could hold by itself; its part of the plan, or the checks of its machine."""

    name: str
    address: str
    can_hold: int
    plan: Preview | None = None
    checkup: Checkup | None = None


class HostPlans(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `floodtest plan --cluster … --json` and `floodtest doctor --cluster … --json`."""

    format: int
    connections: int
    hosts: list[HostPlan]
    obstacles: list[str]
    """What would have the run refused, a sentence or more each."""


Seen = list[tuple[Member, Described]]


def show_plans(options: RunOptions, fit: bool, as_json: bool) -> bool:
    """Print the plan of each host; return whether the run would start."""
    options, seen, obstacles = _look(options, fit)
    if as_json:
        rows = [_row(member, plan=one.preview) for member, one in seen]
        _print_json(options, rows, obstacles)
    else:
        _print(options, [(member, one.preview_text) for member, one in seen], obstacles)
    return not obstacles


def show_checkups(options: RunOptions, as_json: bool) -> bool:
    """Print what the part of each host needs of its machine; return whether the run can start."""
    options, seen, obstacles = _look(options, False)
    if as_json:
        rows = [_row(member, checkup=one.checkup) for member, one in seen]
        _print_json(options, rows, obstacles)
    else:
        _print(options, [(member, one.checkup_text) for member, one in seen], obstacles)
    return not obstacles and all(one.checkup.ready for _, one in seen)


def _look(options: RunOptions, fit: bool) -> tuple[RunOptions, Seen, list[str]]:
    """Return the options of the run, what each host says, and what stands in the way, here and there."""

    async def ask() -> tuple[Fleet, Seen]:
        async with assembled(options, fit) as fleet:
            await fleet.agree(lambda text: print(text, file=sys.stderr))
            return fleet, list(zip(fleet.members, await fleet.described(), strict=True))

    here = look(options).refusals()
    try:
        fleet, seen = trio.run(ask)
    except BaseExceptionGroup as error:
        known = known_error(error)
        if known is None:
            raise
        raise known from error
    return fleet.options, seen, [*here, *fleet.refusals()]


def _row(member: Member, plan: Preview | None = None, checkup: Checkup | None = None) -> HostPlan:
    found = member.examined.connections
    return HostPlan(name=member.host.name, address=member.host.address, can_hold=found, plan=plan, checkup=checkup)


def _print_json(options: RunOptions, hosts: list[HostPlan], obstacles: list[str]) -> None:
    print_json(HostPlans(format=FORMAT, connections=options.plan.connections, hosts=hosts, obstacles=obstacles))


def _print(options: RunOptions, parts: Sequence[tuple[Member, str]], obstacles: list[str]) -> None:
    for member, text in parts:
        could = counted(member.examined.connections, "connections")
        print(f"# {member.host.name} ({member.host.address}), which could hold {could} by itself\n\n{text}\n")
    together = f"{counted(options.plan.connections, 'connections')} from {counted(len(parts), 'hosts')}"
    if not obstacles:
        print(f"{together}: a run would start.")
        return
    print(f"{together}: a run would be refused:")
    print("\n".join(f"  {line}" for text in obstacles for line in text.splitlines()))
