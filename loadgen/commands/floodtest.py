"""`floodtest`: the command line. Parses, and imports what a command does when it is called."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from floodtest.flyweight.command.run import (
    HELP_NAMES,
    add_version,
    known_error,
    only_asked_for,
    print_json,
    run_command,
)
from floodtest.flyweight.command.stdio import STDOUT, is_thrown_away
from floodtest.flyweight.errors import ExitCode, FloodtestError, Refused, UsageError
from floodtest.loadgen.commands import doctor, net, records
from floodtest.loadgen.commands.options import takes_run_options
from floodtest.loadgen.network.choice import choose
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions

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
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.html at the end.")]

app.add_typer(records.app)
app.add_typer(doctor.app)
app.add_typer(net.app, name="net")


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
    no_report: NoReport = False,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            metavar="N",
            min=1,
            show_default=False,
            help="So many runs in turn, and the scatter between them.  [default: 1]",
        ),
    ] = 1,
) -> None:
    """Open connections, hold them, account for each; write a run record.

    Durations read 10, 10s, 500ms or 2m. Exit codes: 0 all planned was done, 2 usage, 3 refused before starting,
    4 fell short of the plan, 130 interrupted. Of several runs it is that of the worst.
    """
    if repeat > 1:
        _repeat(options, context, repeat, as_json)
    with _refusals_as_json(as_json):
        network = choose(options, context.obj)
        from floodtest.loadgen.commands import running  # not before now: settling may start this process anew

        summary = running.execute(options, network, fit)
    unwritten = running.show(summary, as_json)
    if not no_report:
        records.report_of(Path(summary.run))
    _end(summary.outcome, summary.run, unwritten)


def _repeat(options: RunOptions, context: typer.Context, times: int, as_json: bool) -> NoReturn:
    """Run the command line of this process several times, without --repeat and with one name for all records."""
    from floodtest.loadgen.commands import repeating
    from floodtest.loadgen.commands.run_series import without_option

    flags = [name for one in context.command.params if getattr(one, "is_flag", False) for name in one.opts]
    words = without_option(sys.argv[1:], "--repeat", flags)
    named = ["--name", repeating.now()] if options.name is None else []
    sys.exit(repeating.repeat([*words, *named], times, as_json))


@app.command("ab", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def ab(
    context: typer.Context,
    a: Annotated[str, typer.Option("--a", metavar="OPTIONS", help="Options of run for one side, in quotes.")],
    b: Annotated[str, typer.Option("--b", metavar="OPTIONS", help="Those for the other side.")],
    rounds: Annotated[
        int,
        typer.Option("--repeat", metavar="N", min=1, show_default=False, help="Runs of each side.  [default: 3]"),
    ] = 3,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the folder of the records goes.")] = records.RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs and the comparison as JSON.")] = False,
) -> None:
    """Compare two ways to run: A B, B A, A B and so on, then compare.html. All other options are run's, for both sides.

    Such as: floodtest ab --a '--server-model columns' --b '--server-model tasks' --connections 5000

    Exit codes: that of the worst run.
    """
    from floodtest.loadgen.commands import repeating

    folder = out / f"ab-{repeating.now()}"
    sides = []
    for name, text in (("a", a), ("b", b)):
        words = ["--name", name, *context.args, *_words(f"--{name}", text), "--out", str(folder)]
        _check(f"--{name}", words)
        sides.append(["run", *words])
    sys.exit(repeating.ab(sides, rounds, folder, as_json))


def _words(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} can't be taken apart into options: {error}.") from error


def _check(side: str, words: list[str]) -> None:
    """Raise a UsageError where a run would not take a command line; its sentences name the side."""
    try:
        typer.main.get_command(_of_sides)(words, prog_name="floodtest run", standalone_mode=False)
    except (UsageError, _NotUnderstood) as error:
        problems = error.problems if isinstance(error, UsageError) else (error.format_message(),)
        raise UsageError(*(f"With the options of {side}: {problem}" for problem in problems)) from error


_NotUnderstood: Any = typer.BadParameter.__base__
"""UsageError of click, which typer may bring along, but never by its name."""

_of_sides = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@_of_sides.command(add_help_option=False)  # a run that prints its help would be none
@takes_run_options
def _take(options: RunOptions, fit: Fit = False, no_report: NoReport = False) -> None:
    """Take what a run of a series may be asked for, and do nothing."""


@contextmanager
def _refusals_as_json(are_wanted: bool) -> Iterator[None]:
    """Print a run that is refused within the block as JSON, if that is wanted; its error goes on."""
    try:
        yield
    except (Refused, BaseExceptionGroup) as error:
        refused = known_error(error)
        if are_wanted and isinstance(refused, Refused):
            from floodtest.analysis import FORMAT

            print_json({"format": FORMAT, "run": None, "outcome": "refused", "reasons": [str(refused)]})
        raise


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
    from floodtest.loadgen.commands.planning import show_plan

    would_start = show_plan(options, fit, as_json)
    sys.exit(ExitCode.OK if would_start else ExitCode.REFUSED)


@app.command("probe")
@takes_run_options
def probe_command_line(options: RunOptions) -> None:
    """Open one connection to --target as a run would; show what was sent, what came, and what a run would make of it.

    Exit codes: 0 it opened, 2 usage, 3 refused before anything was opened, 4 it did not open.
    """
    from floodtest.loadgen.commands.probing import probe

    sys.exit(ExitCode.OK if probe(options) else ExitCode.SHORTFALL)


add_version("floodtest", app)


def _end(outcome: str, run: str, unwritten: FloodtestError | None) -> NoReturn:
    """Exit with the code of an outcome; where the summary was not printed, say where it is."""
    code = EXIT_OF[outcome]
    if isinstance(unwritten, Refused) or (unwritten is None and is_thrown_away(STDOUT)):
        print(f"Nobody is told the summary by standard output: it is in {run}/run.json.", file=sys.stderr)
    if unwritten is not None:
        if code == ExitCode.OK:
            raise unwritten
        if isinstance(unwritten, Refused):
            print(f"floodtest: {unwritten}", file=sys.stderr)
    sys.exit(code)


def main(network: Network | None = None) -> None:
    """Run `floodtest`, in a network of its own if `loadgen.commands.isolated` has made one; turn errors into exit
    codes.
    """
    run_command("floodtest", partial(only_asked_for(app, sys.argv[1:]), obj=network))
