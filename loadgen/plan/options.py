"""What `floodtest run` can be asked for: each option once, as a field with its parser and its help. Pure.

`loadgen.commands.options` reads a command line into these; a program makes `RunOptions` itself. `loadgen.plan.rules`
checks across them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import choice, flag, option, part, repeatable
from floodtest.flyweight.command.parsers import Parser
from floodtest.flyweight.errors import UsageError
from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, Reserve
from floodtest.loadgen.plan.choices import (
    ADDRESSES,
    BASE_IPS,
    CHOICES,
    LINKS,
    PORTS,
    Addresses,
    Choice,
    Link,
    Ports,
)
from floodtest.loadgen.plan.cluster import ClusterOptions
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import (
    CLIENT_MODELS,
    DEFAULT_CLIENT_MODEL,
    DEFAULT_SERVER_MODEL,
    SERVER_MODELS,
    ClientModel,
    ServerModel,
)
from floodtest.loadgen.plan.pacer import Pacer, Stage, parse_stages, steady
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.request import hidden, is_unix, without_credentials
from floodtest.loadgen.plan.tls import TlsOptions
from floodtest.wire import options as of_wire
from floodtest.wire.control import TOKEN_VARIABLE
from floodtest.wire.names import DEFAULT_PROTOCOL, LONGPOLL, OF_SCHEMES, OWN_PROTOCOL, PROTOCOLS, TLS_SCHEMES
from floodtest.wire.poll_options import Polling
from floodtest.wire.times import MAX_SEARCHED
from floodtest.wire.tls.settings import ClientTls

_PROTOCOL_WORDS = ", ".join(PROTOCOLS.values())
_CLIENT_WORDS = ", or ".join(traits.words for traits in CLIENT_MODELS.values())
_SERVER_WORDS = ", or ".join(traits.words for traits in SERVER_MODELS.values())
_WITHOUT_PORTS = " or ".join(f"--client {name}" for name, traits in CLIENT_MODELS.items() if not traits.chooses_ports)

DEFAULT_METHOD = "GET"

DEFAULT_HELD = 1.0
"""Seconds in which a server that works refuses a poll, if it does: what it holds longer it has taken."""

DEFAULT_POLL_PAUSE = 1.0
"""Seconds; servers that hold polls do so for longer."""

STAGES = Parser(parse_stages, "stages such as 1000/s:30s,5000/s:60s,max")

DEFAULT_IPS = 17
DEFAULT_EACH = 62_000
"""More than a million connections with as many addresses, and some ports of each left over."""

FIRST_PORT = 1024

DEFAULT_CONNECTIONS = 10_000
"""What one opens to try something: done in seconds, with a few hundred megabytes."""


@dataclass(frozen=True)
class PlanOptions:
    """Source addresses and connections, of which a plan is made."""

    ips: int | None = option(None, parsers.count, "N", f"Source addresses.  [default: {DEFAULT_IPS}]")
    each: int | None = option(None, parsers.count, "N", f"Connections from each address.  [default: {DEFAULT_EACH}]")
    connections: int | None = option(
        None,
        parsers.count,
        "N",
        f"Connections in all.  [default: ips x each where one of them is given, {DEFAULT_CONNECTIONS} otherwise]",
    )
    base_ip: str | None = option(
        None,
        parsers.text,
        "ADDRESS",
        f"First source address.  [default: {BASE_IPS['loopback']}; with veth {BASE_IPS['veth']}]",
    )
    first_port: int = option(FIRST_PORT, parsers.port, "PORT", "First source port of each address.")
    first_user: int = option(1, parsers.count, "N", "Number of the first user; the others count upward from it.")

    def plan(self, link: Link = "loopback", is_anonymous: bool = False) -> Plan:
        """Return the plan, or that for a Unix socket; UsageError names everything that is wrong with it."""
        if is_anonymous:
            if (self.ips, self.each, self.base_ip, self.first_port) != (None, None, None, FIRST_PORT):
                raise UsageError(
                    "--ips, --each, --base-ip and --first-port are not for a Unix socket, whose connections have no "
                    "address and no port: say --connections."
                )
            return Plan.anonymous(self.connections or DEFAULT_CONNECTIONS, self.first_user)
        ips, each = self.ips or DEFAULT_IPS, self.each or DEFAULT_EACH
        asked = DEFAULT_CONNECTIONS if self.ips is None and self.each is None else ips * each
        base_ip = self.base_ip or BASE_IPS[link]
        return Plan(ips, each, base_ip, self.first_port, self.connections or asked, self.first_user)


@dataclass(frozen=True)
class RunOptions:
    """In seconds and counts; `target` None is the bundled server."""

    plan: Plan = field(metadata=part(PlanOptions))
    target: str | None = option(
        None,
        parsers.text,
        "URL",
        "http://HOST:PORT/PATH or ws://…, with {user} for the user; tcp://HOST:PORT without HTTP; for HOST:PORT also "
        "unix:/SOCKET: with a colon behind it.  [default: a server of our own]",
    )
    headers: tuple[str, ...] = repeatable(
        of_wire.header,
        "'NAME: VALUE'",
        "A header of each request, instead of ours of its name. Repeatable.",
        "--header",
    )
    method: str = option(DEFAULT_METHOD, of_wire.method, "METHOD", "Of each request.")
    body: str | None = option(None, parsers.text, "TEXT|@FILE", "Of each request: a text, or what is in a file.")
    send: str | None = option(
        None, parsers.text, "TEXT|@FILE", "What each WebSocket or raw stream sends first, such as a subscription."
    )
    users: Path | None = option(
        None, parsers.path, "FILE", "A row for each user: csv, ndjson or parquet. Its columns are placeholders."
    )
    tls: TlsOptions = field(default=TlsOptions(), metadata=part(TlsOptions))
    address: Addresses = choice(
        "all",
        ADDRESSES,
        "Of a target's name that has several addresses: connect to all of them in turn, or to the first.",
    )
    ring: str | None = option(
        None,
        parsers.text,
        "SERVERS",
        "Connect each user to its own of these servers by ketama, not to the target's host: a file, HOST:PORT and "
        "memory a line; or HOST:PORT,…",
    )
    protocol: str = choice(
        DEFAULT_PROTOCOL,
        PROTOCOLS,
        f"How messages come: {_PROTOCOL_WORDS}.  [default: auto; our server: {OWN_PROTOCOL}]",
    )
    open_when: str | None = option(
        None,
        of_wire.open_when,
        "CONDITION",
        "What opens a connection: head, held, first, id, text:TEXT or regex:PATTERN.  "
        "[default: head; of longpoll: held; our server: id]",
    )
    held: float = option(
        DEFAULT_HELD, parsers.positive_duration, "SECONDS", "A first poll unanswered for so long is held, and open."
    )
    cursor: str | None = option(
        None,
        of_wire.cursor,
        "REGEX",
        "Its group is looked for in each answer to a poll, and goes where {cursor} stands in the next one.  "
        "[default: ETag and Last-Modified]",
    )
    first_cursor: str = option("", parsers.text, "TEXT", "What stands for {cursor} in first polls.")
    poll_pause: float = option(
        DEFAULT_POLL_PAUSE,
        parsers.duration,
        "SECONDS",
        "Before the next poll, where an answer without a message came sooner than this.",
    )
    latency: str | None = option(
        None,
        of_wire.times,
        "REGEX",
        f"What finds in the first {MAX_SEARCHED:,} bytes of each message when the server sent it: one group is named "
        "s, ms, us, ns (since 1970) or iso. Each message costs a search.",
    )
    clock_offset: float | None = option(
        None,
        of_wire.offset,
        "SECONDS",
        "By how much the clock in the messages is ahead of this machine's.  [default: 0 of a server on it]",
    )
    rate: float | None = option(None, parsers.rate, "N", "Connections a second, by the clock.  [default: no limit]")
    stages: tuple[Stage, ...] | None = option(
        None, STAGES, "RATE:TIME,…", "Instead of --rate: 1000/s:30s,5000/s:60s,max; the last may have no time."
    )
    in_flight: int = option(1024, parsers.count, "N", "Connections begun and not yet open, at the most.")
    connect_timeout: float = option(10.0, parsers.positive_duration, "SECONDS", "From connect until it is open.")
    hold: float = option(10.0, parsers.duration, "SECONDS", "How long to hold the connections.")
    tick: float | None = option(
        None,
        parsers.positive_duration,
        "SECONDS",
        "In the hold, our server sends every connection a message this often.",
    )
    ports: Ports = choice(
        "explicit", PORTS, f"Who chooses source ports.  [default: explicit; kernel with {_WITHOUT_PORTS}]"
    )
    interval: float = option(1.0, parsers.positive_duration, "SECONDS", "Between two samples.")
    out: Path = option(Path("runs"), parsers.path, "FOLDER", "Where run records go.")
    name: str | None = option(
        None, parsers.name, "NAME", "Of the record, with a number behind it.  [default: the time at which it begins]"
    )
    client: ClientModel = choice(DEFAULT_CLIENT_MODEL, CLIENT_MODELS, f"{_CLIENT_WORDS.capitalize()}.")
    server_model: ServerModel = choice(DEFAULT_SERVER_MODEL, SERVER_MODELS, f"Our server: {_SERVER_WORDS}.")
    control: str | None = option(
        None,
        parsers.text,
        "URL",
        "The control API of the comet serve at --target, such as http://HOST:8001, which takes --tick and --messages.",
    )
    token: str | None = option(None, of_wire.token, "TEXT", "What that server was given.", variable=TOKEN_VARIABLE)
    server_pid: int | None = option(
        None, parsers.count, "PID", "Measure this process and its children.  [default: who listens at the target]"
    )
    messages: MessageOptions | None = field(default=None, metadata=part(MessageOptions))
    friends: Path | None = option(None, parsers.path, "FILE", "Who gets messages about whom: a file of pairs.")
    columns: tuple[str, str] | None = option(
        None, parsers.columns, "A,B", "The pair's columns in it, by name or number."
    )
    renumber: bool = flag("Take ids from 0 in it, or beyond a user's, and number users anew from 1.")
    db: Path | None = option(
        None, parsers.path, "DIR", "Who gets messages about whom: a store of comet load, which must exist."
    )
    cluster: ClusterOptions = field(default=ClusterOptions(), metadata=part(ClusterOptions))
    allow_public_target: str | None = option(
        None, parsers.text, "HOST", "The target again, if it is a public address: it is yours to load."
    )
    network: Choice = choice("auto", CHOICES, "Run in the host's network, or in one that ends with the run.")
    link: Link = choice("loopback", LINKS, "What joins client and server in a network of their own.")
    reserve: Reserve = option(
        DEFAULT_RESERVE,
        parsers.reserve,
        "SHARE|SIZE",
        "Memory to leave free, such as 10% (512 MiB at the least) or 2GiB.",
    )
    fail_if: tuple[str, ...] = repeatable(
        parsers.text, "CONDITION", "Such as 'latency.p99 > 50ms'. The run then falls short. Repeatable."
    )
    """See `analysis.record.thresholds`."""

    @property
    def pacer(self) -> Pacer:
        return steady(self.rate) if self.stages is None else Pacer(self.stages)

    @property
    def spoken(self) -> str:
        """The protocol's name among those that a client opens; our own server has a path for each."""
        if self.protocol != DEFAULT_PROTOCOL:
            return self.protocol
        if self.target is None:
            return OWN_PROTOCOL
        return OF_SCHEMES.get(self.scheme, DEFAULT_PROTOCOL)

    @property
    def scheme(self) -> str:
        """The target's scheme, in small letters; empty where there is no target."""
        return (self.target or "").partition(":")[0].lower()

    @property
    def speaks_tls(self) -> bool:
        return self.tls.is_asked or self.scheme in TLS_SCHEMES

    @property
    def tls_of_publishing(self) -> ClientTls | None:
        """How TLS is spoken with the API of --publish; None where that is none of https.

        --server-name is the target's, and holds for the API where that has the same host.
        """
        url = None if self.messages is None or self.messages.publish is None else self.messages.publish[1]
        if url is None or not url.startswith("https:"):
            return None
        host = _host_of(url)
        tls = self.tls if host == _host_of(self.target or "") else replace(self.tls, server_name=None)
        return tls.settings(host, is_http=True)

    @property
    def is_to_socket(self) -> bool:
        """Whether the target is a Unix socket."""
        return self.target is not None and is_unix(self.target)

    @property
    def is_ours(self) -> bool:
        """Whether the server is a comet serve that takes ticks and messages of the run: bundled, or controlled."""
        return self.target is None or self.control is not None

    @property
    def opens_when(self) -> str:
        """What opens a connection: our own server's welcome names its user, of another one the head is enough, and a
        poll need not be answered.
        """
        others = "held" if self.spoken == LONGPOLL else "head"
        return self.open_when or ("id" if self.is_ours else others)

    @property
    def polling(self) -> Polling | None:
        """How connections poll; None: they do not."""
        if self.spoken != LONGPOLL:
            return None
        return Polling(self.held, self.poll_pause, self.cursor, self.first_cursor)

    @property
    def hidden(self) -> Mapping[str, str]:
        """Return the texts among them that hold secrets, each with what may be shown in its place."""
        messages = self.messages
        if messages is None:
            return hidden(self.target, self.headers, self.body, self.send, self.token)
        found = hidden(
            self.target,
            (*self.headers, *messages.publish_header),
            self.body,
            self.send,
            self.token,
            messages.publish_body,
        )
        if messages.publish is not None:
            method, url = messages.publish
            shown = without_credentials(url)
            found = {**found, url: shown, f"{method} {url}": f"{method} {shown}"}
        return found

    @property
    def shown_target(self) -> str | None:
        """Return the target without user and password."""
        return None if self.target is None else self.hidden.get(self.target, self.target)

    def recorded(self) -> dict[str, Any]:
        """Return what a run record keeps of them, as JSON has it; secrets are left out."""
        found: dict[str, Any] = _shown(msgspec.to_builtins(asdict(self), enc_hook=str), self.hidden)
        return found


def _shown(value: Any, secrets: Mapping[str, str]) -> Any:
    """Return values of JSON with what is shown in place of each text that is a secret."""
    if isinstance(value, dict):
        return {name: _shown(one, secrets) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one, secrets) for one in value]
    return secrets.get(value, value) if isinstance(value, str) else value


def _host_of(url: str) -> str:
    """Return the host that a URL names; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets that do not match, say
        return ""
