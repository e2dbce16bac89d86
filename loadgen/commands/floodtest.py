"""`floodtest`: the command line. Parses, calls one function, prints."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import trio
import typer

from floodtest.analysis import FORMAT, Summary
from floodtest.flyweight.command.run import HELP_NAMES, add_version, known_error, print_json, run_command
from floodtest.flyweight.command.stdio import STDOUT, is_thrown_away
from floodtest.flyweight.errors import ExitCode, FloodtestError, Refused, Unread
from floodtest.loadgen.commands import doctor as cli_doctor
from floodtest.loadgen.commands import net as cli_net
from floodtest.loadgen.commands import records as cli_analysis
from floodtest.loadgen.commands.console import open_console, render
from floodtest.loadgen.commands.options import takes_run_options
from floodtest.loadgen.commands.preview import preview, render_preview
from floodtest.loadgen.network.choice import foresee, settle
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import fitted, look
from floodtest.loadgen.run.conductor import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)

EXIT_OF = {
    "ok": ExitCode.OK,
    "shortfall": ExitCode.SHORTFALL,
    "interrupted": ExitCode.INTERRUPTED,
}

Fit = Annotated[bool, typer.Option("--fit", help="As many of them as this machine can hold.")]


app.add_typer(cli_analysis.app)
app.add_typer(cli_doctor.app)
app.add_typer(cli_net.app, name="net")


@app.callback()
def floodtest() -> None:
    """Open connections by the million, hold them, and account for every one."""


@app.command("run")
@takes_run_options
def run_command_line(
    options: RunOptions,
    context: typer.Context,
    fit: Fit = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html at the end.")] = False,
) -> None:
    """Open connections, hold them, account for each; write a run record.

    Durations read 10, 10s, 500ms or 2m. Exit codes: 0 all planned was done, 2 usage, 3 refused before starting,
    4 fell short of the plan, 130 interrupted.
    """
    try:
        network = settle(options, context.obj)
        console = open_console()
        console.say(f"Network: {network.in_words}.")
        if fit:
            options = _fitted(options, network, console.say)
        with console:
            summary = trio.run(Run(options, console, network).execute)
    except (Refused, BaseExceptionGroup) as error:
        refused = known_error(error)
        if as_json and isinstance(refused, Refused):
            print_json({"format": FORMAT, "run": None, "outcome": "refused", "reasons": [str(refused)]})
        raise
    unwritten = _print(summary, as_json)
    if not no_report:
        cli_analysis.report_of(Path(summary.run))
    _end(summary, unwritten)


@app.command("plan")
@takes_run_options
def plan_command_line(
    options: RunOptions,
    fit: Fit = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON on stdout.")] = False,
) -> None:
    """Show what a run with these options would open and take, and what would stop it. Opens nothing.

    Exit codes: 0 it would start, 2 usage, 3 it would be refused.
    """
    network = foresee(options)
    print(f"Network: {network.in_words}.", file=sys.stderr)
    if fit:
        options = _fitted(options, network, lambda text: print(text, file=sys.stderr))
    outlook = look(options, network)
    if not network.is_isolated and (note := outlook.note_on_ports()) is not None:  # in its own the kernel has enough
        print(note, file=sys.stderr)
    shown = preview(outlook)
    if as_json:
        print_json(shown)
    else:
        print(render_preview(shown))
    sys.exit(ExitCode.REFUSED if shown.obstacles else ExitCode.OK)


add_version("floodtest", app)


def _print(summary: Summary, as_json: bool) -> FloodtestError | None:
    """Print a summary; return why standard output did not take it, which is no reason to leave out the report."""
    if as_json:
        print(render(summary), file=sys.stderr)
    try:
        if as_json:
            print_json(summary)
        else:
            print(render(summary))
        sys.stdout.flush()
    except (Refused, Unread) as error:
        return error
    return None


def _end(summary: Summary, unwritten: FloodtestError | None) -> NoReturn:
    """Exit with the code of an outcome; where the summary was not printed, say where it is."""
    code = EXIT_OF[summary.outcome]
    if isinstance(unwritten, Refused) or (unwritten is None and is_thrown_away(STDOUT)):
        print(f"Nobody is told the summary by standard output: it is in {summary.run}/run.json.", file=sys.stderr)
    if unwritten is not None:
        if code == ExitCode.OK:
            raise unwritten
        if isinstance(unwritten, Refused):
            print(f"floodtest: {unwritten}", file=sys.stderr)
    sys.exit(code)


def _fitted(options: RunOptions, network: Network, say: Callable[[str], None]) -> RunOptions:
    """Cut the plan to what this machine can hold, and say so."""
    planned = options.plan.connections
    options, found = fitted(options, network)
    say(f"This machine can hold {found.connections:,} of the {planned:,} planned connections: {found.reason}.")
    return options


def main(network: Network | None = None) -> None:
    """Run `floodtest`, in a network of its own if `loadgen.commands.isolated` has made one; turn errors into exit
    codes.
    """
    run_command("floodtest", partial(app, obj=network))
