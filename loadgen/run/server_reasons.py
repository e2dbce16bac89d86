"""What a comet server's own figures say that it fell short in: its fronts, and its front machines. Pure.

In: `GET /stats`, counted from the beginning of the run. Out: a sentence for each thing that makes a run fall short.
"""

from collections import Counter
from collections.abc import Sequence

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.processes.launch import how_it_ended
from floodtest.loadgen.run.remarks import often
from floodtest.wire.control import MachineFigures, Stats


def server_in_words(is_bundled: bool) -> str:
    """Return what a server is called that the run started, or that was there before."""
    return "the bundled server" if is_bundled else "the server"


def reasons_of_server(server: Stats, is_bundled: bool) -> list[str]:
    """Say what became of a server's processes, where one of them is not there any more or was not waited for."""
    whose = server_in_words(is_bundled)
    reasons = []
    for status, count in Counter(status for status in server.fronts if status is not None).items():
        reasons.append(
            f"{count:,} of {len(server.fronts):,} fronts of {whose} ended by themselves, {how_it_ended(status)}, "
            "and with them the connections they held"
        )
    reasons += _reasons_of_machines(server.machines or ())
    front = f"a front of {whose}" if server.machines is None else "a front machine, or a front of one,"
    if given_up := server.fronts_given_up:
        reasons.append(
            f"messages: {front} was given up {often(given_up)}: it wrote nothing for seconds, and nobody waited for it"
        )
    if left_out := server.fronts_left_out:
        reasons.append(f"ticks: {front} was left out {often(left_out)}: it had not written the tick before")
    return reasons


def _reasons_of_machines(machines: Sequence[MachineFigures]) -> list[str]:
    """Say which front machines were given up, and which did not get all that was sent to them."""
    reasons = []
    for one in machines:
        if one.times_lost:
            reasons.append(
                f"the front machine {one.name} was given up {often(one.times_lost)}, as it said nothing for seconds: "
                f"messages to its {counted(one.connections_lost, 'connections')} went nowhere until it was there again"
            )
        if one.gaps:
            reasons.append(f"messages: {counted(one.gaps, 'frames')} to the front machine {one.name} never arrived")
        if one.rows_lost:
            rows = counted(one.rows_lost, "deliveries")
            reasons.append(f"messages: {rows} to the front machine {one.name} waited until there was no room")
    return reasons
