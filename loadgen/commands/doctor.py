"""`floodtest doctor`: whether this machine is ready for a run, and what to change. Parses, calls, prints."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import ExitCode, UsageError
from floodtest.loadgen.commands.checkup import checkup, render_checkup
from floodtest.loadgen.commands.options import takes_run_options
from floodtest.loadgen.network.choice import foresee
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import Outlook, look
from floodtest.loadgen.preflight.sysctls import STATE, apply, as_sysctl_conf, changes, revert

app = typer.Typer()


@app.command("doctor")
@takes_run_options
def doctor_command(
    options: RunOptions,
    change: Annotated[bool, typer.Option("--apply", help="Change the sysctls that fall short. Takes root.")] = False,
    put_back: Annotated[bool, typer.Option("--revert", help="Put back what --apply has changed.")] = False,
    sysctl: Annotated[bool, typer.Option("--sysctl", help="Print the changes as a sysctl.conf instead.")] = False,
    state: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where --apply keeps the old values.", readable=False)
    ] = STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON on stdout.")] = False,
) -> None:
    """Check what a run with these options needs of this machine, and say why.

    Exit codes: 0 a run can start, 2 usage, 3 something would stop it; what is only advice is no obstacle.
    The sysctls are those of the network that the run would take: with --network host, the host's.
    """
    if change + put_back + sysctl > 1:
        raise UsageError("doctor does one thing at a time: one of --apply, --revert and --sysctl.")
    if put_back:
        print("\n".join(each.in_words() for each in revert(state)) or "Nothing to revert.")
        return
    network = foresee(options)
    print(f"Network: {network.in_words}.", file=sys.stderr)
    outlook = look(options, network)
    if change:
        outlook = _apply(outlook, network, state)
    verdicts = outlook.verdicts()
    obstacles = outlook.refusals()
    found = checkup(outlook.demand.connections, verdicts, obstacles)
    if sysctl:
        print(as_sysctl_conf(changes(verdicts)), end="")
    elif as_json:
        print_json(found)
    else:
        print(render_checkup(outlook.demand.connections, verdicts, obstacles))
    sys.exit(ExitCode.OK if found.ready else ExitCode.REFUSED)


def _apply(outlook: Outlook, network: Network, state: Path) -> Outlook:
    """Change what falls short, say what, and look again."""
    wanted = changes(outlook.verdicts())
    apply(wanted, state)
    for each in wanted:
        print(f"{each.name}: {each.old} is {each.new} now", file=sys.stderr)
    print("floodtest doctor --revert puts it back." if wanted else "There is no sysctl to change.", file=sys.stderr)
    return look(outlook.options, network)
