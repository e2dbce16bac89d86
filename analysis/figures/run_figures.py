"""What of a run is compared: figures by name. In: a run's findings. Out: name -> (unit, figure). Pure.

A figure is an `Estimate` where samples of the run tell how uncertain it is, a number where they do not, and None where
the run has none. The unit is one of `WRITERS` in `compare.py`.
"""

import numpy as np

from floodtest.analysis.figures.client_share import percentiles_of
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.lines_of_code import lines_of_code
from floodtest.analysis.figures.memory import ENDS
from floodtest.analysis.figures.series import Floats, in_stage, mean_of, percentiles, rate_of
from floodtest.analysis.record import Record
from floodtest.analysis.record.stages import Stage

Found = Estimate | float | None

MANY = 6
"""Independent figures of which all are on one side of their mean once in 32 times."""

ONE_MORE = "one more connection"

LATENCY, AT_ARRIVAL, OWN = "latency", "latency at arrival", "latency, client's own"
"""To the read, of all messages; of the sample's messages to their arrival, and from there to the read."""

TIMED = (
    "connect",
    "handshake of TLS over",
    "first byte",
    "open",
    "closed early, since open",
    "closed early, since the last byte",
)
"""Durations of connections, of which a summary has percentiles."""


def figures(findings: Findings) -> dict[str, tuple[str, Found]]:
    """Return what of a run is compared: name -> (unit, figure)."""
    record = findings.record
    found: dict[str, tuple[str, Found]] = {}
    for end, finding in findings.memory.items():
        found[f"{ENDS[end]}, {ONE_MORE}"] = ("B", finding.one_more)
        found[f"{ENDS[end]}, all of it, each"] = ("B", None if finding.measured is None else finding.measured.value)
    found["opened"] = ("/s", _opening(record))
    found["deliveries"] = ("/s", _deliveries(record))
    for share, name in ((0.5, "50%"), (0.99, "99%")):
        found[f"{LATENCY}, {name}"] = ("ms", _latency(findings, share))
    found |= _arrivals(record)
    found |= _durations(record)
    found |= _handshakes(record)
    for end in ("server", "client"):
        found[f"{end} CPU for 1,000 deliveries"] = ("s", _cpu(record, f"{end}_cpu"))
    found["code of the server"] = ("lines", lines_of_code(record))
    return found


def _arrivals(record: Record) -> dict[str, tuple[str, Found]]:
    """The latency to the arrival, and the client's own, by the sample of messages whose arrival the kernel told."""
    share = None if record.summary is None else record.summary.client_share
    told = {} if share is None else {one.name: one for one in percentiles_of(share)}
    found: dict[str, tuple[str, Found]] = {}
    for name, shown in (("p50", "50%"), ("p99", "99%")):
        one = told.get(name)
        found[f"{AT_ARRIVAL}, {shown}"] = ("ms", None if one is None else one.arrived)
        found[f"{OWN}, {shown}"] = ("ms", None if one is None else one.own)
    return found


def _durations(record: Record) -> dict[str, tuple[str, Found]]:
    """How long connections took to open, and how long those had lived that closed early, as the summary has it."""
    summary = record.summary
    timing, lifetimes = (None, None) if summary is None else (summary.timing, summary.lifetimes)
    found = (
        *((None,) * 4 if timing is None else (timing.connect_ms, timing.tls_ms, timing.first_byte_ms, timing.open_ms)),
        *((None, None) if lifetimes is None else (lifetimes.life_seconds, lifetimes.quiet_seconds)),
    )
    return {
        f"{name}, {share}": (unit, None if one is None else float(getattr(one, field)))
        for name, unit, one in zip(TIMED, ("ms", "ms", "ms", "ms", "s", "s"), found, strict=True)
        for field, share in (("p50", "50%"), ("p99", "99%"))
    }


def _handshakes(record: Record) -> dict[str, tuple[str, Found]]:
    """What a handshake of TLS costs either end, and how many of a hundred took up a session."""
    summary = record.summary
    client, server = (None, None) if summary is None else (summary.tls, summary.server_tls)
    return {
        "client CPU for a handshake of TLS": ("ms", None if client is None else client.cpu_ms),
        "server CPU for a handshake of TLS": ("ms", None if server is None else server.cpu_ms),
        "handshakes of TLS resumed": (
            "%",
            100 * client.resumed / client.handshakes if client is not None and client.handshakes else None,
        ),
    }


def _opening(record: Record) -> Found:
    """Opened a second, as the run has it, with the interval of the rates in equal parts of the ramp.

    Rates that rise or fall throughout count as one or two, and would have an interval without end; but the mean of many
    is hardly outside all of them.
    """
    rates = _opening_rates(record)
    if not len(rates):
        return None if record.summary is None else record.summary.ramp.per_second
    value = float(rates.mean()) if record.summary is None else record.summary.ramp.per_second
    found = _about(value, rates)
    if not isinstance(found, Estimate) or len(rates) < MANY:
        return found
    return Estimate(value, max(found.low, min(value, rates.min())), min(found.high, max(value, rates.max())))


def _opening_rates(record: Record) -> Floats:
    """Rates in equal parts of the ramp, each as long as the longest between two samples: those come faster early."""
    kept = in_stage(record, Stage.RAMP)
    time, opened = record.column("time")[kept], record.column("open")[kept]
    longest = np.diff(time).max(initial=0)
    if longest <= 0:
        return np.zeros(0)
    ends = np.linspace(time[0], time[-1], int((time[-1] - time[0]) / longest) + 1)
    rates: Floats = np.diff(np.interp(ends, time, opened)) / np.diff(ends)
    return rates


def _deliveries(record: Record) -> Found:
    summary = record.summary
    if summary is None:
        return None
    if summary.messages is not None:
        value = summary.messages.per_second
        return None if value is None else _about(value, _delivered(record))
    rates = np.array([tick.per_second for tick in summary.ticks if tick.per_second is not None], np.float64)
    return _about(float(np.median(rates)), rates) if len(rates) else None


def _delivered(record: Record) -> Floats:
    """Rates of delivery in whole intervals, those without any included, from the first delivery to the last."""
    kept = in_stage(record, Stage.MESSAGES)
    count = record.column("messages")[kept]
    begun = np.flatnonzero(count > count.min(initial=np.inf))
    unfinished = np.flatnonzero(count < count.max(initial=-np.inf))
    if not len(begun) or not len(unfinished):
        return np.zeros(0)
    times = record.column("time")[kept]
    at, rate = rate_of(record, "messages", Stage.MESSAGES)
    inside: Floats = rate[(at > times[begun[0]]) & (at <= times[unfinished[-1]])]
    return inside


def _about(value: float, figures: Floats) -> Estimate | float:
    """Return a figure, which can't be below 0, with the width of the interval of such figures' mean, if it has one."""
    spread = mean_of(figures)
    if spread is None or spread.high <= spread.low:
        return value
    return Estimate(value, max(0.0, value + spread.low - spread.value), value + spread.high - spread.value)


def _latency(findings: Findings, share: float) -> Found:
    """Milliseconds of all messages; the interval is that of the mean of the samples' own percentiles about them."""
    found = percentiles(findings.latency, np.array([share]))
    if found is None:
        return None
    return _about(float(found[0]), findings.record.column(f"latency_p{share * 100:.0f}"))


def _cpu(record: Record, field: str) -> Found:
    """CPU milliseconds of a delivery of messages, or of ticks without any; the interval is that of the residuals."""
    has_messages = in_stage(record, Stage.MESSAGES).any()
    stage, count = (Stage.MESSAGES, "messages") if has_messages else (Stage.HOLD, "received")
    kept = in_stage(record, stage)
    used, read = (np.diff(record.column(name)[kept]) for name in (field, count))
    known = np.isfinite(used) & np.isfinite(read)
    used, read = used[known], read[known]
    if read.sum() < 1000:
        return None
    ratio = float(used.sum() / read.sum())
    rest = mean_of(used - ratio * read)
    half = 0.0 if rest is None else (rest.high - rest.value) / float(read.mean())
    value = 1000 * ratio
    return Estimate(value, value - 1000 * half, value + 1000 * half) if half > 0 else value
