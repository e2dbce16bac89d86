"""What `floodtest doctor` does: it looks at the machine, and changes sysctls or puts them back if that is asked for."""

import sys
from pathlib import Path

from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.network.choice import foresee
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.checkup import checkup, render_checkup
from floodtest.loadgen.preflight.outlook import Outlook, look
from floodtest.loadgen.preflight.sysctls import apply, as_sysctl_conf, changes, revert
from floodtest.loadgen.preflight.tls_support import support_of


def put_back(state: Path) -> None:
    """Put back what `examine` has changed, and say what."""
    print("\n".join(each.in_words() for each in revert(state)) or "Nothing to revert.")


def examine(options: RunOptions, change: Path | None, sysctl: bool, as_json: bool) -> bool:
    """Print what a run needs of this machine; return whether it can start.

    With `change` the sysctls that fall short are changed before, and their values kept in that folder.
    """
    network = foresee(options)
    if options.cluster.is_asked:
        from floodtest.loadgen.commands.host_planning import show_checkups  # not above: one machine has no use for it

        if change is not None or sysctl:
            raise UsageError("doctor --apply and --sysctl are for the machine that they are called on: call it there.")
        return show_checkups(options, as_json)
    print(f"Network: {network.in_words}.", file=sys.stderr)
    outlook = look(options, network)
    if change is not None:
        outlook = _apply(outlook, network, change)
    verdicts = outlook.verdicts()
    obstacles = outlook.refusals()
    found = checkup(outlook.demand.connections, verdicts, support_of(outlook.machine), obstacles)
    if sysctl:
        print(as_sysctl_conf(changes(verdicts)), end="")
    elif as_json:
        print_json(found)
    else:
        print(render_checkup(outlook.demand.connections, verdicts, found.tls, obstacles))
    return found.ready


def _apply(outlook: Outlook, network: Network, state: Path) -> Outlook:
    """Change what falls short, say what, and look again."""
    wanted = changes(outlook.verdicts())
    apply(wanted, state)
    for each in wanted:
        print(f"{each.name}: {each.old} is {each.new} now", file=sys.stderr)
    print("floodtest doctor --revert puts it back." if wanted else "There is no sysctl to change.", file=sys.stderr)
    return look(outlook.options, network)
