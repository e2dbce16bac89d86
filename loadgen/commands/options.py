"""The options of a run, which `run`, `plan` and `doctor` share: read, and complained about all at once.

`loadgen.plan.options` declares them, and `loadgen.plan.rules` checks across them; here are the checks that take what
lies above the plan. None of them is asked where an option that it looks at could not be read.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.options import options_of
from floodtest.flyweight.machine.files import need_proc
from floodtest.loadgen.network.wish import VETH_SERVERS
from floodtest.loadgen.plan.choices import BASE_IPS
from floodtest.loadgen.plan.models import CLIENT_MODELS
from floodtest.loadgen.plan.options import PlanOptions, RunOptions
from floodtest.loadgen.plan.plan import is_between
from floodtest.loadgen.plan.rules import RULES


def _read(line: CommandLine) -> RunOptions:
    """Read and check all options together; what takes them looks at the machine, so that it needs /proc."""
    sizes = line.read(PlanOptions)
    # The plan is a stand-in: where its addresses begin by default depends on the link.
    options = line.read(RunOptions, plan=PlanOptions().plan())
    if not line.has("ports"):
        options = replace(options, ports="kernel" if options.is_to_socket else CLIENT_MODELS[options.client].ports)
    keys = [one.key for one in options_of(PlanOptions)]
    plan = line.make("plan", lambda: sizes.plan(options.link, options.is_to_socket), *keys)
    options = replace(options, plan=plan or options.plan)
    for rule in RULES:
        line.check(rule.problems(options), *rule.looks_at)
    line.check(_about_links(options), "plan")
    line.end()
    need_proc()
    return options


takes_run_options = takes(RunOptions, _read)
"""Let a command take all options of a run, and get them as its first argument."""


def _about_links(options: RunOptions) -> Iterator[str]:
    if options.link != "veth":
        return
    first, last = (ipaddress.ip_address(options.plan.addresses[end]) for end in (0, -1))
    server = ipaddress.ip_address(VETH_SERVERS[first.version])
    if first.is_loopback or last.is_loopback:
        yield f"--link veth takes a --base-ip that is routed, such as {BASE_IPS['veth']}."
    elif is_between(server, first, last):
        yield f"--link veth has its server at {server}: choose a --base-ip without it, such as {BASE_IPS['veth']}."
