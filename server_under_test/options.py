"""What `comet serve`, `comet router` and `comet front` can be asked for: each option once, as a field with its parser
and its help.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import choice, option, part, required
from floodtest.server_under_test.bus_options import BusAddress, bus, machine_count, machine_name, private_bus
from floodtest.server_under_test.limits import HistoryBounds, Limits
from floodtest.server_under_test.models import DEFAULT_MODEL, MODELS, Model
from floodtest.wire import options as of_wire
from floodtest.wire.control import TOKEN_VARIABLE
from floodtest.wire.tls.settings import ServerTls

_MODEL_WORDS = ", or ".join(traits.words for traits in MODELS.values())


@dataclass(frozen=True)
class TlsOptions:
    """By what streams are encrypted; without a certificate they are not."""

    cert: Path | None = option(
        None, parsers.path, "FILE", "Certificate in PEM, and its chain: serve https:// and wss://.", "--tls-cert"
    )
    key: Path | None = option(
        None, parsers.path, "FILE", "Its key.  [default: in the file of the certificate]", "--tls-key"
    )
    tickets: int = option(0, parsers.natural, "N", "Sent to each client to come back with, up to 8.", "--tls-tickets")

    @property
    def of_server(self) -> ServerTls | None:
        """What fronts are told; None: streams are in plain text."""
        if self.cert is None:
            return None
        return ServerTls(str(self.cert), None if self.key is None else str(self.key), self.tickets)


MOST_TICKETS = 8
"""Each is a record of some 250 bytes, sent behind every handshake."""


@dataclass(frozen=True)
class StreamOptions:
    """How streams are served on one machine."""

    host: str = option("127.0.0.1", parsers.text, "ADDRESS", "Address to listen on.")
    port: int = option(8000, parsers.port, "PORT", "0: any free one.")
    max_users: int = option(1_100_000, parsers.count, "N", "Ids above this get 503.")
    max_connections: int | None = option(
        None, parsers.count, "N", "How many to have room for.  [default: as max-users]"
    )
    workers: int | None = option(None, parsers.count, "N", "Fronts.  [default: as many as that takes]")
    model: Model = choice(DEFAULT_MODEL, MODELS, f"How connections are held: {_MODEL_WORDS}.")
    allow_origin: str | None = option(
        None, of_wire.origin, "ORIGIN", "Web pages that may read streams; *: all.  [default: our own]"
    )
    retry: float | None = option(
        None, parsers.positive_duration, "SECONDS", "After which EventSources come back.  [default: as they like]"
    )
    tls: TlsOptions = field(default_factory=TlsOptions, metadata=part(TlsOptions))
    limits: Limits = field(default_factory=Limits, metadata=part(Limits))


@dataclass(frozen=True)
class RouterOptions:
    """What routes messages to streams, and how it is controlled."""

    tick: float | None = option(
        None, parsers.positive_duration, "SECONDS", "Send every connection a message this often."
    )
    control_host: str = option("127.0.0.1", parsers.text, "ADDRESS", "Address of the control API.")
    control_port: int = option(8001, parsers.port, "PORT", "0: any free one.")
    token: str | None = option(
        None, of_wire.token, "TEXT", "Every call of the control API has to bring it.", variable=TOKEN_VARIABLE
    )
    db: Path | None = option(None, parsers.path, "DIR", "Subscription store, made by comet load.")


@dataclass(frozen=True)
class Options(RouterOptions, StreamOptions):
    """What `comet serve` was asked for."""

    history: HistoryBounds = field(default_factory=HistoryBounds, metadata=part(HistoryBounds))
    bus: str | None = option(
        None, private_bus, "valkey:", "Go through a Valkey server of its own.  [default: shared memory]"
    )


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(RouterOptions):
    """What `comet router` was asked for."""

    bus: BusAddress = field(metadata=required(bus, "URL", "The Valkey server, such as valkey://10.0.0.1:6379."))
    max_users: int = option(1_100_000, parsers.count, "N", "Ids above this are nobody's.")
    machines: int = option(16, machine_count, "N", "Front machines that there is room for.")


@dataclass(frozen=True, kw_only=True)
class FrontOptions(StreamOptions):
    """What `comet front` was asked for."""

    bus: BusAddress = field(metadata=required(bus, "URL", "The Valkey server, such as valkey://10.0.0.1:6379."))
    machine: str = field(metadata=required(machine_name, "NAME", "What this machine is called, as no other one is."))

    @property
    def served(self) -> Options:
        """What a server with such fronts is asked for."""
        return Options(**{one.name: getattr(self, one.name) for one in fields(StreamOptions)})
