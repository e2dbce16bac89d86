"""The options of a run, which `run`, `plan` and `doctor` share: declared once, and complained about all at once."""

import inspect
import ipaddress
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.flyweight.errors import UsageError
from floodtest.flyweight.machine.files import need_proc
from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE
from floodtest.loadgen.network.wish import BASE_IP, VETH_BASE_IP, VETH_SERVERS
from floodtest.loadgen.plan.choices import CHOICES, LINKS
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import CLIENT_MODELS, DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL, SERVER_MODELS
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.pacer import Pacer, parse_stages
from floodtest.loadgen.plan.plan import Plan, is_between
from floodtest.loadgen.preflight.targets import parse_target
from floodtest.wire.options import message_size as message_size_option

_CLIENT_WORDS = ", or ".join(traits.words for traits in CLIENT_MODELS.values())
_SERVER_WORDS = ", or ".join(traits.words for traits in SERVER_MODELS.values())
_NO_PORTS = " or ".join(f"--client {name}" for name, traits in CLIENT_MODELS.items() if not traits.chooses_ports)

STAGES = opt.parser(parse_stages, "stages such as 1000/s:30s,5000/s:60s,max")


def option(parse: Any, metavar: str, text: str) -> Any:
    """Declare an option that is read by one of `flyweight.command.options`."""
    return typer.Option(parser=parse, metavar=metavar, help=text)


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take all options of `run_options`, and get what that returns as its first argument.

    All of these commands look at the machine, so that they need /proc.
    """
    shared = inspect.signature(run_options).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @wraps(command)
    def call(**given: Any) -> None:
        options = run_options(**{name: given.pop(name) for name in shared})
        need_proc()
        command(options, **given)

    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*shared.values(), *own)]
    call.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return call


def run_options(
    ips: Annotated[Any, option(opt.count, "N", "Source addresses.")] = 17,
    each: Annotated[Any, option(opt.count, "N", "Connections from each address.")] = 62_000,
    connections: Annotated[Any, option(opt.count, "N", "Connections in all.  [default: ips x each]")] = None,
    base_ip: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help=f"First source address.  [default: {BASE_IP}; with veth {VETH_BASE_IP}]"),
    ] = None,
    first_port: Annotated[Any, option(opt.port, "PORT", "First source port of each address.")] = 1024,
    target: Annotated[
        str | None,
        typer.Option(metavar="URL", help="http://HOST:PORT/PATH with {user} in it.  [default: a server of our own]"),
    ] = None,
    rate: Annotated[Any, option(opt.rate, "N", "Connections a second, by the clock.  [default: no limit]")] = None,
    stages: Annotated[
        Any, option(STAGES, "RATE:TIME,…", "Instead of --rate: 1000/s:30s,5000/s:60s,max; the last may have no time.")
    ] = None,
    in_flight: Annotated[Any, option(opt.count, "N", "Connections begun and not yet open, at the most.")] = 1024,
    connect_timeout: Annotated[Any, option(opt.positive_duration, "SECONDS", "From connect to the welcome.")] = 10.0,
    hold: Annotated[Any, option(opt.duration, "SECONDS", "How long to hold the connections.")] = 10.0,
    tick: Annotated[
        Any,
        option(
            opt.positive_duration, "SECONDS", "In the hold, our server sends every connection a message this often."
        ),
    ] = None,
    ports: Annotated[
        str | None,
        typer.Option(
            metavar="explicit|kernel", help=f"Who chooses source ports.  [default: explicit; kernel with {_NO_PORTS}]"
        ),
    ] = None,
    interval: Annotated[Any, option(opt.positive_duration, "SECONDS", "Between two samples.")] = 1.0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where run records go.", readable=False)] = Path("runs"),
    client: Annotated[
        Any,
        option(opt.one_of(*CLIENT_MODELS), "|".join(CLIENT_MODELS), f"{_CLIENT_WORDS.capitalize()}."),
    ] = DEFAULT_CLIENT_MODEL,
    server_model: Annotated[
        Any, option(opt.one_of(*SERVER_MODELS), "|".join(SERVER_MODELS), f"Our server: {_SERVER_WORDS}.")
    ] = DEFAULT_SERVER_MODEL,
    server_pid: Annotated[Any, option(opt.count, "PID", "Measure this process and its children.")] = None,
    messages: Annotated[
        Any,
        option(opt.rate, "N/s", "After the hold, our server gets so many messages a second about random users."),
    ] = None,
    message_seconds: Annotated[Any, option(opt.positive_duration, "SECONDS", "How long messages are sent.")] = 60.0,
    message_size: Annotated[Any, option(message_size_option, "BYTES", "Of a message's text.")] = 100,
    friends: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who gets messages about whom: a file of pairs.", readable=False),
    ] = None,
    columns: Annotated[Any, option(opt.columns, "A,B", "The pair's columns in it, by name or number.")] = None,
    renumber: Annotated[
        bool,
        typer.Option("--renumber", help="Take ids from 0 in it, or beyond a user's, and number users anew from 1."),
    ] = False,
    db: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The same, as a store of comet load, which must exist.", readable=False),
    ] = None,
    allow_public_target: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The target again, if it is a public address: it is yours to load."),
    ] = None,
    network: Annotated[
        str,
        typer.Option(metavar="|".join(CHOICES), help="Run in the host's network, or in one that ends with the run."),
    ] = "auto",
    link: Annotated[
        str, typer.Option(metavar="|".join(LINKS), help="What joins client and server in a network of their own.")
    ] = "loopback",
    reserve: Annotated[
        Any, option(opt.reserve, "SHARE|SIZE", "Memory to leave free, such as 10% (512 MiB at the least) or 2GiB.")
    ] = DEFAULT_RESERVE,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Such as 'latency.p99 > 50ms'. The run then falls short. Repeatable."),
    ] = None,
) -> RunOptions:
    """Check all options together; UsageError names everything that is wrong with them."""
    given = dict(locals())
    found = [
        *opt.problems(given),
        *_problems_with_ports(given),
        *_problems_with_server(given),
        *_problems_with_messages(given),
        *_problems_with_network(given),
    ]
    plan = _plan(given, found)
    found += [*_problems_with_stages(given, plan), *_problems_with_veth(given, plan), *_problems_with_thresholds(given)]
    if found or plan is None:
        raise UsageError(*found)
    kept = {field.name: given[field.name] for field in fields(RunOptions) if field.name in given}
    kept["ports"] = ports or CLIENT_MODELS[kept["client"]].ports
    kept["messages"] = None if messages is None else MessageOptions(messages, message_seconds, message_size)
    kept["fail_if"] = tuple(fail_if or ())
    return RunOptions(plan, **kept)


def _plan(given: dict[str, Any], found: list[str]) -> Plan | None:
    """Return the plan, or None and what is wrong with it in `found`."""
    sizes = {name: given[name] for name in ("ips", "each", "connections", "first_port")}
    if opt.problems(sizes):
        return None
    planned = sizes["connections"] or sizes["ips"] * sizes["each"]
    try:
        base_ip = given["base_ip"] or (VETH_BASE_IP if given["link"] == "veth" else BASE_IP)
        return Plan(sizes["ips"], sizes["each"], base_ip, sizes["first_port"], planned)
    except UsageError as error:
        found += error.problems
        return None


def _problems_with_stages(given: dict[str, Any], plan: Plan | None) -> list[str]:
    stages = given["stages"]
    if stages is None or isinstance(stages, opt.Invalid):
        return []
    if given["rate"] is not None:
        return ["--rate and --stages say the same thing in two ways: leave one of them out."]
    if plan is not None and (capacity := Pacer(stages).capacity) < plan.connections:
        brought = f"--stages bring {capacity:,.0f} of {plan.connections:,} connections."
        return [f"{brought} Let the last one last: leave its time out, or add max."]
    return []


def _problems_with_thresholds(given: dict[str, Any]) -> list[str]:
    if not given["fail_if"]:
        return []
    from floodtest.analysis.record import thresholds

    found: list[str] = []
    for text in given["fail_if"]:
        try:
            thresholds.parse(text)
        except UsageError as error:
            found += error.problems
    return found


def _problems_with_ports(given: dict[str, Any]) -> list[str]:
    found = []
    if given["ports"] not in (None, "explicit", "kernel"):
        found.append(f"--ports takes explicit or kernel, not {given['ports']!r}.")
    client = given["client"]
    if given["ports"] == "explicit" and client in CLIENT_MODELS and not CLIENT_MODELS[client].chooses_ports:
        unable = f"--client {client}, which can name a source address but no port"
        found.append(f"--ports explicit is not for {unable}: leave one out.")
    return found


def _problems_with_server(given: dict[str, Any]) -> list[str]:
    found = []
    if given["target"] is None:
        if given["server_pid"] is not None:
            found.append("--server-pid is for a server that was named with --target.")
        if given["allow_public_target"] is not None:
            found.append("--allow-public-target is for a target: name it with --target as well.")
        return found
    try:
        parse_target(given["target"])
    except UsageError as error:
        found += error.problems
    if given["tick"] is not None:
        found.append("--tick is for our own server: leave --target out, or let your server send messages by itself.")
    if given["messages"] is not None:
        found.append("--messages is for our own server: leave --target out.")
    if given["server_model"] != DEFAULT_SERVER_MODEL:
        found.append("--server-model is for our own server: leave --target out.")
    return found


def _problems_with_network(given: dict[str, Any]) -> list[str]:
    network, link = given["network"], given["link"]
    found = []
    for name, value, values in (("network", network, CHOICES), ("link", link, LINKS)):
        if value not in values:
            found.append(f"--{name} takes {', '.join(values[:-1])} or {values[-1]}, not {value!r}.")
    if given["target"] is not None and (network == "isolated" or link == "veth"):
        found.append("--target can't be reached from a network of the run's own: leave it out, or take --network host.")
    if network == "host" and link == "veth":
        found.append("--link veth joins two networks of the run's own: leave --network host out.")
    return found


def _problems_with_veth(given: dict[str, Any], plan: Plan | None) -> list[str]:
    if given["link"] != "veth" or plan is None:
        return []
    first, last = (ipaddress.ip_address(plan.addresses[end]) for end in (0, -1))
    if first.is_loopback or last.is_loopback:
        return [f"--link veth takes a --base-ip that is routed, such as {VETH_BASE_IP}."]
    server = ipaddress.ip_address(VETH_SERVERS[first.version])
    if is_between(server, first, last):
        return [f"--link veth has its server at {server}: choose a --base-ip without it, such as {VETH_BASE_IP}."]
    return []


def _problems_with_messages(given: dict[str, Any]) -> list[str]:
    found = []
    if given["messages"] is None and (given["friends"] or given["db"]):
        found.append("--friends and --db are for --messages: say how many a second.")
    if (given["columns"] or given["renumber"]) and not given["friends"]:
        found.append("--columns and --renumber are for --friends: name the file.")
    if given["friends"] and given["db"]:
        found.append("--friends and --db say the same thing in two ways: leave one of them out.")
    return found
