"""`floodtest doctor`: whether this machine is ready for a run, and what to change. Parses and calls."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from floodtest.flyweight.errors import ExitCode, UsageError
from floodtest.loadgen.commands.options import takes_run_options
from floodtest.loadgen.plan.options import RunOptions

STATE = Path("/var/lib/floodtest")
"""Where old values are kept (Filesystem Hierarchy Standard 3.0, 5.8: it outlives a reboot, unlike /run)."""

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
    from floodtest.loadgen.commands import doctor_actions

    if put_back:
        doctor_actions.put_back(state)
        return
    is_ready = doctor_actions.examine(options, state if change else None, sysctl, as_json)
    sys.exit(ExitCode.OK if is_ready else ExitCode.REFUSED)
