"""`floodtest net`: the command line. Parses, calls one function, prints."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.command_line import takes
from floodtest.flyweight.command.options import option, required
from floodtest.flyweight.command.run import print_json
from floodtest.loadgen.network.wish import LOOPBACK_DEVICE

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def net() -> None:
    """Source addresses for runs in the host's network, beyond those of loopback: bring up, take down, show."""


@dataclass(frozen=True)
class AddressOptions:
    """Source addresses, and the device that gets them."""

    base_ip: str = field(metadata=required(parsers.text, "ADDRESS", "First address, IPv4 or IPv6."))
    ips: int = option(17, parsers.count, "N", "Addresses.")
    dev: str = option(LOOPBACK_DEVICE, parsers.text, "DEVICE", "Where they go.")


@app.command("up")
@takes(AddressOptions)
def up(options: AddressOptions) -> None:
    """Add addresses to a device, as root. Those that are there from before are left as they are."""
    from floodtest.loadgen.network.addresses import bring_up, consecutive

    change = bring_up(consecutive(options.base_ip, options.ips), options.dev)
    count = len(change.unchanged)
    before = f"; {count:,} {'was' if count == 1 else 'were'} before" if count else ""
    print(f"{_count(change.changed)} brought up on {options.dev}{before}. Undo: floodtest net down.")


@app.command("down")
def down(dev: Annotated[str | None, typer.Option(metavar="DEVICE", help="Only there.")] = None) -> None:
    """Remove the addresses that `floodtest net up` has added, and no others; as root."""
    from floodtest.loadgen.network.addresses import take_down

    print(f"{_count(take_down(dev))} taken down.")


@app.command("show")
def show(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the addresses that `floodtest net up` has added."""
    from floodtest.loadgen.network.addresses import ours

    found = ours()
    if as_json:
        print_json([{key: value for key, value in asdict(one).items() if key != "ours"} for one in found])
        return
    for one in found:
        print(f"{one.address}/{one.prefix} on {one.device}")
    if not found:
        print("None. Add some: floodtest net up --base-ip 10.0.0.1")


def _count(found: Sequence[object]) -> str:
    return f"{len(found):,} address{' was' if len(found) == 1 else 'es were'}"
