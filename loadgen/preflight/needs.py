"""What the rows of the table of checks read, and how much of it a run needs, as functions of machine and demand.

Out: numbers, or None for what this machine, or this run, has not got.
"""

from collections.abc import Callable

from floodtest.flyweight.machine.files import FILES_RESERVE
from floodtest.flyweight.processes.worker_count import MAX_WORKERS
from floodtest.loadgen.plan.plan import HOST_PORTS, planned_ports, spare_ports
from floodtest.loadgen.preflight.demand import Demand, forecast
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.ports import free_ports
from floodtest.loadgen.preflight.verdicts import Value
from floodtest.wire.tls.settings import MOST_KEPT

OTHER_TASKS = 16
"""Processes and threads of a run besides workers and nurseries: the run, the server, who loads, keeps and publishes."""


def sysctl(key: str, field: int = 0) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: machine.setting(key, field)


def always(value: Value) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: value


def rooms(index: int) -> Callable[[Machine, Demand], Value]:
    return lambda machine, demand: max(0, machine.rooms[index].free) if index < len(machine.rooms) else None


def left_of(most: str, used: str, field: int = 0) -> Callable[[Machine, Demand], Value]:
    """What is left of a table: its bound less what is in use."""

    def read(machine: Machine, demand: Demand) -> Value:
        bound, count = machine.setting(most), machine.setting(used, field)
        return None if bound is None or count is None else bound - count

    return read


def files_needed(machine: Machine, demand: Demand) -> int:
    return max(2 * FILES_RESERVE, FILES_RESERVE + -(-demand.connections // MAX_WORKERS))


def memory_needed(machine: Machine, demand: Demand) -> int:
    return int(forecast(demand, machine).most * demand.margin)


def objects_kept(machine: Machine, demand: Demand) -> Value:
    models = {demand.client_model, demand.server_model} if demand.bundled else {demand.client_model}
    return MOST_KEPT if demand.tls_objects and "columns" in models else None


def objects_of_a_worker(machine: Machine, demand: Demand) -> int:
    found = forecast(demand, machine)
    each = -(-demand.connections // found.client_workers)
    shares_unevenly = demand.server_model == "columns" and (found.server_workers or 1) > 1
    return each + each // 4 if shares_unevenly else each


def tasks_needed(machine: Machine, demand: Demand) -> int:
    """Return the processes and threads of a run: its workers, as many nurseries as ends and cores, and few others."""
    found = forecast(demand, machine)
    return found.client_workers + (found.server_workers or 0) + 2 * machine.cores + OTHER_TASKS


def tasks_left(key: str) -> Callable[[Machine, Demand], Value]:
    def read(machine: Machine, demand: Demand) -> Value:
        bound = machine.setting(key)
        return None if bound is None or machine.tasks is None else bound - machine.tasks

    return read


def in_flight(machine: Machine, demand: Demand) -> int:
    return min(demand.in_flight, demand.connections, 65535)


def spares(machine: Machine, demand: Demand) -> int:
    return len(spare_ports(demand.plan))


def planned(ports: Callable[[Machine], frozenset[int]]) -> Callable[[Machine, Demand], Value]:
    """How many planned ports of each address are among these."""

    def count(machine: Machine, demand: Demand) -> Value:
        used = planned_ports(demand.plan) if demand.explicit_ports else range(0)
        return sum(port in used for port in ports(machine))

    return count


def ports_left(machine: Machine, demand: Demand) -> Value:
    if machine.port_range is None:
        return None
    first, last = machine.port_range
    return free_ports(demand.plan, (first, last)) if demand.explicit_ports else last - first + 1


def ports_needed(machine: Machine, demand: Demand) -> int:
    return HOST_PORTS if demand.explicit_ports else min(demand.plan.each, demand.connections)


def hash_entries(machine: Machine, demand: Demand) -> Value:
    entries = machine.setting("net/ipv4/tcp_ehash_entries")
    return None if entries is None else abs(entries)  # less than 0 in a network namespace that shares the host's


def unless_bundled(machine: Machine, demand: Demand) -> int:
    return 0 if demand.bundled else demand.connections
