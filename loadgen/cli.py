"""`floodtest`: the command line. Parses, calls one function, prints."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio
import typer

from analysis import FORMAT, Summary
from flyweight import options as opt
from flyweight.command import known_error, run_command
from flyweight.errors import ExitCode, Refused, UsageError
from loadgen.console import open_console, render
from loadgen.host import fit as fit_host
from loadgen.host import parse_target
from loadgen.messages import MessageOptions
from loadgen.plan import Plan
from loadgen.run import Run, RunOptions

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

EXIT_OF = {
    "ok": ExitCode.OK,
    "shortfall": ExitCode.SHORTFALL,
    "interrupted": ExitCode.INTERRUPTED,
}


@app.callback()
def floodtest() -> None:
    """Open connections by the million, hold them, and account for every one."""


def _option(parse: Any, metavar: str, text: str) -> Any:
    return typer.Option(parser=parse, metavar=metavar, help=text)


@app.command("run")
def run_command_line(
    ips: Annotated[Any, _option(opt.count, "N", "Source addresses.")] = 17,
    each: Annotated[Any, _option(opt.count, "N", "Connections from each address.")] = 62_000,
    connections: Annotated[Any, _option(opt.count, "N", "Connections in all.  [default: ips x each]")] = None,
    base_ip: Annotated[str, typer.Option(metavar="ADDRESS", help="First source address.")] = "127.0.1.1",
    first_port: Annotated[Any, _option(opt.port, "PORT", "First source port of each address.")] = 1024,
    target: Annotated[
        str | None,
        typer.Option(metavar="URL", help="http://HOST:PORT/PATH with {user} in it.  [default: a server of our own]"),
    ] = None,
    rate: Annotated[Any, _option(opt.rate, "N", "Connections a second, by the clock.  [default: no limit]")] = None,
    in_flight: Annotated[Any, _option(opt.count, "N", "Connections begun and not yet open, at the most.")] = 1024,
    connect_timeout: Annotated[Any, _option(opt.positive_duration, "SECONDS", "From connect to the welcome.")] = 10.0,
    hold: Annotated[Any, _option(opt.duration, "SECONDS", "How long to hold the connections.")] = 10.0,
    tick: Annotated[
        Any,
        _option(
            opt.positive_duration, "SECONDS", "In the hold, our server sends every connection a message this often."
        ),
    ] = None,
    ports: Annotated[str, typer.Option(metavar="explicit|kernel", help="Who chooses source ports.")] = "explicit",
    interval: Annotated[Any, _option(opt.positive_duration, "SECONDS", "Between two samples.")] = 1.0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where run records go.", readable=False)] = Path("runs"),
    server_pid: Annotated[
        int | None, typer.Option(metavar="PID", help="Measure this process and its children.")
    ] = None,
    messages: Annotated[
        Any,
        _option(opt.rate, "N/s", "After the hold, our server gets so many messages a second about random users."),
    ] = None,
    message_seconds: Annotated[Any, _option(opt.positive_duration, "SECONDS", "How long messages are sent.")] = 60.0,
    message_size: Annotated[Any, _option(opt.message_size, "BYTES", "Of a message's text.")] = 100,
    friends: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who gets messages about whom: a file of fakefriends.", readable=False),
    ] = None,
    db: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The same, as a store of comet load: it need not be made first.", readable=False
        ),
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="As many of them as this machine can hold.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
) -> None:
    """Open connections, hold them, account for each; write a run record.

    Durations read 10, 10s, 500ms or 2m. Exit codes: 0 all planned was done, 2 usage, 3 refused before starting,
    4 fell short of the plan, 130 interrupted.
    """
    options = _options(dict(locals()))
    try:
        console = open_console()
        if fit:
            options = _fitted(options, console.say)
        with console:
            summary = trio.run(Run(options, console).execute)
    except (Refused, BaseExceptionGroup) as error:
        refused = known_error(error)
        if as_json and isinstance(refused, Refused):
            print(json.dumps({"format": FORMAT, "run": None, "outcome": "refused", "reasons": [str(refused)]}))
        raise
    _print(summary, as_json)
    sys.exit(EXIT_OF[summary.outcome])


def _print(summary: Summary, as_json: bool) -> None:
    print(render(summary), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(msgspec.json.encode(summary).decode())


def _options(given: dict[str, Any]) -> RunOptions:
    """Check all options together; UsageError names everything that is wrong with them."""
    found = opt.problems(given)
    if given["ports"] not in ("explicit", "kernel"):
        found.append(f"--ports takes explicit or kernel, not {given['ports']!r}.")
    if given["target"] is not None:
        found += _problems_of(partial(parse_target, given["target"]))
        if given["tick"] is not None:
            found.append(
                "--tick is for our own server: leave --target out, or let your server send messages by itself."
            )
        if given["messages"] is not None:
            found.append("--messages is for our own server: leave --target out.")
    elif given["server_pid"] is not None:
        found.append("--server-pid is for a server that was named with --target.")
    found += _problems_with_messages(given)
    sizes = {name: given[name] for name in ("ips", "each", "connections", "first_port")}
    plan = None
    if not opt.problems(sizes):
        planned = sizes["connections"] or sizes["ips"] * sizes["each"]
        make = partial(Plan, sizes["ips"], sizes["each"], given["base_ip"], sizes["first_port"], planned)
        found += _problems_of(make)
        plan = None if found else make()
    if plan is None:
        raise UsageError(*found)
    kept = ("target", "rate", "in_flight", "connect_timeout", "hold", "tick", "ports", "interval", "out", "server_pid")
    messages = None
    if given["messages"] is not None:
        messages = MessageOptions(given["messages"], given["message_seconds"], given["message_size"])
    return RunOptions(
        plan, **{name: given[name] for name in kept}, messages=messages, friends=given["friends"], db=given["db"]
    )


def _problems_with_messages(given: dict[str, Any]) -> list[str]:
    found = []
    if given["messages"] is None and (given["friends"] or given["db"]):
        found.append("--friends and --db are for --messages: say how many a second.")
    if given["friends"] and given["db"]:
        found.append("--friends and --db say the same thing in two ways: leave one of them out.")
    return found


def _problems_of(make: Any) -> list[str]:
    try:
        make()
    except UsageError as error:
        return list(error.problems)
    return []


def _fitted(options: RunOptions, say: Any) -> RunOptions:
    """Cut the plan to what this machine can hold, and say so."""
    planned = options.plan.connections
    found = fit_host(planned)
    if found.connections < 1:
        raise Refused(f"Not one connection fits: {found.reason}.")
    say(f"This machine can hold {found.connections:,} of the {planned:,} planned connections: {found.reason}.")
    return replace(options, plan=replace(options.plan, connections=found.connections))


def main() -> None:
    """Run `floodtest`; turn errors into exit codes."""
    run_command("floodtest", app)
