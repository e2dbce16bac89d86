"""The options of a run, which `run`, `plan` and `doctor` share: read, and complained about all at once.

`loadgen.plan.options` declares them. Here is what is checked across several of them: functions over the typed options,
none of which is asked where an option that it looks at could not be read.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.options import options_of
from floodtest.flyweight.errors import UsageError
from floodtest.flyweight.machine.files import need_proc
from floodtest.loadgen.network.wish import VETH_SERVERS
from floodtest.loadgen.plan.choices import BASE_IPS
from floodtest.loadgen.plan.models import CLIENT_MODELS, DEFAULT_SERVER_MODEL
from floodtest.loadgen.plan.options import PlanOptions, RunOptions
from floodtest.loadgen.plan.plan import is_between
from floodtest.loadgen.preflight.targets import parse_target


def _read(line: CommandLine) -> RunOptions:
    """Read and check all options together; what takes them looks at the machine, so that it needs /proc."""
    sizes = line.read(PlanOptions)
    # The plan is a stand-in: where its addresses begin by default depends on the link.
    options = line.read(RunOptions, plan=PlanOptions().plan())
    if not line.has("ports"):
        options = replace(options, ports=CLIENT_MODELS[options.client].ports)
    line.check(_about_ports(options), "ports")
    line.check(_about_servers(options))
    line.check(_about_messages(options), "messages")
    line.check(_about_friends(options))
    line.check(_about_networks(options))
    plan = line.make("plan", lambda: sizes.plan(options.link), *(one.key for one in options_of(PlanOptions)))
    options = replace(options, plan=plan or options.plan)
    line.check(_about_stages(options))
    line.check(_about_capacity(options), "plan")
    line.check(_about_links(options), "plan")
    line.check(_about_thresholds(options))
    line.end()
    need_proc()
    return options


takes_run_options = takes(RunOptions, _read)
"""Let a command take all options of a run, and get them as its first argument."""


def _about_ports(options: RunOptions) -> Iterator[str]:
    if options.ports == "explicit" and not CLIENT_MODELS[options.client].chooses_ports:
        unable = f"--client {options.client}, which can name a source address but no port"
        yield f"--ports explicit is not for {unable}: leave one out."


def _about_servers(options: RunOptions) -> Iterator[str]:
    if options.target is None:
        if options.server_pid is not None:
            yield "--server-pid is for a server that was named with --target."
        if options.allow_public_target is not None:
            yield "--allow-public-target is for a target: name it with --target as well."
        return
    try:
        parse_target(options.target)
    except UsageError as error:
        yield from error.problems
    if options.tick is not None:
        yield "--tick is for our own server: leave --target out, or let your server send messages by itself."
    if options.messages is not None:
        yield "--messages is for our own server: leave --target out."
    if options.server_model != DEFAULT_SERVER_MODEL:
        yield "--server-model is for our own server: leave --target out."


def _about_messages(options: RunOptions) -> Iterator[str]:
    if options.messages is None and (options.friends or options.db):
        yield "--friends and --db are for --messages: say how many a second."


def _about_friends(options: RunOptions) -> Iterator[str]:
    if (options.columns or options.renumber) and not options.friends:
        yield "--columns and --renumber are for --friends: name the file."
    if options.friends and options.db:
        yield "--friends and --db say the same thing in two ways: leave one of them out."


def _about_networks(options: RunOptions) -> Iterator[str]:
    if options.target is not None and (options.network == "isolated" or options.link == "veth"):
        yield "--target can't be reached from a network of the run's own: leave it out, or take --network host."
    if options.network == "host" and options.link == "veth":
        yield "--link veth joins two networks of the run's own: leave --network host out."


def _about_stages(options: RunOptions) -> Iterator[str]:
    if options.stages is not None and options.rate is not None:
        yield "--rate and --stages say the same thing in two ways: leave one of them out."


def _about_capacity(options: RunOptions) -> Iterator[str]:
    if options.stages is not None and options.rate is None:
        capacity, connections = options.pacer.capacity, options.plan.connections
        if capacity < connections:
            brought = f"--stages bring {capacity:,.0f} of {connections:,} connections."
            yield f"{brought} Let the last one last: leave its time out, or add max."


def _about_links(options: RunOptions) -> Iterator[str]:
    if options.link != "veth":
        return
    first, last = (ipaddress.ip_address(options.plan.addresses[end]) for end in (0, -1))
    server = ipaddress.ip_address(VETH_SERVERS[first.version])
    if first.is_loopback or last.is_loopback:
        yield f"--link veth takes a --base-ip that is routed, such as {BASE_IPS['veth']}."
    elif is_between(server, first, last):
        yield f"--link veth has its server at {server}: choose a --base-ip without it, such as {BASE_IPS['veth']}."


def _about_thresholds(options: RunOptions) -> Iterator[str]:
    if not options.fail_if:
        return
    from floodtest.analysis.record import thresholds

    for text in options.fail_if:
        try:
            thresholds.parse(text)
        except UsageError as error:
            yield from error.problems
