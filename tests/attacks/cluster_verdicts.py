"""What came of a run against a cluster, held against its kernel, its router and its hosts.

In: what `tests.attacks.cluster` has seen, whose record is read through `analysis.load`. Out: a sentence for each figure
that is wrong, and the accounts of the run in one line.
"""

import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from floodtest.analysis import Record, Summary, load
from floodtest.datagen.graph import friend_graph
from floodtest.loadgen.client.accounts import State, count_states
from tests.attacks.cluster_ground import FRIENDS, FRONTS, HOSTS, SEED, SHIFTED
from tests.attacks.cluster_trial import FRONT, MOST_SECONDS, VICTIM, Seen, rate_of
from tests.rigs.time_namespace import AHEAD_SECONDS

SECONDS_UNTIL_KNOWN = 4.0
"""In which messages may still be sent to connections whose host was killed, on a machine with other work to do."""

END_SECONDS = 10.0
"""For a load host to end by itself, as docs/cluster.md says."""

Verdict = Iterator[str]


def accounts_of(seen: Seen) -> str:
    """Return the accounts of a run in one line."""
    summary = load(seen.record).summary if seen.record else None
    if summary is None or summary.messages is None:
        return f"no summary, exit code {seen.code}"
    connections, messages = summary.connections, summary.messages
    failed = sum(connections.failed.values())
    lost = connections.closed_by.get("HOST_LOST", 0)
    figures = [
        ("opened", connections.opened), ("failed", failed), ("closed early", connections.closed_early),
        ("host_lost", lost), ("published", messages.published), ("expected", messages.expected),
        ("delivered", messages.received - messages.duplicated), ("lost", messages.lost),
        ("duplicated", messages.duplicated), ("undeliverable", messages.undeliverable), ("exit code", seen.code),
    ]  # fmt: skip
    return ", ".join(f"{name} {value:,}" for name, value in figures) + f" ({seen.seconds:.0f} s)"


def broken(name: str, users: int, planned: int, seen: Seen) -> Iterator[str]:
    """Say what is wrong with a run."""
    if seen.left:
        yield f"it left connections, or hosts: {seen.left}"
    yield from _of_sockets(users, seen)
    if name == "controller killed":
        yield from _controller_killed(seen)
        return
    if not seen.record or (summary := load(seen.record).summary) is None:
        yield f"it has no summary. Exit code {seen.code}: {seen.errors[-1500:]}"
        return
    if "Traceback" in seen.errors:
        yield f"a traceback on stderr: {seen.errors[-1500:]}"
    record = load(seen.record)
    yield from _of_connections(users, summary, record)
    yield from _of_hosts(summary, record, seen)
    yield from _of_messages(planned, summary, seen)
    if not (Path(seen.record) / "report.html").exists():
        yield "there is no report"
    yield from _VERDICTS[name](users, summary, record, seen)


def _differ(what: str, *figures: tuple[str, object]) -> Iterator[str]:
    """Say that figures differ which should be one and the same."""
    if any(one != other for (_, one), (_, other) in pairwise(figures)):
        yield f"{what}: " + ", ".join(f"{value} {who}" for who, value in figures)


def _users_of(host: str, seen: Seen) -> range:
    """Return the users of a load host."""
    plan = load(Path(seen.record) / "hosts" / host).run["options"]["plan"]
    return range(plan["first_user"], plan["first_user"] + plan["connections"])


def _due(users: int, whom: range) -> float:
    """Return how many deliveries a second are for some users, of messages about themselves included."""
    subscribers = friend_graph(users, FRIENDS, SEED)[:, 0]
    theirs = np.count_nonzero((subscribers >= whom.start) & (subscribers < whom.stop))
    return rate_of(users) * (int(theirs) + len(whom)) / users


# What holds for each run.


def _of_connections(users: int, summary: Summary, record: Record) -> Verdict:
    found, counts = summary.connections, count_states(record.read_states())
    yield from _differ("connections planned", ("as ordered", users), ("in the summary", found.planned))
    failed = sum(found.failed.values())
    yield from _differ(
        "connections do not add up",
        ("planned", found.planned),
        ("opened, failed or not reached", found.opened + failed + found.not_reached),
        ("in states.u8", sum(counts.values())),
    )
    yield from _differ(
        "connections closed early",
        ("in all", found.closed_early),
        ("by cause", sum(found.closed_by.values())),
        ("in states.u8", counts[State.CLOSED_EARLY]),
    )


def _of_hosts(summary: Summary, record: Record, seen: Seen) -> Verdict:
    parts = {name: load(Path(seen.record) / "hosts" / name) for name in HOSTS}
    sums = [part.summary for part in parts.values() if part.summary is not None]
    if len(sums) < len(HOSTS):
        yield "a host has no summary"
        return
    for what, whole, of_parts in (
        ("opened", summary.connections.opened, sum(one.connections.opened for one in sums)),
        ("closed early", summary.connections.closed_early, sum(one.connections.closed_early for one in sums)),
        ("received", summary.received, sum(one.received for one in sums)),
    ):
        yield from _differ(what, ("by the run", whole), ("by its hosts", of_parts))
    for name, part in parts.items():
        facts = part.run["host"]
        ahead, bound = facts["clock_ahead_seconds"], facts["clock_bound_seconds"]
        true = -AHEAD_SECONDS if name == SHIFTED else 0
        if not abs(ahead - true) <= bound <= 0.1:
            yield f"{name}: the controller's clock is {true} s ahead of its own, and was measured as {ahead} ± {bound}"
    if record.samples[-1].open + summary.connections.closed_early > summary.connections.opened:
        yield "the last sample has more connections open than were opened and not closed"


def _of_sockets(users: int, seen: Seen) -> Verdict:
    yield from _differ(
        "connections before anything was done",
        ("planned", users),
        ("at the hosts' kernels", sum(seen.part_of.values())),
        ("at the front machines' kernels", sum(seen.held_by.values())),
    )
    for name in FRONTS:
        yield from _differ(
            f"connections of {name}", ("by its kernel", seen.held_by[name]), ("by the router", seen.told_by[name])
        )


def _of_messages(planned: int, summary: Summary, seen: Seen) -> Verdict:
    found, told = summary.messages, seen.stats
    if found is None:
        yield "it has no messages"
        return
    yield from _differ("messages", ("planned", planned), ("published", found.published), ("taken", told["messages"]))
    yield from _differ("deliveries expected", ("by the run", found.expected), ("by the router", told["routed"]))
    yield from _differ(
        "deliveries expected",
        ("expected", found.expected),
        ("arrived or lost", found.received - found.duplicated + found.lost),
    )
    if found.duplicated or found.misdelivered:
        yield f"{found.duplicated:,} deliveries came twice, {found.misdelivered:,} to somebody else"
    yield from _differ(
        "deliveries routed",
        ("in all", told["routed"]),
        ("written or undeliverable", told["deliveries"] + told["undeliverable"]),
    )
    if found.received > told["deliveries"]:
        yield f"{found.received:,} deliveries came, and {told['deliveries']:,} were written"


# What holds for one of them.


def _left_alone(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    assert summary.messages is not None
    if seen.code != 0 or summary.reasons or summary.messages.lost:
        yield f"exit code {seen.code}, {summary.messages.lost:,} lost: {summary.reasons}"
    mean = _due(users, range(1, users + 1)) / rate_of(users)
    each = summary.messages.expected / summary.messages.published
    if not abs(each / mean - 1) < 0.1:
        yield f"{each:.2f} deliveries a message, and {mean:.2f} subscribers a user, who is one of them"
    for one in seen.stats["machines"]:
        if any(one[name] for name in ("times_lost", "gaps", "malformed", "rows_lost")):
            yield f"the router says of {one['name']}: {one}"


def _host_killed(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    yield from _host_lost(summary, seen, "its process ended by signal 9", "its worker of Dask")
    assert summary.messages is not None
    due = _due(users, _users_of(VICTIM, seen))
    if summary.messages.lost > due * SECONDS_UNTIL_KNOWN:
        yield f"{summary.messages.lost:,} deliveries were lost, and {due:,.0f} a second were for {VICTIM}"
    rest = users - seen.part_of[VICTIM]
    yield from _differ(
        "connections at front machines some seconds later", ("left", rest), ("held", sum(seen.held_then.values()))
    )


def _host_cut(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    yield from _host_lost(summary, seen, "nothing was heard of it for")
    yield from _differ(
        f"open connections of {VICTIM} without its cable",
        ("by its own column", seen.kept_by_victim),
        ("counted as lost", summary.connections.closed_by.get("HOST_LOST")),
    )
    yield from _ended(seen, VICTIM)
    assert summary.messages is not None
    due = _due(users, _users_of(VICTIM, seen))
    if not summary.messages.lost > due:
        yield f"{summary.messages.lost:,} deliveries were lost, and {due:,.0f} a second were for {VICTIM}"


def _host_stopped(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    yield from _host_lost(summary, seen, "nothing was heard of it for")
    yield from _ended(seen, VICTIM)


def _controller_killed(seen: Seen) -> Verdict:
    if seen.code != -signal.SIGKILL:
        yield f"the controller was killed, and its exit code is {seen.code}"
    yield from _ended(seen, *HOSTS)
    yield from _differ("connections", ("left at hosts", sum(seen.stayed.values())), ("to be left", 0))


def _ended(seen: Seen, *hosts: str) -> Verdict:
    """Say which hosts have not ended in time after they could be reached no more."""
    for host in hosts:
        if seen.ended_after.get(host, MOST_SECONDS) > END_SECONDS:
            yield f"{host} ended {seen.ended_after.get(host)} s after it could be reached no more"


def _host_lost(summary: Summary, seen: Seen, *why: str) -> Verdict:
    """Say what is wrong where one host is lost: it is named, and the others are as they were."""
    part = seen.part_of[VICTIM]
    if seen.code != 4 or summary.connections.closed_by != {"HOST_LOST": part} or summary.connections.failed:
        yield f"exit code {seen.code}, {summary.connections}, and {VICTIM} had {part:,} connections"
    named = [reason for reason in summary.reasons if reason.startswith(f"{VICTIM}: host lost: ")]
    if len(named) != 1 or not any(words in named[0] for words in why):
        yield f"the reasons do not name {VICTIM}: {summary.reasons}"
    for name in HOSTS:
        one = load(Path(seen.record) / "hosts" / name).summary
        assert one is not None
        if name != VICTIM:
            yield from _differ(
                f"connections of {name}",
                ("before", seen.part_of[name]),
                ("then", seen.stayed.get(name)),
                ("in its record", one.connections.opened - one.connections.closed_early),
            )
            if one.missing or one.outcome != "ok":
                yield f"{name} fell short: {one.missing:,} messages missing, {one.reasons}"


def _all_stay(summary: Summary, seen: Seen) -> Verdict:
    """Say what is wrong where connections stay, whatever is lost of messages."""
    yield from _differ("connections", ("before", seen.part_of), ("then", seen.stayed))
    found = summary.connections
    if found.closed_early or found.failed or found.not_reached:
        yield f"connections were lost: {found}"
    assert summary.messages is not None
    yield from _differ(
        "deliveries lost", ("by the run", summary.messages.lost), ("by the router", seen.stats["undeliverable"])
    )
    if seen.code != (4 if summary.reasons else 0) or (summary.messages.lost and not summary.reasons):
        yield f"exit code {seen.code}, and {summary.messages.lost:,} deliveries lost: {summary.reasons}"
    for one in seen.stats["machines"]:
        if not one["is_there"]:
            yield f"{one['name']} did not come back"


def _valkey_restarted(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    yield from _all_stay(summary, seen)


def _front_cut(users: int, summary: Summary, record: Record, seen: Seen) -> Verdict:
    yield from _all_stay(summary, seen)
    if not any(reason.startswith(f"the front machine {FRONT} was given up once") for reason in summary.reasons):
        yield f"the reasons do not name {FRONT}: {summary.reasons}"
    for one in seen.stats["machines"]:
        times, lost = (1, seen.held_by[FRONT]) if one["name"] == FRONT else (0, 0)
        if (one["times_lost"], one["connections_lost"]) != (times, lost):
            yield f"the router says of {one['name']}: {one}"
        if one["name"] != FRONT and (one["gaps"] or one["rows_lost"]):
            yield f"{one['name']} lost frames: {one}"


_VERDICTS: dict[str, Callable[[int, Summary, Record, Seen], Any]] = {
    "left alone": _left_alone,
    "host killed": _host_killed,
    "link of a host cut": _host_cut,
    "host stopped": _host_stopped,
    "Valkey restarted": _valkey_restarted,
    "link of a front machine cut": _front_cut,
}
