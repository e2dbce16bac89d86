"""The summary of a run: the numbers that `--json` prints, run.json keeps and a person is shown. Types only."""

from typing import Literal

import msgspec

Outcome = Literal["ok", "shortfall", "refused", "interrupted"]


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the planned users, by the latest connection of each, and of all connections that they had.

    planned = opened + failed + not_reached, where each user had one connection at the most; opened counts closed_early.
    """

    planned: int
    opened: int
    peak_open: int
    closed_early: int
    not_reached: int
    failed: dict[str, int]
    closed_by: dict[str, int]
    replaced_ports: int
    attempts: int | None = None
    """Connections that were begun, all of each user: opens, failed ones, and those in flight at the end."""
    opens: int | None = None
    """How many of them became open; `closed_by` says which of these closed early. Both None: a record from before."""


class Ramp(msgspec.Struct, frozen=True):
    """How long opening took, in seconds from the first connection to the last that was settled."""

    seconds: float
    per_second: float


class Models(msgspec.Struct, frozen=True):
    """How each end held its connections: `columns`, or the conventional way it is compared with."""

    client: str = "columns"
    server: str | None = "columns"
    """None: the server is not ours."""


class Workers(msgspec.Struct, frozen=True):
    """Worker processes at each end (server None: not ours), and the file limit of each."""

    client: int
    server: int | None
    files_limit: int


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one more connection costs an end, bytes; None for what the samples do not tell."""

    one_more: float | None
    """The slope, or the growth where both disagree."""
    low: float | None
    high: float | None
    """The ends of its 95% interval; None where it has none."""
    slope: float | None
    """Of the fit against open connections."""
    growth: float | None
    """From before the ramp to its end, over the connections, less what workers of ours took as they began."""
    doubt: str | None
    """What is to be held against the figure, and what to do."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes a connection, at the end of the ramp; None where it could not be measured."""

    server_user_bytes_per_connection: float | None
    client_user_bytes_per_connection: float | None
    kernel_bytes_per_connection: float | None
    kernel_source: str
    server_fixed_bytes: int | None = None
    client_fixed_bytes: int | None = None
    server_marginal_bytes_per_connection: float | None
    client_marginal_bytes_per_connection: float | None
    """What one more costs: `server.one_more` and `client.one_more`."""
    available_bytes_per_connection: float | None
    server: Cost | None = None
    client: Cost | None = None
    kernel: Cost | None = None
    """None: a record from before these fields."""
    measured_bytes: int | None = None
    """User memory of both ends and what the kernel's has grown by, together; without a server that is not ours."""
    predicted_bytes: int | None = None
    """What `measured_bytes` was predicted to be, with all planned connections open."""


class Tick(msgspec.Struct, frozen=True):
    """One message to every connection: `sent` (None: not our server), `received`, seconds from first to last."""

    number: int
    sent: int | None
    received: int
    seconds: float
    per_second: float | None


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds that so many of the messages did not exceed; each is off by under 0.8%."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


class Percentiles(msgspec.Struct, frozen=True):
    """Durations that so many of the connections did not exceed; each is off by under 3.2%."""

    p50: float
    p90: float
    p99: float
    max: float


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds from when a connection was begun; None: it was not measured, or none got so far."""

    connect_ms: Percentiles | None
    first_byte_ms: Percentiles | None
    """Until the first byte of its answer was read."""
    open_ms: Percentiles | None
    tls_ms: Percentiles | None = None
    """Until its handshake of TLS was over."""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What connections over TLS have done, and what their handshakes cost the client."""

    handshakes: int
    """Those that were completed."""
    to_resume: int = 0
    """Handshakes that were begun and belong to the share of --tls-resume; 0 in records from before this field, too."""
    resumed: int
    """Of those that were completed, with a session from before."""
    ciphers: dict[str, int]
    """Of these, by what they agreed on: suites of TLS 1.3, or `other`."""
    kept: int
    """Connections of TLS 1.2, which keep an object of 15 to 35 KiB each."""
    cpu_seconds: float
    """Of the client, for handshakes."""
    tickets: int
    """That servers sent; of those of a connection that keeps its object, one that is to be taken up."""
    key_updates: int
    """Of servers."""
    is_verified: bool
    """Whether certificates of servers were verified; not with --insecure."""

    @property
    def cpu_ms(self) -> float | None:
        """Of the client, for a handshake; None where that is not known, as with the client httpx."""
        return 1000 * self.cpu_seconds / self.handshakes if self.handshakes and self.cpu_seconds else None

    @property
    def resumed_in_words(self) -> str:
        """How many were resumed, of those that were to be where the record says that."""
        return f"{self.resumed:,} of {self.to_resume:,}" if self.to_resume else f"{self.resumed:,}"


class ServerTls(msgspec.Struct, frozen=True, kw_only=True):
    """What our own server's connections over TLS have done, and what their handshakes cost it."""

    handshakes: int
    """Those that were completed."""
    resumed: int
    """Of these, with a session from before."""
    kept: int
    """Of these, in TLS 1.2, whose connections keep an object each."""
    cpu_seconds: float | None
    """Of the server, for handshakes; None: its model does not tell."""
    tickets: int
    """That it sent."""
    key_updates: int
    """Of clients."""
    late: int
    """Handshakes that were given up, as they took too long."""
    ends: dict[str, int]
    """Handshakes that failed, and connections that ended otherwise than in order, by cause."""

    @property
    def cpu_ms(self) -> float | None:
        """Of the server, for a handshake; None where that is not known."""
        return 1000 * self.cpu_seconds / self.handshakes if self.handshakes and self.cpu_seconds is not None else None


class Lifetimes(msgspec.Struct, frozen=True):
    """Of connections that were open and ended by themselves: for how long, and since when they had got nothing."""

    ended: int
    life_seconds: Percentiles
    quiet_seconds: Percentiles
    note: str | None
    """Where most of them bunch at one duration: at which, and what that may mean."""


class CauseInWords(msgspec.Struct, frozen=True):
    """A name of `connections.failed` or `.closed_by`, in words."""

    name: str
    count: int
    what: str
    remedy: str
    answer: str | None = None
    """The beginning of an answer that ended so."""
    note: str | None = None
    """The header that says more about it: Location of a redirect, WWW-Authenticate of a 401."""


class Messages(msgspec.Struct, frozen=True, kw_only=True):
    """Messages about users, sent to all who are connected and subscribed: expected = received - duplicated + lost."""

    planned: int
    published: int
    expected: int
    """Deliveries, by the router's count when it sent them on their way."""
    received: int
    lost: int
    duplicated: int
    misdelivered: int = 0
    """Deliveries to another user than the one whom a message was for; they are not among those received."""
    undeliverable: int
    """Of those lost, how many had nobody to go to any more when their front was to write them."""
    late: int | None
    """Messages published over 100 ms after their planned time; None: the generator could not say."""
    most_behind_seconds: float | None
    """The longest that one was published after its planned time."""
    seconds: float
    """From the first delivery read to the last."""
    per_second: float | None
    latency_ms: Latency | None
    """From the planned time to the read."""
    uncorrected_latency_ms: Latency | None
    """From the time it was published, which forgives what held it up before."""
    negative: int = 0
    """Deliveries that were read before they were planned, as two clocks say; they are not in the latency."""
    most_negative_ms: float | None = None
    """By how much they were, at the most; None: there are none."""


class ServerTimes(msgspec.Struct, frozen=True, kw_only=True):
    """What the times say that the server writes into its messages (--latency). All messages received are one of:
    with a time that gives a latency, `ahead`, `old`, `unreadable` or `without`.
    """

    timed: int
    """With a time that gives a latency."""
    ahead: int
    """Sent after they were read, as they say: the clock, or the unit of the pattern, is another than was thought."""
    old: int
    """Sent so long ago, as they say, that it is no latency: over 71 minutes."""
    unreadable: int
    """What the pattern found is no time."""
    without: int
    """The pattern found nothing."""
    clock_offset_seconds: float
    """By which the clock in the messages was taken to be ahead of this machine's."""
    latency_ms: Latency | None
    """From the time in the message to the read."""


class ClientShare(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the latency is this client's own waiting: of a sample of connections the kernel said when messages
    arrived, however late they were read. What a message took to be read is the run's latency; what it took to arrive is
    that without the client.
    """

    sampled_connections: int
    """Those on which the kernel said it."""
    sampled_messages: int
    """Of these connections, with a latency and a known arrival."""
    shared: int
    """Further messages of these connections, left out since something later was read together with them: the kernel
    says when the last of a read arrived. They had waited longer, so the client's own is more than it seems."""
    read_ms: Latency | None
    """To the read: the sample's part of the run's latency. None: no arrival is known."""
    arrival_ms: Latency | None
    """To the arrival of these messages in this machine's kernel."""
    note: str | None = None
    """Why no arrival is known: a part of a sentence."""


class Cpu(msgspec.Struct, frozen=True):
    """Share of one core that each end used while it held connections and sent no ticks; None: not measured."""

    server_idle_share: float | None
    client_idle_share: float | None


class Threshold(msgspec.Struct, frozen=True):
    """A condition of --fail-if, the number it was held against (None: not measured), and whether the run fell short."""

    condition: str
    value: float | None
    failed: bool


class Network(msgspec.Struct, frozen=True):
    """Where the run was: `host` or `isolated`, over `loopback` or `veth`; `hash_entries` None: the host's table."""

    kind: str
    link: str
    hash_entries: int | None
    reason: str = ""


class ServerProcess(msgspec.Struct, frozen=True):
    """A process of the server, which stands for its children as well."""

    pid: int
    name: str


class ListenQueue(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of connections that the server has not accepted, from before the ramp to its end; None: can't be read.

    Where the server has several listeners, `backlog` is the least of theirs and `most_queued` the most at one of them.
    """

    backlog: int | None
    """Connections that have room in it."""
    most_queued: int | None
    """The most that were seen waiting in a sample."""
    dropped: int | None
    """Packets of handshakes that the server's listeners dropped: their queue was full, or they put connections off."""
    overflows: int | None
    """ListenOverflows of the server's network: handshakes that found a queue full, that of any listener there."""
    drops: int | None
    """ListenDrops of the server's network: handshakes that were dropped for whatever reason."""
    syn_retransmits: int | None
    """TCPSynRetrans of the client's network: requests to connect that were sent again."""
    deferred: int | None = None
    """TCPDeferAcceptDrop of the server's network: connections that were put off until their request came, which is no
    loss and is counted in `dropped`; None: from before it was read."""
    put_off: int | None = None
    """Connections that found the queue full, or others that wait for room in it; None: it is of no Unix socket."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What is at the other end."""

    addresses: list[str]
    """Where connections went, users as `placed` says."""
    processes: list[ServerProcess]
    """Whose memory and CPU are the server's, with all children; empty: nobody's."""
    found: str
    """Why these processes, or why none: a part of a sentence."""
    files: int | None = None
    """Open files that those of them may have together that hold connections; None where it is not known, or ours."""
    queue: ListenQueue | None = None
    placed: str = "in turn"
    """How users were placed on the addresses: in turn, or by ring."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; the keys of `--json`. Fields that came later have defaults, for the records before them."""

    format: int
    run: str
    models: Models = Models()
    protocol: str | None = None
    """What the answers were that opened connections, the most frequent first; what was asked for where none did."""
    opened_when: str | None = None
    """What opened connections, as `--open-when` has it. Both None: a record from before these fields."""
    outcome: Outcome
    reasons: list[str]
    connections: Connections
    ramp: Ramp
    workers: Workers
    network: Network = Network("host", "loopback", None)
    server: Server | None = None
    answer: str | None = None
    """What one more user costs, and how many this machine would hold; None: a record from before this field."""
    memory: Memory
    cpu: Cpu
    ticks: list[Tick]
    messages: Messages | None = None
    server_times: ServerTimes | None = None
    """None: nobody asked for them."""
    client_share: ClientShare | None = None
    """None: the run was to have no latency, or is from before this field."""
    received: int
    bytes: int
    missing: int
    repeated: int
    jumps: int = 0
    """Messages whose number is further above the one before than messages can be missing."""
    pings: int = 0
    """Of a server's WebSockets."""
    polls: int = 0
    """Of connections that have had an answer: those behind the first of each."""
    thresholds: list[Threshold] = []
    timing: Timing | None = None
    tls: Tls | None = None
    """None: TLS was not spoken."""
    server_tls: ServerTls | None = None
    """None: TLS was not spoken, the server is not ours, or it gave no figures."""
    lifetimes: Lifetimes | None = None
    causes: list[CauseInWords] = []
    """Each name by which connections failed or closed early, the most frequent first."""
