"""The control API of `comet serve` as types: what each call takes and answers, and within which bounds.

In and out: JSON, of which every key is the name of a field here, and spelled nowhere else. docs/comet.md says what each
of them means. The server builds these structs and encodes them; `wire.control_client` and the processes that start a
server decode them. Decoding passes over keys that are not known here, so that a newer server can be asked; a key that
is missing or of another type is one of the errors of `MALFORMED`, whose text names it. No I/O, no clock.
"""

import msgspec

TOKEN_VARIABLE = "COMET_TOKEN"
"""The variable of the environment in which the commands find the token of the control API."""

HEALTH_PATH = "/healthz"
STATS_PATH = "/stats"
TICK_PATH = "/tick"
PUBLISH_PATH = "/publish"
SUBSCRIPTIONS_PATH = "/subscriptions"

MAX_BATCH = 4096
"""Lines of a batch of messages or subscriptions, blank ones included; past it 413."""

MAX_BATCH_BYTES = 1 << 22
"""Past it 413."""

MAX_TICK_BYTES = 4096
"""Bytes of a body of PUT /tick; past it 413."""

BODY_SECONDS = 10.0
"""Within which the whole body of a request has to arrive; past it 408."""

LEAST_TICK_SECONDS = 0.001
MOST_TICK_SECONDS = 86400

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON or not of its type: text that is no UTF-8, and nesting without end,
included."""


class ApiFigures(msgspec.Struct, frozen=True):
    """What GET /stats says of the control API itself."""

    connections: int
    bytes: int
    given_up: int
    rejected: dict[int, int]


class ServerPids(msgspec.Struct, frozen=True):
    """The process ids of a server: those of its processes that run."""

    parent: int
    nursery: int | None
    """None: all fronts are on other machines."""
    fronts: list[int]

    @property
    def all(self) -> list[int]:
        return [self.parent, *([] if self.nursery is None else [self.nursery]), *self.fronts]


class ServerMemory(msgspec.Struct, frozen=True):
    """Bytes: `private` of all processes of the server together, the others of the machine."""

    private: int
    available: int
    total: int


class StoreSize(msgspec.Struct, frozen=True):
    """How much a store of subscriptions holds."""

    subjects: int
    pairs: int


class KeptHistory(msgspec.Struct, frozen=True):
    """What a server keeps for clients of events that come back, and what came of it."""

    messages: int
    subjects: int
    bytes: int
    replays: int
    """Clients that came back and got what they had missed, be it nothing."""
    replayed: int
    """Messages that they got."""
    lost: int
    """Those of the replays that told of messages that are, or may be, missing."""


class SentTick(msgspec.Struct, frozen=True):
    """A tick, and the connections it was sent to; times in seconds of CLOCK_MONOTONIC."""

    number: int
    planned: float | None
    """None: not known any more."""
    sent: int
    first: float | None
    last: float | None
    """None: no front has written any of it."""


class TlsFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of TLS on streams since the server started."""

    handshakes: int
    """That came to their end."""
    resumed: int
    """Of these, by tickets or sessions of earlier ones."""
    versions: dict[str, int]
    ciphers: dict[str, int]
    """Those of TLS 1.2 as `other`."""
    tickets: int
    """Sent behind handshakes of TLS 1.3."""
    key_updates: int
    cpu_seconds: float | None
    """CPU time of handshakes; None: of this model it is not known."""
    late: int
    """Handshakes that did not come to their end in the time for a request head."""
    ends: dict[str, int]
    """Handshakes that failed and connections that ended otherwise than in order, by cause."""


class MachineFigures(msgspec.Struct, frozen=True):
    """What GET /stats says of one front machine of a router."""

    name: str
    is_there: bool
    """Whether it is heard of."""
    connections: int
    times_lost: int
    """How often it was given up, as it had said nothing for too long."""
    connections_lost: int
    """Connections that it had then, all times together."""
    frames: int
    """Sent to it."""
    gaps: int
    """Of these, those that never arrived."""
    malformed: int
    """Frames and lines that it could not read, whoever sent them."""
    rows_lost: int
    """Deliveries that never became a frame, as the machine had no room for them for too long."""
    in_window: int
    """Bytes of frames that it has not acknowledged."""
    fronts: list[int | None]
    """As `Stats.fronts`."""


class Stats(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to GET /stats."""

    model: str
    connections: int
    logins: int
    bytes: int
    dropped: int
    slow: int
    excess: int
    silent: int
    deliveries: int
    undeliverable: int
    accept_errors: int
    rejected: dict[int, int]
    """Answers by status."""
    violations: dict[int, int]
    """WebSockets that were failed for what their clients sent, by the status of the close."""
    unanswered: int
    """WebSockets that were closed because a ping was not answered."""
    tls: TlsFigures | None
    """None: streams are without TLS."""
    control: ApiFigures
    pids: ServerPids
    fronts: list[int | None]
    """Exit statuses; None while a front runs."""
    fronts_begun: int
    """Fronts that have had a stream: each took memory of its own with its first."""
    fronts_given_up: int
    """How often a front was given up that had messages to write."""
    fronts_left_out: int
    """How often a tick was sent without a front that had not written the one before."""
    memory: ServerMemory
    tick_seconds: float | None
    ticking: bool
    ticks_skipped: int
    messages: int
    routed: int
    subscriptions: StoreSize | None
    history: KeptHistory | None
    ticks: list[SentTick]
    machines: list[MachineFigures] | None = None
    """None, and left out: the fronts are on the router's machine."""


class TickPeriod(msgspec.Struct, frozen=True):
    """The body of PUT /tick, and its answer: seconds between two ticks, None for no ticks."""

    seconds: float | None


class Publication(msgspec.Struct, frozen=True):
    """A line of POST /publish."""

    subject: int | str
    message: str


PUBLICATION_LINE = b'{"subject":%d,"message":"%b"}\n'
"""A `Publication` about a user's id as the line it is encoded to, for text that JSON needs no escape for: who publishes
thousands a second fills this in."""


class Published(msgspec.Struct, frozen=True):
    """The answer to POST /publish: how many messages, and to how many connections they are on their way."""

    messages: int
    deliveries: int


class Subscription(msgspec.Struct, frozen=True):
    """A line of POST and of DELETE /subscriptions."""

    subscriber: int
    subject: int | str


class Subscribers(msgspec.Struct, frozen=True):
    """The answer to GET /subscriptions: a subject's subscribers, ascending."""

    subject: int | str
    subscribers: list[int]


class Added(msgspec.Struct, frozen=True):
    """The answer to POST /subscriptions: pairs in the batch, and how many of them were new."""

    pairs: int
    added: int


class Removed(msgspec.Struct, frozen=True):
    """The answer to DELETE /subscriptions: pairs in the batch, and how many of them there had been."""

    pairs: int
    removed: int


class Listening(msgspec.Struct, frozen=True):
    """The line that a server writes to its parent once it serves: the port of its streams, and of its control API."""

    port: int
    control: int


LATE = 0.1
"""Seconds behind its time in the plan from which a message counts as late."""

GRACE = 1.0
"""Seconds behind the end of the plan in which what fell due is still published."""


class Generated(msgspec.Struct, kw_only=True):
    """What came of a generator's plan, so far: the keys of `comet msggen --json`, beside `unpublished`.

    Messages: planned = published + unpublished. Times in seconds.
    """

    planned: int
    published: int
    deliveries: int
    """Connections they went to, by the router's count."""
    late: int
    """Published over `LATE` after their time, or not published by then."""
    most_behind: float
    """The longest that one was published after its time, or waited for it in vain."""
    seconds: float
    error: str | None

    @property
    def unpublished(self) -> int:
        return self.planned - self.published
