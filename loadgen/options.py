"""What `floodtest run` was asked for, checked; and what that asks of the machine."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from flyweight.room import DEFAULT_RESERVE, Reserve
from loadgen.crew import ClientModel
from loadgen.host.demand import Demand
from loadgen.host.network import HOST, Choice, Link, Network
from loadgen.host.targets import Target, is_here
from loadgen.messages import MessageOptions
from loadgen.opening import Ports
from loadgen.pacer import Pacer, Stage, steady
from loadgen.plan import Plan


@dataclass(frozen=True)
class RunOptions:
    """In seconds and counts; `target` None is the bundled server."""

    plan: Plan
    target: str | None = None
    rate: float | None = None
    stages: tuple[Stage, ...] | None = None
    """Instead of a rate."""
    in_flight: int = 1024
    connect_timeout: float = 10.0
    hold: float = 10.0
    tick: float | None = None
    ports: Ports = "explicit"
    interval: float = 1.0
    out: Path = Path("runs")
    server_pid: int | None = None
    messages: MessageOptions | None = None
    friends: Path | None = None
    """A file of pairs, for the bundled server."""
    columns: tuple[str, str] | None = None
    """Those of its columns that are the pair, by name or number."""
    renumber: bool = False
    """Number its users anew."""
    db: Path | None = None
    """A store of subscriptions, instead."""
    client: ClientModel = "columns"
    server_model: str = "columns"
    """Of the bundled server, as `comet serve --model` has it."""
    allow_public_target: str | None = None
    network: Choice = "auto"
    link: Link = "loopback"
    reserve: Reserve = field(default=DEFAULT_RESERVE)
    fail_if: tuple[str, ...] = ()
    """Conditions under which the run falls short (see `analysis.record.thresholds`)."""

    @property
    def pacer(self) -> Pacer:
        return steady(self.rate) if self.stages is None else Pacer(self.stages)

    def recorded(self) -> dict[str, Any]:
        """Return what a run record keeps of them, as JSON has it."""
        found: dict[str, Any] = msgspec.to_builtins(asdict(self), enc_hook=str)
        return found

    def demand(self, target: Target | None, network: Network = HOST, server_files: int | None = None) -> Demand:
        """Return what the run asks of the machine."""
        return Demand(
            plan=self.plan,
            bundled=target is None,
            server_here=target is None or is_here(target),
            hash_entries=network.all_hash_entries,
            isolated=network.is_isolated,
            explicit_ports=self.ports == "explicit",
            in_flight=self.in_flight,
            pacer=self.pacer,
            traffic=self.tick is not None or self.messages is not None,
            client_model=self.client,
            server_model=self.server_model,
            server_files=server_files,
        )
