"""`comet`: the command line. Parses, and imports what a command does when it is called."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.flyweight.command.run import HELP_NAMES, add_version, run_command
from floodtest.flyweight.errors import UsageError
from floodtest.server_under_test.commands import load as cli_load
from floodtest.server_under_test.commands import messages as cli_messages
from floodtest.server_under_test.commands import store as cli_store
from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.models import DEFAULT_MODEL, MODELS
from floodtest.server_under_test.options import Options
from floodtest.wire.control import TOKEN_VARIABLE

_DEFAULTS = Limits()
_MODEL_WORDS = ", or ".join(traits.words for traits in MODELS.values())

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)


app.add_typer(cli_messages.app)
app.add_typer(cli_load.app)
app.add_typer(cli_store.app)


@app.callback()
def comet() -> None:
    """An HTTP comet server that holds a million connections."""


@app.command("serve")
def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[Any, typer.Option(parser=opt.port, metavar="PORT", help="0: any free one.")] = 8000,
    max_users: Annotated[Any, typer.Option(parser=opt.count, metavar="N", help="Ids above this get 503.")] = 1_100_000,
    max_connections: Annotated[
        Any, typer.Option(parser=opt.count, metavar="N", help="How many to have room for.  [default: as max-users]")
    ] = None,
    workers: Annotated[
        Any, typer.Option(parser=opt.count, metavar="N", help="Fronts.  [default: as many as that takes]")
    ] = None,
    model: Annotated[
        Any,
        typer.Option(
            parser=opt.one_of(*MODELS),
            metavar="|".join(MODELS),
            help=f"How connections are held: {_MODEL_WORDS}.",
        ),
    ] = DEFAULT_MODEL,
    tick: Annotated[
        Any,
        typer.Option(
            parser=opt.positive_duration, metavar="SECONDS", help="Send every connection a message this often."
        ),
    ] = None,
    control_host: Annotated[str, typer.Option(help="Address of the control API.")] = "127.0.0.1",
    control_port: Annotated[Any, typer.Option(parser=opt.port, metavar="PORT", help="0: any free one.")] = 8001,
    token: Annotated[
        str | None,
        typer.Option(envvar=TOKEN_VARIABLE, metavar="TEXT", help="Every call of the control API has to bring it."),
    ] = None,
    db: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Subscription store, made by comet load.", readable=False)
    ] = None,
    limit_head_size: Annotated[
        Any, typer.Option(parser=opt.count, metavar="BYTES", help="Longest request head; past it 431.")
    ] = _DEFAULTS.head_size,
    limit_head_time: Annotated[
        Any, typer.Option(parser=opt.positive_duration, metavar="SECONDS", help="Time for a request head; past it 408.")
    ] = _DEFAULTS.head_seconds,
    limit_pending: Annotated[
        Any, typer.Option(parser=opt.count, metavar="BYTES", help="Kept for a client that does not read.")
    ] = _DEFAULTS.pending,
    limit_excess: Annotated[
        Any, typer.Option(parser=opt.count, metavar="BYTES", help="Dropped from a client that keeps sending.")
    ] = _DEFAULTS.excess,
    limit_silence: Annotated[
        Any,
        typer.Option(parser=opt.silence, metavar="SECONDS", help="Without an answer of a client's machine."),
    ] = _DEFAULTS.silence,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve GET /test/<id>: a stream that welcomes the id, brings its messages and never ends. Stop with Ctrl-C."""
    given = dict(locals())
    problems = opt.problems(given)
    if token is None and not _is_loopback(control_host):
        problems.append(
            f"--control-host {control_host} is open to others: it takes a --token, or set {TOKEN_VARIABLE}."
        )
    problems += opt.token_problems(token)
    if problems:
        raise UsageError(*problems)
    limits = Limits(limit_head_size, limit_head_time, limit_pending, limit_excess, limit_silence)
    sizes = max_users, max_connections, workers
    settings = Options(host, port, *sizes, tick, control_host, control_port, token, db, limits, model)
    from floodtest.server_under_test.commands.serving import serve_and_announce

    serve_and_announce(settings, parent_fd)


add_version("comet", app)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Run `comet`; turn errors into exit codes."""
    run_command("comet", app)
