"""What the subcommands of `comet` besides `serve` can be asked for: each option once, as a field.

Commands with options in common are classes with a base in common.
"""

from dataclasses import dataclass, field
from pathlib import Path

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import argument, arguments, flag, option, required
from floodtest.wire import options as of_wire
from floodtest.wire.control import TOKEN_VARIABLE

_SUBJECT = argument(parsers.text, "SUBJECT", "A user's id, or a name such as photo:789.")


@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """Which server is called."""

    control: str = option("http://127.0.0.1:8001", parsers.text, "URL", "The control API of the server.")
    token: str | None = option(None, of_wire.token, "TEXT", "What the server was given.", variable=TOKEN_VARIABLE)


@dataclass(frozen=True, kw_only=True)
class PublishOptions(ControlOptions):
    """One message."""

    subject: str = field(metadata=_SUBJECT)
    message: str = field(metadata=argument(parsers.text, "MESSAGE", "Up to 64 KiB of text."))


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions(ControlOptions):
    """Messages about random users, by generators or at a rate, for a time."""

    users: int = option(1_000_000, parsers.count, "N", "Messages are about the ids from 1 to N.")
    producers: int = option(1000, parsers.count, "N", "Generators, as in 2008.")
    interval: float = option(0.06, parsers.positive_duration, "SECONDS", "Mean pause of a generator.  [default: 60ms]")
    rate: float | None = option(None, parsers.rate, "N/s", "Messages a second, evenly, instead of generators.")
    seconds: float = option(60.0, parsers.positive_duration, "SECONDS", "How long.  [default: 60s]")
    size: int = option(100, of_wire.message_size, "BYTES", "Of a message's text.")
    seed: int | None = option(None, parsers.natural, "N", "Makes a run of it repeatable: equal seeds, equal subjects.")
    as_json: bool = flag("One JSON object on stdout at the end.", "--json")


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Which store of subscriptions."""

    db: Path = field(metadata=required(parsers.path, "DIR", "The subscription store."))


@dataclass(frozen=True, kw_only=True)
class SubjectOptions(StoreOptions):
    """A subject of a store."""

    subject: str = field(metadata=_SUBJECT)


@dataclass(frozen=True, kw_only=True)
class SubscriptionOptions(StoreOptions):
    """One subscription of a store."""

    subscriber: str = field(metadata=argument(parsers.text, "SUBSCRIBER", "A user's id."))
    subject: str = field(metadata=_SUBJECT)


@dataclass(frozen=True, kw_only=True)
class ReachOptions(StoreOptions):
    """A store, and the ids that its server serves."""

    max_users: int | None = option(None, parsers.count, "N", "The server's: say how many users have ids above it.")


@dataclass(frozen=True, kw_only=True)
class CountOptions(ReachOptions):
    """How the contents of a store are shown."""

    as_json: bool = flag("One JSON object on stdout.", "--json")


@dataclass(frozen=True, kw_only=True)
class LoadOptions(ReachOptions):
    """A file of pairs, and how it goes into a store."""

    friends: Path = field(
        metadata=argument(parsers.path, "FRIENDS", "A file of pairs: a line 'A B' subscribes A to B.")
    )
    columns: tuple[str, str] | None = option(None, parsers.columns, "A,B", "The pair's columns, by name or number.")
    mutual: bool = flag("Subscribe B to A as well.")
    renumber: bool = flag("Take ids from 0, or beyond a user's, and number users anew from 1.")
    ids: Path | None = option(
        None, parsers.path, "FILE", "Where their ids go, a .csv or .npy.  [default: FRIENDS.ids.csv]"
    )
    force: bool = flag("Replace a file of ids that exists.")
    as_json: bool = flag("One JSON object on stdout, the rest on stderr.", "--json")


@dataclass(frozen=True, kw_only=True)
class RingOptions:
    """Servers, and what is asked about them."""

    servers: str = field(
        metadata=argument(parsers.text, "SERVERS", "A file, a server and its memory a line; or NAME,NAME,…")
    )
    keys: tuple[str, ...] = arguments(parsers.text, "KEY", "A user's id, or any other text.")
    driver: bool = flag("Answer keys on stdin, each behind a byte with its length, as 2008's driver did.")
