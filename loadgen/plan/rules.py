"""What is wrong with the options of a run that each by itself may be right: a sentence for each contradiction. Pure.

In: `RunOptions`, of a command line or made by a program. Out: sentences for a UsageError. The bounds of single values
are checked as well: a command line's parsers hold them, a program's values have not been through those.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from floodtest.flyweight.command import parsers
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import CLIENT_MODELS, DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL
from floodtest.loadgen.plan.options import DEFAULT_HELD, DEFAULT_METHOD, DEFAULT_POLL_PAUSE, RunOptions
from floodtest.loadgen.plan.pacer import are_sound
from floodtest.loadgen.plan.request import problems_of
from floodtest.wire.mark import MARK_SIZE
from floodtest.wire.names import LONGPOLL, OF_SCHEMES, RAW, WEBSOCKET
from floodtest.wire.poll_options import MAX_CURSOR, problem_of
from floodtest.wire.template import MISPLACED
from floodtest.wire.times import MAX_OFFSET_SECONDS, pattern_of


@dataclass(frozen=True)
class Rule:
    """A rule about options, and the names of those that it can't do without, as `flyweight.command` has them."""

    problems: Callable[[RunOptions], Iterator[str]]
    looks_at: tuple[str, ...] = ()


def problems(options: RunOptions) -> list[str]:
    """Return a sentence for each thing that is wrong with options."""
    return [problem for rule in RULES for problem in rule.problems(options)]


def _about_ports(options: RunOptions) -> Iterator[str]:
    if options.ports == "explicit" and not CLIENT_MODELS[options.client].chooses_ports:
        unable = f"--client {options.client}, which can name a source address but no port"
        yield f"--ports explicit is not for {unable}: take --ports kernel, or another client."


def _about_sockets(options: RunOptions) -> Iterator[str]:
    if options.is_to_socket and options.ports == "explicit":
        yield "--ports explicit is not for a Unix socket, whose connections have no ports: take --ports kernel."
    if options.is_to_socket != options.plan.is_anonymous:
        yield "A plan without source addresses (Plan.anonymous) is for a target that is a Unix socket, and no other."


def _about_servers(options: RunOptions) -> Iterator[str]:
    if options.target is None:
        if options.server_pid is not None:
            yield "--server-pid is for a server that was named with --target."
        if options.allow_public_target is not None:
            yield "--allow-public-target is for a target: name it with --target as well."
        given = {
            "--header": options.headers,
            "--method": options.method != DEFAULT_METHOD,
            "--body": options.body is not None,
            "--send": options.send is not None,
            "--users": options.users,
            "--address": options.address != "all",
            "--ring": options.ring,
            "--control": options.control is not None,
        }
        yield from (f"{name} is for a server that was named with --target." for name, value in given.items() if value)
        return
    if options.tick is not None and not options.is_ours:
        yield "--tick is for our own server: leave --target out, name its --control, or let yours send by itself."
    if options.server_model != DEFAULT_SERVER_MODEL:
        yield "--server-model is for our own server: leave --target out."


def _about_rings(options: RunOptions) -> Iterator[str]:
    if options.ring is None:
        return
    if options.is_to_socket:
        yield "--ring is for servers with a host and a port, not for a Unix socket."
    if options.address != "all":
        yield "--address is about the target's host, and with --ring connections go elsewhere: leave it out."


def _about_requests(options: RunOptions) -> Iterator[str]:
    if options.target is not None:
        has_columns = options.users is not None
        texts = (options.body, options.send)
        yield from problems_of(
            options.target, options.headers, options.method, *texts, has_columns, options.cursor is not None
        )


def _about_protocols(options: RunOptions) -> Iterator[str]:
    spoken, scheme = options.spoken, options.scheme
    if spoken in CLIENT_MODELS[options.client].lacks:
        yield f"--client {options.client} can't open --protocol {spoken}: take another client."
    if OF_SCHEMES.get(scheme, spoken) != spoken:
        there = "unix:/SOCKET" if scheme == "unix" else f"{scheme}://"
        yield f"--protocol {options.protocol} is not for a target of {there}: leave it out, or name one of http://."
        return
    if spoken == RAW and OF_SCHEMES.get(scheme) != RAW:
        yield "--protocol raw is for a stream without HTTP: name it as --target tcp://HOST:PORT, or unix:/SOCKET."
        return
    if spoken not in (WEBSOCKET, RAW):
        if options.send is not None:
            yield (
                "--send is for WebSockets and raw streams: name a target of ws:// or tcp://, or take --protocol "
                "websocket."
            )
        return
    asks_more = options.method != DEFAULT_METHOD or options.body is not None
    if spoken == RAW and (asks_more or options.headers):
        yield "--header, --method and --body are not for a raw stream, which has no HTTP: --send is what it sends."
    elif spoken == WEBSOCKET and asks_more:
        yield "--method and --body are not for a WebSocket, which is asked for by a GET without a body."


def _about_polls(options: RunOptions) -> Iterator[str]:
    if options.spoken != LONGPOLL:
        given = {
            "--held": options.held != DEFAULT_HELD,
            "--cursor": options.cursor is not None,
            "--first-cursor": options.first_cursor,
            "--poll-pause": options.poll_pause != DEFAULT_POLL_PAUSE,
            "--open-when held": options.open_when == "held",
        }
        yield from (f"{name} is for --protocol {LONGPOLL}." for name, value in given.items() if value)
        return
    if options.target is None:
        yield f"--protocol {LONGPOLL} is not for our own server, which has no polls: name yours with --target."
    if options.opens_when == "held" and not options.held < options.connect_timeout:
        yield f"--held must be less than --connect-timeout ({options.connect_timeout:g} s), not {options.held:g} s."
    if options.cursor is None and options.first_cursor:
        yield "--first-cursor is for --cursor, which finds those of later polls."
    if options.cursor is not None and (problem := problem_of(options.cursor)) is not None:
        yield f"--cursor {options.cursor!r}: {problem}."
    if MISPLACED.search(options.first_cursor.encode(errors="surrogateescape")):
        yield "--first-cursor has a carriage return, a line feed or a NUL in it, which no header can have."
    if not _is_short_utf_8(options.first_cursor):
        yield f"--first-cursor takes UTF-8 of {MAX_CURSOR} bytes at the most, as much as is kept of later ones."


def _is_short_utf_8(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_CURSOR
    except UnicodeEncodeError:
        return False


def _about_messages(options: RunOptions) -> Iterator[str]:
    messages = options.messages
    if messages is None and (options.friends or options.db):
        yield "--friends and --db are for --messages: say how many a second."
    if messages is None:
        return
    if options.is_ours:
        if messages.is_for_others:
            yield "--publish and --deliver-to are for a server of yours: name it with --target, or leave them out."
        if options.control is not None and (options.friends or options.db):
            yield "--friends and --db are for a server that the run starts: load them where the one of --control is."
        return
    if options.friends or options.db:
        yield "--friends and --db are for our own server: who gets a message is up to yours, and --deliver-to says it."
    if messages.publish is None:
        yield "--messages to a server of yours needs to know how it is told: --publish 'POST http://…/pub/{user}'."
        return
    yield from _about_publishing(messages)


def _about_publishing(messages: MessageOptions) -> Iterator[str]:
    assert messages.publish is not None
    texts = [messages.publish[1], messages.publish_body or "", *messages.publish_header]
    whole = "".join(texts)
    if messages.publish_body is not None and "{message}" not in messages.publish_body + messages.publish[1]:
        yield "--publish-body needs {message} in it, where the message goes, such as 'text={message}'."
    if "{{" in whole:
        yield "--publish and what belongs to it take single braces: {user} and {message} are replaced, others stay."
    if not "".join(messages.publish_header).isascii():
        yield "--publish-header takes ASCII."
    if not (messages.publish_body or "").isprintable():
        yield "--publish-body has a character that nobody can see, or that is no UTF-8."
    if messages.deliver_to == "own" and "{user}" not in whole:
        yield "--publish says nowhere who gets a message: put {user} into it, or say --deliver-to all."
    if messages.deliver_to == "all" and "{user}" in whole:
        yield "--deliver-to all is for messages that are about nobody: leave {user} out of --publish."
    if messages.size < MARK_SIZE:
        yield f"--message-size must be at least {MARK_SIZE} with --publish: a message has a mark of so many bytes."


def _about_latency(options: RunOptions) -> Iterator[str]:
    if options.latency is None:
        if options.clock_offset is not None:
            yield "--clock-offset is for the times that --latency finds: say what finds them."
        return
    if options.target is None:
        yield "--latency is for a server that was named with --target: with our own --messages says the latency."
    elif options.messages is not None:
        yield (
            "--latency and --messages both say what the latency is, by the server's own times and by the plan: leave "
            "one of them out."
        )
    try:
        pattern_of(options.latency)
    except ValueError as error:
        yield f"--latency: {error}."


def _about_friends(options: RunOptions) -> Iterator[str]:
    if (options.columns or options.renumber) and not options.friends:
        yield "--columns and --renumber are for --friends: name the file."
    if options.friends and options.db:
        yield "--friends and --db say the same thing in two ways: leave one of them out."


def _about_tls(options: RunOptions) -> Iterator[str]:
    yield from options.tls.problems(options.speaks_tls or options.tls_of_publishing is not None)
    if options.tls.tls_resume and options.client != DEFAULT_CLIENT_MODEL:
        yield f"--client {options.client} takes up no session of TLS: leave --tls-resume out, or take another client."
    if options.tls.is_asked and options.scheme in ("http", "ws", "unix"):
        yield f"--tls is for our own server and for tcp://: name a target of {_SECURE[options.scheme]} instead."
    if options.target is None:
        given = {"--server-name": options.tls.server_name, "--cafile": options.tls.cafile}
        yield from (f"{name} is for a server that was named with --target." for name, value in given.items() if value)


_SECURE = {"http": "https://", "ws": "wss://", "unix": "a host and a port"}


def _about_networks(options: RunOptions) -> Iterator[str]:
    if options.target is not None and (options.network == "isolated" or options.link == "veth"):
        yield "--target can't be reached from a network of the run's own: leave it out, or take --network host."
    if options.network == "host" and options.link == "veth":
        yield "--link veth joins two networks of the run's own: leave --network host out."


def _about_clusters(options: RunOptions) -> Iterator[str]:
    yield from options.cluster.problems()
    if not options.cluster.is_asked:
        return
    if options.network == "isolated" or options.link == "veth":
        yield "--network isolated and --link veth are for one machine: leave them out, or --cluster and --hosts."
    if options.users is not None:
        yield "--users is for one machine: hosts of a cluster have no such file."


def _about_stages(options: RunOptions) -> Iterator[str]:
    if options.stages is not None and options.rate is not None:
        yield "--rate and --stages say the same thing in two ways: leave one of them out."
    if options.stages is not None and not are_sound(options.stages):
        yield "--stages takes rates, all but the last with a time of more than 0, and not all of them 0."


def _about_capacity(options: RunOptions) -> Iterator[str]:
    if options.stages is not None and options.rate is None and are_sound(options.stages):
        capacity, connections = options.pacer.capacity, options.plan.connections
        if capacity < connections:
            brought = f"--stages bring {capacity:,.0f} of {connections:,} connections."
            yield f"{brought} Let the last one last: leave its time out, or add max."


def _about_users(options: RunOptions) -> Iterator[str]:
    if options.messages is not None and options.is_ours and options.plan.first_user != 1:
        yield (
            f"--messages is about users from 1 on, and those of the plan are numbered from {options.plan.first_user:,} "
            "on: number them from 1."
        )


def _about_bounds(options: RunOptions) -> Iterator[str]:
    messages = options.messages
    above_zero = {
        "--rate": options.rate,
        "--connect-timeout": options.connect_timeout,
        "--held": options.held,
        "--tick": options.tick,
        "--interval": options.interval,
        "--messages": None if messages is None else messages.rate,
        "--message-seconds": None if messages is None else messages.seconds,
    }
    for name, value in above_zero.items():
        if value is not None and not 0 < value < math.inf:
            yield f"{name} must be more than 0, not {value}."
    if options.clock_offset is not None and not abs(options.clock_offset) <= MAX_OFFSET_SECONDS:
        yield f"--clock-offset must be within a day, not {options.clock_offset}."
    if not options.hold >= 0:
        yield f"--hold must be at least 0, not {options.hold}."
    if not 0 <= options.poll_pause < math.inf:
        yield f"--poll-pause must be at least 0, not {options.poll_pause}."
    for name, count in (("--in-flight", options.in_flight), ("--server-pid", options.server_pid)):
        if count is not None and count < 1:
            yield f"{name} must be at least 1, not {count}."
    if options.name is not None and not parsers.is_name(options.name):
        yield parsers.name.complaint("--name", options.name)


def _about_thresholds(options: RunOptions) -> Iterator[str]:
    if not options.fail_if:
        return
    from floodtest.analysis.record import thresholds

    for text in options.fail_if:
        try:
            thresholds.parse(text)
        except UsageError as error:
            yield from error.problems


RULES = (
    Rule(_about_ports, ("ports",)),
    Rule(_about_sockets, ("plan", "ports", "target")),
    Rule(_about_servers),
    Rule(_about_rings, ("target",)),
    Rule(_about_requests),
    Rule(_about_protocols),
    Rule(_about_tls, ("messages", "publish")),
    Rule(_about_polls),
    Rule(_about_messages, ("messages", "publish")),
    Rule(_about_latency, ("messages",)),
    Rule(_about_friends),
    Rule(_about_networks),
    Rule(_about_clusters),
    Rule(_about_stages),
    Rule(_about_capacity, ("plan",)),
    Rule(_about_users, ("plan",)),
    Rule(_about_bounds),
    Rule(_about_thresholds),
)
