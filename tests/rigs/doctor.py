"""A machine made of files on which several sysctls fall short, and what doctor would change on it."""

from pathlib import Path

from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.checks import examine
from floodtest.loadgen.preflight.demand import Demand, Traffic
from floodtest.loadgen.preflight.sysctls import Change, changes
from tests.rigs.host import FakeMachine

MILLION = Demand(Plan(17, 62_000, "127.0.1.1", 1024, 1_054_000), traffic=Traffic(ticks=True))


def short_machine(folder: Path) -> FakeMachine:
    """Make a machine on which several sysctls fall short, one of them a number among three."""
    made = FakeMachine(folder)
    made.set("net/core/somaxconn", "128")
    made.set("net/ipv4/tcp_mem", "1000\t2000\t3000")
    made.set("fs/epoll/max_user_watches", "400000")
    made.set("net/netfilter/nf_conntrack_max", "65536")
    made.set("net/netfilter/nf_conntrack_count", "36")
    return made


def wanted(fake: FakeMachine, demand: Demand = MILLION) -> list[Change]:
    return changes(examine(fake.machine(), demand), fake.proc)
