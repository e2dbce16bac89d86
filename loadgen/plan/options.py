"""What `floodtest run` was asked for, checked. Pure."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, Reserve
from floodtest.loadgen.plan.choices import Choice, Link, Ports
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL, ClientModel, ServerModel
from floodtest.loadgen.plan.pacer import Pacer, Stage, steady
from floodtest.loadgen.plan.plan import Plan


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
    client: ClientModel = DEFAULT_CLIENT_MODEL
    server_model: ServerModel = DEFAULT_SERVER_MODEL
    """Of the bundled server."""
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
