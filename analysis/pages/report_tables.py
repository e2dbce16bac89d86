"""The tables of a report. In: findings, or a record. Out: tables of text, or none where there is too little. Pure.

Figures are those of the summary: what an older record's summary does not have is said to be missing from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from floodtest.analysis.figures.client_share import percentiles_of, sample_in_words
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.figures.formatting import each, each_between, number, size_between
from floodtest.analysis.figures.memory import ENDS, MILLION, MemoryFinding
from floodtest.analysis.figures.servers_of_2008 import HISTORY, is_as_in_2008
from floodtest.analysis.pages.html import Table
from floodtest.analysis.record import Record
from floodtest.analysis.record.summary import CauseInWords, Percentiles, ServerTls, Tls
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.units import NOT_MEASURED, size

NO_FIT = "no fit"


def costs(memory: dict[str, MemoryFinding]) -> Table:
    head = (
        "",
        "one more connection",
        "growth in the ramp",
        "before the first",
        "all of it, at the most",
        "for a million",
    )
    rows = [(ENDS[end], *_cost(found)) for end, found in memory.items()]
    caption = (
        "In brackets the 95% interval, which holds the slope of the fit and the growth in the ramp, both without what "
        "workers took as they began. The kernel counts from before the ramp, both ends together. For a million is the "
        "line, continued with what this run's workers took"
    )
    if all(found.reaches(MILLION) for found in memory.values() if found.fit is not None):
        caption += "."
    else:
        caption += (
            ": it has no interval where under half of them were open, for what more workers take is in no sample."
        )
    return Table(head, rows, caption)


def _cost(found: MemoryFinding) -> tuple[str, str, str, str, str]:
    measured = NOT_MEASURED
    if found.measured is not None:
        measured = f"{size(found.measured.value * found.most)}, {found.most:,.0f} open"
    one_more, million = found.one_more, found.at(MILLION)
    cost = NO_FIT if one_more is None else each_between(one_more)
    growth = each(None if found.growth is None else found.growth.value)
    for_million = NO_FIT
    if million is not None:
        for_million = size_between(million) if found.reaches(MILLION) else size(million.value)
    return cost, growth, size(found.before), measured, for_million


def servers(findings: Findings) -> Table | None:
    """Set the server's end beside 2008's: its own memory, and half of what the kernel has.

    None for a run that is not of their kind.
    """
    memory, summary = findings.memory, findings.record.summary
    server, kernel = memory["server"].measured, memory["kernel"].measured
    if not is_as_in_2008(summary is not None and summary.models.server is not None, memory["server"].most):
        return None
    user = None if server is None else server.value
    half = None if kernel is None else kernel.value / 2
    both = None if user is None or half is None else user + half
    ours = ("this run, server end", each(user), each(half), each(both), _million_of(memory))
    then = [
        (name, each(own), each(kept), each(own + kept), size((own + kept) * MILLION))
        for name, (own, kept) in HISTORY.items()
    ]
    head = ("server, all included", "user memory", "kernel", "a connection", "for a million")
    caption = (
        "2008: Richard Jones, A Million-user Comet Application with Mochiweb, at a million. This run: at the most that "
        "were open, and by its fit for a million. Half of the kernel's is the server's."
    )
    rows = [ours, *then]
    return Table(head, rows, caption)


def _million_of(memory: dict[str, MemoryFinding]) -> str:
    """Say what the server's end would take for a million, by the fits."""
    server, kernel = (memory[end].at(MILLION) for end in ("server", "kernel"))
    return NO_FIT if server is None or kernel is None else size(server.value + kernel.value / 2)


def predicted(findings: Findings) -> Table | None:
    """Set the prediction, where the record has one, beside what was measured at the most connections."""
    rows = []
    for end, expected in findings.predicted.items():
        found = findings.memory[end]
        if found.measured is None:
            continue
        measured = found.measured.value * found.most
        ratio = f"{measured / expected:.2f}" if expected else ""
        rows.append((ENDS[end], size(expected), size(measured), ratio))
    return Table(("", "predicted", "measured", "measured / predicted"), rows) if rows else None


def messages(record: Record) -> Iterator[Table]:
    summary = record.summary
    messages = None if summary is None else summary.messages
    if messages is None:
        return
    rows = [
        (name, *(number(value) for value in msgspec.structs.astuple(latency)))
        for name, latency in (
            ("from the planned time", messages.latency_ms),
            ("uncorrected", messages.uncorrected_latency_ms),
        )
        if latency is not None
    ]
    if rows:
        yield Table(("milliseconds", "50%", "90%", "99%", "99.9%", "slowest"), rows)
    counts = (
        ("published", f"{messages.published:,} of {messages.planned:,} planned"),
        ("deliveries", f"{messages.received:,} of {messages.expected:,} expected"),
        ("lost, duplicated", f"{messages.lost:,}, {messages.duplicated:,}"),
        *((("to another user", f"{messages.misdelivered:,}"),) if messages.misdelivered else ()),
        ("a second", number(messages.per_second)),
    )
    yield Table(("", "messages"), counts, kind="words")


def server_times(record: Record) -> Iterator[Table]:
    """What the times say that the server wrote into its messages."""
    times = None if record.summary is None else record.summary.server_times
    if times is None:
        return
    if times.latency_ms is not None:
        row = ("latency", *(number(value) for value in msgspec.structs.astuple(times.latency_ms)))
        offset = times.clock_offset_seconds
        clock = f" That clock was taken to be {offset:+g} s ahead of this machine's." if offset else ""
        caption = f"The latency is that by the time in the server's messages (--latency).{clock}"
        yield Table(("milliseconds", "50%", "90%", "99%", "99.9%", "slowest"), [row], caption)
    counts = (
        ("with a time", times.timed),
        ("without a time", times.without),
        ("sent after they were read, as they say", times.ahead),
        ("sent over 71 minutes ago, as they say", times.old),
        ("of what is no time", times.unreadable),
    )
    yield Table(("", "messages"), [(name, f"{count:,}") for name, count in counts], kind="words")


def client_share(record: Record) -> Iterator[Table]:
    """How much of the latency is the client's own, by the messages whose arrival is known."""
    share = None if record.summary is None else record.summary.client_share
    found = [] if share is None else percentiles_of(share)
    if share is None or not found:
        return
    rows = [
        ("to the read", *(number(one.read) for one in found)),
        ("to the arrival: the server's", *(number(one.arrived) for one in found)),
        ("the difference: the client's own", *(number(one.own) for one in found)),
    ]
    caption = (
        f"By {sample_in_words(share)} of which the kernel told when messages arrived, without {share.shared:,} that "
        "were read together with a later one. A difference of two percentiles is no percentile, and may fall from left "
        "to right."
    )
    yield Table(("milliseconds", *(one.name.replace("p", "") + "%" for one in found)), rows, caption)


def ticks(record: Record) -> Iterator[Table]:
    summary = record.summary
    if summary is None or not summary.ticks:
        return
    rows = [
        (f"{tick.number}", number(tick.sent), f"{tick.received:,}", f"{tick.seconds:,.2f}", number(tick.per_second))
        for tick in summary.ticks
    ]
    caption = "A tick is one message to every connection."
    yield Table(("tick", "sent", "received", "seconds", "deliveries a second"), rows, caption)


SHARES = ("50%", "90%", "99%", "slowest")
"""Heads of the columns of percentiles."""


def timing(record: Record) -> Iterator[Table]:
    """How long connections took to open."""
    found = None if record.summary is None else record.summary.timing
    if found is None:
        return
    times = (
        ("connected", found.connect_ms),
        ("handshake of TLS over", found.tls_ms),
        ("first byte", found.first_byte_ms),
        ("open", found.open_ms),
    )
    rows = [_percentiles(name, one) for name, one in times if one is not None]
    caption = "From when a connection was begun, each at most 3.2% too high."
    yield Table(("milliseconds until", *SHARES), rows, caption)


def tls(record: Record) -> Iterator[Table]:
    """What handshakes of TLS agreed on, and what they cost."""
    summary = record.summary
    if summary is None or summary.tls is None:
        return
    client, server = summary.tls, summary.server_tls
    rows = [
        ("handshakes", f"{client.handshakes:,}", "" if server is None else f"{server.handshakes:,}"),
        *_versions(client, server),
        *((cipher, f"{count:,}", "") for cipher, count in client.ciphers.items()),
        ("resumed", client.resumed_in_words, "" if server is None else f"{server.resumed:,}"),
        ("tickets received, and sent", f"{client.tickets:,}", "" if server is None else f"{server.tickets:,}"),
        ("CPU of a handshake", _cpu_of(client), "" if server is None else _cpu_of(server)),
        ("certificates", "verified" if client.is_verified else "not verified (--insecure)", ""),
        *(() if server is None else (("ended otherwise than in order", "", _by_cause(server.ends)),)),
    ]
    if server is None:
        rows = [row[:2] for row in rows]
    caption = "Bytes of keys and of handshakes under way are in what one connection costs."
    yield Table(("TLS", "client", "server")[: len(rows[0])], rows, caption, kind="words")


def _versions(client: Tls, server: ServerTls | None) -> Iterator[tuple[str, str, str]]:
    """How many of the connections are of TLS 1.2, which keep an object each; all others are of TLS 1.3."""
    for name, is_kept in (("of TLS 1.3", False), ("of TLS 1.2", True)):
        ours, theirs = (
            None if one is None else one.kept if is_kept else one.handshakes - one.kept for one in (client, server)
        )
        if ours or theirs:
            yield name, f"{ours:,}", "" if theirs is None else f"{theirs:,}"


def _cpu_of(end: Tls | ServerTls) -> str:
    return NOT_MEASURED if end.cpu_ms is None else f"{number(end.cpu_ms)} ms"


def _by_cause(ends: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in ends.items()) or "0"


def lifetimes(record: Record) -> Iterator[Table]:
    """How long the connections had lived that closed early."""
    found = None if record.summary is None else record.summary.lifetimes
    if found is None:
        return
    rows = [_percentiles("they were open", found.life_seconds), _percentiles("their last byte", found.quiet_seconds)]
    caption = f"Of {counted(found.ended, 'connections')} that closed early."
    yield Table(("seconds since", *SHARES[:-1], "longest"), rows, caption)


def _percentiles(name: str, found: Percentiles) -> tuple[str, ...]:
    return (name, *(number(value) for value in msgspec.structs.astuple(found)))


@dataclass(frozen=True)
class Cause:
    """Why connections failed or closed early, as the page has it."""

    name: str
    happened: str
    """To how many connections, and how far they had come."""
    what: str
    remedy: str
    note: str | None
    answer: str | None
    """The beginning of an answer that ended so, a line of its head on each line."""


def causes(record: Record) -> list[Cause]:
    """Each name by which connections failed or closed early, as the summary has it."""
    told = [] if record.summary is None else record.summary.causes
    return [
        Cause(
            one.name,
            _happened(one),
            one.what,
            one.remedy,
            one.note,
            None if one.answer is None else one.answer.replace(_LINE_END, f"{_LINE_END}\n"),
        )
        for one in told
    ]


_LINE_END = r"\r\n"
"""How it is written in the beginnings of answers, all of whose bytes can be seen."""


def _happened(cause: CauseInWords) -> str:
    _, _, phase = cause.name.partition("@")
    what = f"failed in the phase {phase}" if phase else "closed early"
    return f"{counted(cause.count, 'connections')} {what}"


def missing(record: Record) -> str:
    """Say what of this a record does not have because it is from before the summary had it; nothing if it has all."""
    if record.summary is None:
        return ""
    has = record.part("summary")
    what = {"timing": "times to open", "lifetimes": "lifetimes", "causes": "causes in words"}
    without = [words for key, words in what.items() if key not in has]
    return f"This record, of an older floodtest, does not have: {', '.join(without)}." if without else ""


def connections(record: Record) -> Iterator[Table]:
    """What became of the planned connections, by the summary."""
    summary = record.summary
    if summary is not None:
        c = summary.connections
        failed, closed = (_named(counts) for counts in (c.failed, c.closed_by))
        asked = [("protocol", summary.protocol), ("open when", summary.opened_when)]
        yield Table(
            ("", "connections"),
            (
                ("planned", f"{c.planned:,}"),
                ("opened", f"{c.opened:,}, {number(summary.ramp.per_second)} a second"),
                ("failed", f"{sum(c.failed.values()):,}{failed}"),
                ("closed early", f"{c.closed_early:,}{closed}"),
                ("not reached", f"{c.not_reached:,}"),
                *((name, value) for name, value in asked if value is not None),
            ),
            kind="words",
        )


def _named(counts: dict[str, int]) -> str:
    return f": {', '.join(f'{count:,} {name}' for name, count in counts.items())}" if counts else ""


def facts(record: Record) -> Iterator[Table]:
    """Options, and facts about the host and the programs."""
    told = [
        (str(name), _fact(value))
        for part in ("options", "host", "versions")
        for name, value in record.part(part).items()
        if value is not None
    ]
    if told:
        yield Table(("option or fact", "value"), told, kind="words")


def _fact(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
