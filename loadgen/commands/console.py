"""What a person sees: progress while a run goes, and its summary at the end. Everything goes to stderr but the summary.

On a terminal a live bar with rate and time left, and the figures below it; on a pipe one plain line an interval.
"""

import sys
from collections.abc import Sequence

import msgspec

from floodtest.analysis import Sample, Summary
from floodtest.analysis.figures.client_share import percentiles_of, sample_in_words
from floodtest.analysis.figures.formatting import each_between, number, plain
from floodtest.analysis.figures.memory import ENDS, MILLION
from floodtest.analysis.figures.servers_of_2008 import HISTORY, is_as_in_2008
from floodtest.analysis.figures.summary_figures import one_more_of
from floodtest.analysis.record.samples import memory_left
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import (
    ClientShare,
    Cost,
    Latency,
    Messages,
    Models,
    Network,
    Percentiles,
    ServerTimes,
    ServerTls,
    Tls,
)
from floodtest.flyweight.command.counted import counted, was
from floodtest.flyweight.command.units import NOT_MEASURED, size
from floodtest.loadgen.plan.models import DEFAULT_CLIENT_MODEL, DEFAULT_SERVER_MODEL
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher

MOST_CAUSES = 5
"""Causes that are told in words; all of them are in the summary of the record."""


class Rate:
    """The rate of opening between two samples, and the time left at that rate."""

    def __init__(self) -> None:
        self._last: Sample | None = None
        self.per_second = 0.0

    def update(self, sample: Sample) -> None:
        if self._last is not None and sample.time > self._last.time:
            self.per_second = (sample.open - self._last.open) / (sample.time - self._last.time)
        self._last = sample

    def left(self, sample: Sample, planned: int) -> str:
        if sample.stage != Stage.RAMP or self.per_second <= 0 or sample.open == planned:
            return ""
        return f"{(planned - sample.open) / self.per_second:.0f} s left"


def figures(sample: Sample) -> str:
    """Write what a sample has besides the connections that are open."""
    parts = [
        f"failed {sample.failed:,}",
        f"closed early {sample.closed_early:,}",
        f"messages {sample.received:,}" if sample.stage != Stage.MESSAGES else f"deliveries {sample.messages:,}",
        f"received {size(sample.bytes)}",
        f"server {size(sample.server_private)}",
        f"client {size(sample.client_private)}",
        f"kernel {size(sample.kernel)}",
        f"available {size(memory_left(sample))}",
    ]
    return ", ".join(parts)


def closing(sample: Sample) -> str:
    """Write what a sample has to say while connections are closed."""
    return f"{sample.tcp_inuse:,} TCP sockets are left in this network, of both ends and of whatever else runs in it"


class PlainConsole(Watcher):
    """One line a sample."""

    def __init__(self) -> None:
        self._rate = Rate()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def sample(self, sample: Sample, reading: Reading) -> None:
        if sample.stage == Stage.CLOSE:
            self.say(f"{sample.time:6.1f} s close {closing(sample)}")
            return
        self._rate.update(sample)
        planned = reading.states.planned
        left = self._rate.left(sample, planned)
        rate = f" ({self._rate.per_second:,.0f}/s{', ' if left else ''}{left})" if sample.stage == Stage.RAMP else ""
        self.say(f"{sample.time:6.1f} s {sample.stage:5} open {sample.open:,} of {planned:,}{rate}, {figures(sample)}")


def _memory_lines(summary: Summary) -> list[str]:
    memory, opened = summary.memory, summary.connections.peak_open
    server, kernel = memory.server_user_bytes_per_connection, memory.kernel_bytes_per_connection
    client = memory.client_user_bytes_per_connection
    rows = [
        (ENDS["server"], memory.server, server, memory.server_fixed_bytes),
        (ENDS["client"], memory.client, client, memory.client_fixed_bytes),
        (ENDS["kernel"], memory.kernel, kernel, None),
    ]
    lines = [_memory_line(name, cost, each, opened, fixed) for name, cost, each, fixed in rows]
    if server is not None and kernel is not None and is_as_in_2008(summary.models.server is not None, opened):
        lines.append(_line_of_a_million("server, all of it", server + kernel / 2, opened))
        lines += [_line_of_a_million(name, own + kept, MILLION) for name, (own, kept) in HISTORY.items()]
    return [*lines, *_prediction_line(summary)]


def _prediction_line(summary: Summary) -> list[str]:
    """Write what was measured and predicted; of a server that is not ours no user memory is predicted."""
    memory, each = summary.memory, summary.memory.server_user_bytes_per_connection
    if memory.predicted_bytes is None or memory.measured_bytes is None:
        return []
    measured, predicted = size(memory.measured_bytes), size(memory.predicted_bytes)
    if summary.models.server is not None:
        return [f"  in all, {measured} measured and {predicted} predicted"]
    if each is None:
        return [f"  in all but the server's user memory, {measured} measured and {predicted} predicted"]
    everything = size(memory.measured_bytes + each * summary.connections.peak_open)
    return [f"  in all, {everything} measured; without the server's user memory {measured}, of {predicted} predicted"]


def _memory_line(name: str, cost: Cost | None, each: float | None, connections: int, fixed: int | None) -> str:
    """Write what one more connection costs, what was there before the first connection, and what all took together."""
    if each is None:
        return f"  {name:20} {NOT_MEASURED}"
    if each <= 0:
        return f"  {name:20} not measurable: the kernel of this machine has less memory than before"
    one_more = None if cost is None else one_more_of(cost)
    told = "too few samples for one more" if one_more is None else f"{each_between(one_more)} for one more"
    before = "" if fixed is None else f"{size(fixed)} before the first, "
    return f"  {name:20} {told}; {before}{size(each * connections)} for {connections:,}"


def _line_of_a_million(name: str, each: float, connections: float) -> str:
    return f"  {name:20} {size(each * connections)} for {connections:,.0f}"


def _message_lines(messages: Messages) -> list[str]:
    behind = messages.most_behind_seconds
    lag = "" if behind is None else f", at the most {behind:.3f} s after their time"
    rate = "" if messages.per_second is None else f", {messages.per_second:,.0f} a second"
    wrong = f", to another user {messages.misdelivered:,}" if messages.misdelivered else ""
    lines = [
        f"messages      {messages.published:,} of {messages.planned:,} published{lag}",
        f"deliveries    {messages.received:,} of {messages.expected:,} received in {messages.seconds:.1f} s{rate}",
        f"lost          {messages.lost:,}, duplicated {messages.duplicated:,}{wrong}",
    ]
    for name, latency in [("latency", messages.latency_ms), ("uncorrected", messages.uncorrected_latency_ms)]:
        if latency is not None:
            lines.append(f"{name:14}{_latency(latency)}")
    return lines


def _latency(latency: Latency) -> str:
    shares = zip(("p50", "p90", "p99", "p99.9", "max"), msgspec.structs.astuple(latency), strict=True)
    return ", ".join(f"{share} {value:,.1f}" for share, value in shares) + " ms"


def _lines_of_times(times: ServerTimes) -> list[str]:
    """Write what the times say that the server writes into its messages."""
    latency = "none" if times.latency_ms is None else _latency(times.latency_ms)
    offset = f", its clock {times.clock_offset_seconds:+g} s" if times.clock_offset_seconds else ""
    others = (
        (times.without, "without a time"),
        (times.ahead, "sent after they were read"),
        (times.old, "sent over 71 minutes ago"),
        (times.unreadable, "of what is no time"),
    )
    told = "".join(f", {count:,} {what}" for count, what in others if count)
    return [
        f"latency       {latency}, by the time in the server's messages{offset}",
        f"times         {counted(times.timed, 'messages')} with a time{told}",
    ]


def _lines_of_share(share: ClientShare) -> list[str]:
    """Write how much of the latency is the client's own."""
    found = percentiles_of(share)
    if not found:
        why = share.note or f"there are only {sample_in_words(share)} whose arrival is known"
        return [f"at arrival    not known: {plain(why)}"]
    arrived = ", ".join(f"{one.name} {number(one.arrived)}" for one in found)
    own = ", ".join(f"{number(one.own)} ms of {one.name}" for one in found)
    return [
        f"at arrival    {arrived} ms, by {sample_in_words(share)}",
        f"client's own  {own}: by so much each is later at the read",
    ]


def _cause_lines(summary: Summary) -> list[str]:
    """Say in words why connections failed or closed early, and show one answer that did not open its connection."""
    lines = []
    for cause in summary.causes[:MOST_CAUSES]:
        lines.append(f"cause         {cause.name} {cause.count:,}: {cause.what} {cause.remedy}".rstrip())
        if cause.note is not None:
            lines.append(f"              {cause.note}")
    for cause in summary.causes:
        if cause.answer is not None:
            lines.append(f"answer        of {cause.name}: {cause.answer}")
            break
    return lines


def _timing_lines(summary: Summary) -> list[str]:
    """Write how long connections took to open, and how long those had lived that closed early."""
    lines, timing, lifetimes = [], summary.timing, summary.lifetimes
    if timing is not None:
        times = (
            ("connect", timing.connect_ms),
            ("tls", timing.tls_ms),
            ("first byte", timing.first_byte_ms),
            ("open", timing.open_ms),
        )
        told = [f"{name} {_percentiles(found)}" for name, found in times if found is not None]
        lines.append(f"timing        {'; '.join(told)} ms")
    if lifetimes is not None:
        lived, quiet = _percentiles(lifetimes.life_seconds), _percentiles(lifetimes.quiet_seconds)
        lines.append(f"lifetimes     of those closed early: {lived} s; since their last byte {quiet} s")
        lines += [] if lifetimes.note is None else [f"              {lifetimes.note}"]
    return lines


def _tls_lines(tls: Tls) -> list[str]:
    """Write what connections over TLS have agreed on, and what that cost."""
    ciphers = ", ".join(f"{name} {count:,}" for name, count in sorted(tls.ciphers.items(), key=lambda item: -item[1]))
    told = [
        *([ciphers] if ciphers else []),
        f"{tls.resumed_in_words} resumed",
        *([] if tls.cpu_ms is None else [f"{tls.cpu_ms * 1000:,.0f} µs of the client's CPU each"]),
        *([f"{tls.kept:,} of TLS 1.2, which keep 15 to 35 KiB each"] if tls.kept else []),
        *([f"{tls.tickets:,} tickets"] if tls.tickets else []),
        *([f"{tls.key_updates:,} updates of keys"] if tls.key_updates else []),
        *([] if tls.is_verified else ["no certificate was verified (--insecure)"]),
    ]
    return [f"tls           {counted(tls.handshakes, 'handshakes')}: {'; '.join(told)}"]


def _server_tls_line(tls: ServerTls) -> str:
    """Write what our own server has to say of its handshakes."""
    ends = ", ".join(f"{name} {count:,}" for name, count in sorted(tls.ends.items(), key=lambda item: -item[1]))
    told = [
        f"{tls.resumed:,} resumed",
        *([] if tls.cpu_ms is None else [f"{tls.cpu_ms * 1000:,.0f} µs of its CPU each"]),
        *([f"{tls.kept:,} of TLS 1.2, which keep 15 to 35 KiB each"] if tls.kept else []),
        *([f"{tls.tickets:,} tickets"] if tls.tickets else []),
        *([f"{tls.key_updates:,} updates of keys"] if tls.key_updates else []),
        *([f"{tls.late:,} given up, as they took too long"] if tls.late else []),
        *([f"ended by {ends}"] if ends else []),
    ]
    return f"server's tls  {counted(tls.handshakes, 'handshakes')}: {'; '.join(told)}"


def _percentiles(found: Percentiles) -> str:
    shares = zip(("p50", "p90", "p99", "max"), msgspec.structs.astuple(found), strict=True)
    return ", ".join(f"{share} {value:,.{1 if value >= 1 else 2}f}" for share, value in shares)


def _network(network: Network) -> str:
    """Write where the run was."""
    if network.kind == "host":
        return "the host's"
    link = "" if network.link == "loopback" else f" over {network.link}"
    table = "" if network.hash_entries is None else f", with a table of {network.hash_entries:,} entries"
    return f"{network.kind}{link}{table}"


def _server_lines(summary: Summary) -> list[str]:
    """Write where connections went and whose memory is the server's, where that is not ours."""
    server = summary.server
    if server is None or summary.models.server is not None:
        return []
    named = ", ".join(f"{process.name} (process {process.pid})" for process in server.processes)
    whose = f"{named} and children" if named else "not measured"
    lines = [f"server        {whose}: {server.found}"]
    if summary.opened_when is not None:
        lines.append(f"protocol      {summary.protocol}; open when: {plain(summary.opened_when)}")
    if len(server.addresses) > 1:
        lines.append(f"addresses     {len(server.addresses)} {server.placed}: {', '.join(server.addresses)}")
    return lines


def render(summary: Summary, doubts: Sequence[str] = ()) -> str:
    """Write the summary for a person, with what changes how its figures are to be read."""
    c, ramp, workers = summary.connections, summary.ramp, summary.workers
    server = "the server is not ours" if workers.server is None else f"{workers.server} server"
    outcome: str = summary.outcome
    if summary.reasons and outcome == "shortfall":
        outcome += ", for the reasons below"
    lines = [
        f"{outcome}: {c.peak_open:,} of {counted(c.planned, 'connections')} {was(c.peak_open)} open at once",
        *(f"  {reason}" for reason in summary.reasons),
        "",
        *([] if summary.answer is None else [summary.answer, ""]),
        f"opened        {c.opened:,} in {ramp.seconds:,.1f} s, {ramp.per_second:,.0f} a second",
        f"failed        {sum(c.failed.values()):,}",
        f"closed early  {c.closed_early:,}",
        f"not reached   {c.not_reached:,}",
        *_cause_lines(summary),
        *_timing_lines(summary),
        *([] if summary.tls is None else _tls_lines(summary.tls)),
        *([] if summary.server_tls is None else [_server_tls_line(summary.server_tls)]),
        f"received      {counted(summary.received, 'messages')}, {size(summary.bytes)}",
        f"workers       {workers.client} client, {server}; {workers.files_limit:,} files each",
    ]
    if (models := summary.models) != Models(DEFAULT_CLIENT_MODEL, models.server and DEFAULT_SERVER_MODEL):
        lines.append(f"models        client {models.client}" + (f", server {models.server}" if models.server else ""))
    lines += [f"network       {_network(summary.network)}", *_server_lines(summary)]
    for threshold in summary.thresholds:
        value = "not measured" if threshold.value is None else f"{threshold.value:,}"
        lines.append(f"threshold     {threshold.condition}: {value}, {'fell short' if threshold.failed else 'kept'}")
    if c.replaced_ports:
        lines.append(f"ports         {c.replaced_ports:,} left to others and replaced by spares")
    for tick in summary.ticks:
        sent = "" if tick.sent is None else f" of {tick.sent:,}"
        rate = "" if tick.per_second is None else f", {tick.per_second:,.0f} a second"
        lines.append(f"tick {tick.number:<9}{tick.received:,}{sent} received in {tick.seconds:.2f} s{rate}")
    if summary.messages is not None:
        lines += _message_lines(summary.messages)
    if summary.server_times is not None:
        lines += _lines_of_times(summary.server_times)
    if summary.client_share is not None:
        lines += _lines_of_share(summary.client_share)
    if summary.cpu.server_idle_share is not None and summary.cpu.client_idle_share is not None:
        server_share, client_share = summary.cpu.server_idle_share, summary.cpu.client_idle_share
        lines.append(f"idle CPU      server {server_share:.1%}, client {client_share:.1%} of a core, while holding")
    lines += ["", "memory", *_memory_lines(summary), ""]
    told = [*(f"doubt         {doubt}" for doubt in doubts), *([""] if doubts else [])]
    return "\n".join([*lines, *told, f"record: {summary.run}"])
