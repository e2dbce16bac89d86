"""Comparison: run records beside each other. In: two records or more. Out: a table, its page and overlaid plots.

Each figure has its ratio to the first run's, and is called not significant where both uncertainties explain the
difference (95%). Records of different formats or hosts are refused unless forced: their ratios would be of the hosts.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from floodtest.analysis.figures.findings import Findings, read_findings
from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.formatting import each, number, plain
from floodtest.analysis.figures.lines_of_code import lines_of_code
from floodtest.analysis.figures.memory import ENDS
from floodtest.analysis.figures.series import Floats, in_stage, mean_of, percentiles, rate_of, source_of_latency
from floodtest.analysis.record import Record
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.errors import Refused, UsageError

MANY = 6
"""Independent figures of which all are on one side of their mean once in 32 times."""

WRITERS: dict[str, Callable[[float], str]] = {"B": each, "/s": number, "ms": number, "s": number, "lines": number}


class Cell(msgspec.Struct, frozen=True):
    """A figure of one run; `low` and `high` end its 95% interval, None where it is a single figure."""

    value: float
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    """To the first run's; None where either is not above 0."""
    significant: bool | None = None
    """Whether it differs from the first run's; None where that can't be said."""


class Row(msgspec.Struct, frozen=True):
    """A figure of all runs, None for those that do not have it. `unit` is B, /s, ms, s or lines."""

    name: str
    unit: str
    cells: list[Cell | None]


class Table(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    runs: list[str]
    differences: list[str]
    """What is not alike about the runs, where --force let them be compared."""
    rows: list[Row]


@dataclass(frozen=True)
class Comparison:
    """A table, and the findings it was made of."""

    findings: list[Findings]
    table: Table


Found = Estimate | float | None


def compare(records: list[Record], force: bool = False) -> Comparison:
    """Compare; UsageError for fewer than two, Refused for what is not alike unless forced."""
    if len(records) < 2:
        raise UsageError("A comparison takes two runs or more.")
    unlike = differences(records)
    if unlike and not force:
        raise Refused(f"These runs are not alike: {'; '.join(unlike)}. With --force they are compared all the same.")
    findings = [read_findings(record) for record in records]
    found = [figures(each) for each in findings]
    names = {name: unit for figure in found for name, (unit, _) in figure.items()}
    rows = [
        Row(name, unit, _cells([figure.get(name, (unit, None))[1] for figure in found])) for name, unit in names.items()
    ]
    kept = [row for row in rows if any(row.cells)]
    return Comparison(findings, Table([str(record.folder) for record in records], unlike, kept))


def differences(records: list[Record]) -> list[str]:
    """Name what differs about formats and hosts, with both values."""
    first, found = records[0], []
    for record in records[1:]:
        pairs = [("format", first.run["format"], record.run["format"])]
        here, there = (one.part("host") for one in (first, record))
        names = [name for name in {**here, **there} if name != "slabinfo"]  # whether root ran it, not where
        sources = source_of_latency(first), source_of_latency(record)
        pairs += [("latency", *sources)] if None not in sources else []
        pairs += [(name, here.get(name), there.get(name)) for name in names]
        found += [
            f"{plain(name)} is {plain(a)} in {plain(first.folder)} and {plain(b)} in {plain(record.folder)}"
            for name, a, b in pairs
            if a != b
        ]
    return found


def _cells(found: list[Found]) -> list[Cell | None]:
    base = found[0]
    return [None if one is None else _cell(one, base, first=at == 0) for at, one in enumerate(found)]


def _cell(found: Estimate | float, base: Found, first: bool) -> Cell:
    value, reference = _value(found), None if base is None else _value(base)
    low, high = (found.low, found.high) if isinstance(found, Estimate) else (None, None)
    if first or reference is None:
        return Cell(value, low, high)
    significant = found.differs_from(base) if isinstance(found, Estimate) and isinstance(base, Estimate) else None
    ratio = value / reference if value > 0 and reference > 0 else None
    return Cell(value, low, high, ratio, significant)


def _value(found: Estimate | float) -> float:
    return found.value if isinstance(found, Estimate) else found


def figures(findings: Findings) -> dict[str, tuple[str, Found]]:
    """Return what of a run is compared: name -> (unit, figure)."""
    record = findings.record
    found: dict[str, tuple[str, Found]] = {}
    for end, finding in findings.memory.items():
        found[f"{ENDS[end]}, one more connection"] = ("B", None if finding.fit is None else finding.fit.slope)
        found[f"{ENDS[end]}, all of it, each"] = ("B", None if finding.measured is None else finding.measured.value)
    found["opened"] = ("/s", _opening(record))
    found["deliveries"] = ("/s", _deliveries(record))
    for share, name in ((0.5, "50%"), (0.99, "99%")):
        found[f"latency, {name}"] = ("ms", _latency(findings, share))
    found |= _durations(record)
    for end in ("server", "client"):
        found[f"{end} CPU for 1,000 deliveries"] = ("s", _cpu(record, f"{end}_cpu"))
    found["code of the server"] = ("lines", lines_of_code(record))
    return found


def _durations(record: Record) -> dict[str, tuple[str, Found]]:
    """How long connections took to open, and how long those had lived that closed early, as the summary has it."""
    summary = record.summary
    timing, lifetimes = (None, None) if summary is None else (summary.timing, summary.lifetimes)
    durations = (
        ("connect", "ms", None if timing is None else timing.connect_ms),
        ("first byte", "ms", None if timing is None else timing.first_byte_ms),
        ("open", "ms", None if timing is None else timing.open_ms),
        ("closed early, since open", "s", None if lifetimes is None else lifetimes.life_seconds),
        ("closed early, since the last byte", "s", None if lifetimes is None else lifetimes.quiet_seconds),
    )
    return {
        f"{name}, {share}": (unit, None if found is None else float(getattr(found, field)))
        for name, unit, found in durations
        for field, share in (("p50", "50%"), ("p99", "99%"))
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
    """CPU seconds over deliveries of messages, of ticks where there are none: with the interval of what is left."""
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


def labels(count: int) -> list[str]:
    """Name runs A, B, C …; beyond 26 by number."""
    return [string.ascii_uppercase[at] if at < 26 else str(at + 1) for at in range(count)]


def write_cell(cell: Cell | None, unit: str) -> str:
    """Write a figure, its ratio, and whether the difference means anything."""
    if cell is None:
        return "-"
    text = WRITERS[unit](cell.value)
    if cell.ratio is None:
        return text
    said = {True: "", False: ", not significant", None: ", no interval"}[cell.significant]
    return f"{text} (x{cell.ratio:.2f}{said})"


def row_title(row: Row) -> str:
    """Name a row with its unit, where the figures do not bring it."""
    unit = {"B": "", "lines": "", "/s": " a second", "ms": ", ms", "s": ", s"}[row.unit]
    return f"{row.name}{unit}"


def render(comparison: Comparison) -> str:
    """Write the table for a terminal."""
    found = comparison.table
    names = labels(len(found.runs))
    grid = [["", *names], *([row_title(row), *(write_cell(c, row.unit) for c in row.cells)] for row in found.rows)]
    widths = [max(len(line[at]) for line in grid) for at in range(len(names) + 1)]
    lines = [f"{name}  {_told(each.record)}" for name, each in zip(names, comparison.findings, strict=True)]
    lines += [f"not alike: {difference}" for difference in found.differences]
    lines.append("")
    for line in grid:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("   ".join([line[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join([*lines, "", NOTE])


NOTE = (
    "x is the ratio to A. Where nothing more is said the difference is significant at 95%. No interval: a figure is a\n"
    "single one (all of it, times to open, lifetimes, lines of code), so that nothing says whether the difference is."
)


def _told(record: Record) -> str:
    """Name a run by its folder and, on one line without control characters, its command."""
    command = record.run.get("command")
    return plain(f"{record.folder}  {command if isinstance(command, str) else ''}".rstrip())
