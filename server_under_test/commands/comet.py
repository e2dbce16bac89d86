"""`comet`: the command line. Parses, and imports what a command does when it is called."""

import ipaddress
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.run import HELP_NAMES, add_version, only_asked_for, run_command
from floodtest.server_under_test.commands import load, messages, store
from floodtest.server_under_test.commands.options import RingOptions
from floodtest.server_under_test.options import (
    MOST_TICKETS,
    ClusterOptions,
    FrontOptions,
    Options,
    RouterOptions,
    TlsOptions,
)
from floodtest.wire.control import TOKEN_VARIABLE

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)


app.add_typer(messages.app)
app.add_typer(load.app)
app.add_typer(store.app)


@app.callback()
def comet() -> None:
    """An HTTP comet server that holds a million connections."""


def _read_options(line: CommandLine) -> Options:
    options = line.read(Options)
    line.check(_about_strangers(options), "token")
    line.check(_about_tls(options.tls), "tls_cert")
    line.check(_about_bus(options), "bus", "history")
    return options


def _read_router_options(line: CommandLine) -> ClusterOptions:
    options = line.read(ClusterOptions)
    line.check(_about_strangers(options), "token")
    return options


def _read_front_options(line: CommandLine) -> FrontOptions:
    options = line.read(FrontOptions)
    line.check(_about_tls(options.tls), "tls_cert")
    return options


def _about_bus(options: Options) -> Iterator[str]:
    if options.bus is not None and options.history.count is not None:
        yield "--history is not kept over a --bus: leave one of them out."


def _about_strangers(options: RouterOptions) -> Iterator[str]:
    host = options.control_host
    if options.token is None and not _is_loopback(host):
        yield f"--control-host {host} is open to others: it takes a --token, or set {TOKEN_VARIABLE}."


def _about_tls(tls: TlsOptions) -> Iterator[str]:
    if tls.cert is None and (tls.key is not None or tls.tickets):
        yield "--tls-key and --tls-tickets are about streams over TLS, which take a --tls-cert."
    if tls.tickets > MOST_TICKETS:
        yield f"--tls-tickets {tls.tickets}: up to {MOST_TICKETS} are sent."


@app.command("serve")
@takes(Options, _read_options)
def serve(options: Options, parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Serve streams that welcome an id, bring its messages and never end. Stop with Ctrl-C.

    GET /test/<id>: each message in a chunk; /events/<id>: server-sent events; /lines/<id>: lines; /ws/<id>: WebSocket.

    In a browser: new WebSocket("ws://127.0.0.1:8000/ws/7"), or with --allow-origin
    new EventSource("http://127.0.0.1:8000/events/7"). docs/browser.html is a page that shows both.

    With --tls-cert streams are at https:// and wss://; SIGHUP has the certificate read again.
    """
    if options.bus is None:
        from floodtest.server_under_test.commands import serving

        serving.serve_and_announce(options, parent_fd)
    else:
        from floodtest.server_under_test.commands import clustering

        clustering.serve_and_announce(options, parent_fd)


@app.command("router")
@takes(ClusterOptions, _read_router_options)
def router(options: ClusterOptions, parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Route messages to front machines over Valkey: subscriptions, ticks, and the control API of all of them.

    Each machine then runs: comet front --bus URL --machine NAME. docs/cluster.md tells more.
    """
    from floodtest.server_under_test.commands import clustering

    clustering.route_and_announce(options, parent_fd)


@app.command("front")
@takes(FrontOptions, _read_front_options)
def front(options: FrontOptions, parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Serve streams on this machine, which a comet router, or any program, drives over Valkey.

    What streams there are is told by comet serve --help. docs/cluster.md tells more.
    """
    from floodtest.server_under_test.commands import clustering

    clustering.hold_and_announce(options, parent_fd)


def _read_ring(line: CommandLine) -> RingOptions:
    options = line.read(RingOptions)
    line.check(_about_keys(options))
    return options


def _about_keys(options: RingOptions) -> Iterator[str]:
    if options.driver and options.keys:
        yield "--driver reads keys from standard input: leave those on the command line out."


@app.command("ring")
@takes(RingOptions, _read_ring)
def ring(options: RingOptions) -> None:
    """Tell by ketama which server a key belongs to; without a KEY, which share of all keys each server has."""
    from floodtest.server_under_test.commands import placing

    placing.place(options)


add_version("comet", app)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Run `comet`; turn errors into exit codes."""
    run_command("comet", only_asked_for(app, sys.argv[1:]))
