"""Comparison: groups of runs beside each other. In: the records of each group, one or more. Out: a table.

Each figure of a group is the median of its runs', and has its ratio to the first group's. Whether they differ is judged
by the scatter between the runs of a group (`figures.groups`). One run a side does not show that scatter, so nothing is
called significant there; where both runs' own uncertainties explain the difference (95%), it is called not significant.
A figure that depends on how many connections were open has no ratio where these numbers differ. Records of different
formats or hosts are refused unless forced: their ratios would be of the hosts.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np

from floodtest.analysis.figures.client_share import doubt_of, percentiles_of
from floodtest.analysis.figures.findings import Findings, read_findings
from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.formatting import each, listed, number, plain
from floodtest.analysis.figures.groups import LEAST_RUNS, Difference, difference
from floodtest.analysis.figures.lines_of_code import lines_of_code
from floodtest.analysis.figures.memory import ENDS
from floodtest.analysis.figures.series import Floats, in_stage, mean_of, percentiles, rate_of, source_of_latency
from floodtest.analysis.record import Record
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.errors import Refused, UsageError

MANY = 6
"""Independent figures of which all are on one side of their mean once in 32 times."""

WRITERS: dict[str, Callable[[float], str]] = {"B": each, "/s": number, "ms": number, "s": number, "lines": number}

ONE_MORE = "one more connection"

LATENCY, AT_ARRIVAL, OWN = "latency", "latency at arrival", "latency, client's own"
"""To the read, of all messages; of the sample's messages to their arrival, and from there to the read."""

SIZES_ALIKE = 1.02
"""Times the fewest connections of some runs, up to which the most are taken for as many."""

TIMED = ("connect", "first byte", "open", "closed early, since open", "closed early, since the last byte")
"""Durations of connections, of which a summary has percentiles."""

LATENCY_RESOLUTION, TIMED_RESOLUTION = 0.008, 0.032
"""By how much, as a share of it, a figure may be off for the width of a histogram's buckets."""


class Cell(msgspec.Struct, frozen=True):
    """A figure of one group."""

    value: float
    """The median of its runs."""
    values: list[float | None]
    """Of each run, in the order of the group's runs; None for those that have not got it."""
    low: float | None = None
    """The end of one run's own 95% interval; None where it is a single figure, and of several runs."""
    high: float | None = None
    ratio: float | None = None
    """Of the geometric means, to the first group's; None where a figure is not above 0, or the sizes differ."""
    ratio_low: float | None = None
    """Of the ratio's 95% interval; None where there is none."""
    ratio_high: float | None = None
    significant: bool | None = None
    """Whether it differs from the first group's; None where that can't be said."""

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]


class Row(msgspec.Struct, frozen=True):
    """A figure of all groups, None for those that do not have it. `unit` is B, /s, ms, s or lines."""

    name: str
    unit: str
    cells: list[Cell | None]

    @property
    def is_main(self) -> bool:
        """Whether it is among the few that tell of a series of runs: times to open, lifetimes and code are not."""
        return self.unit != "lines" and self.name.rpartition(", ")[0] not in TIMED


class Group(msgspec.Struct, frozen=True):
    """Runs that are taken for repetitions of one another."""

    label: str
    name: str | None
    """That their records have in common (--name), if they have one."""
    runs: list[str]
    """The folders of their records."""
    connections: list[int]
    """The most that each had open at once."""


class Table(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    groups: list[Group]
    differences: list[str]
    """What is not alike about the runs, where --force let them be compared."""
    remarks: list[str]
    """What is to be known about the groups: other numbers of connections, runs that fell short."""
    rows: list[Row]

    @property
    def without_scatter(self) -> list[str]:
        """The labels of groups that have too few runs for the scatter between them to be known."""
        return [group.label for group in self.groups if len(group.runs) < LEAST_RUNS]


@dataclass(frozen=True)
class Comparison:
    """A table, and the findings of each group that it was made of."""

    findings: list[list[Findings]]
    table: Table


Found = Estimate | float | None


def compare(groups: Sequence[Sequence[Record]], force: bool = False) -> Comparison:
    """Compare; UsageError for fewer than two groups, Refused for what is not alike unless forced."""
    if len(groups) < 2:
        raise UsageError("A comparison takes two runs or more.")
    for group in groups:
        _refuse_twice(group)
    unlike = differences([*chain(*groups)])
    if unlike and not force:
        raise Refused(f"These runs are not alike: {'; '.join(unlike)}. With --force they are compared all the same.")
    return tabulate(groups, unlike)


def tabulate(groups: Sequence[Sequence[Record]], unlike: list[str]) -> Comparison:
    """Make the table of one group or more, with what was found to be not alike about them."""
    findings = [[read_findings(record) for record in group] for group in groups]
    of_runs = [[figures(one) for one in group] for group in findings]
    told = [_group(label, group) for label, group in zip(labels(len(groups)), findings, strict=True)]
    units = {name: unit for group in of_runs for found in group for name, (unit, _) in found.items()}
    are_as_many = [_are_as_many(told[0], group) for group in told]
    rows = []
    for name, unit in units.items():
        found = [[run.get(name, (unit, None))[1] for run in group] for group in of_runs]
        is_divided = [_is_divided(name, unit, as_many) for as_many in are_as_many]
        rows.append(Row(name, unit, _cells(found, _resolution(name), is_divided, is_exact=unit == "lines")))
    kept = [row for row in rows if any(row.cells)]
    remarks = [*_of_sizes(told), *_of_outcomes(told, findings), *_of_clients(told, findings)]
    return Comparison(findings, Table(told, unlike, remarks, kept))


def _refuse_twice(group: Sequence[Record]) -> None:
    folders = [record.folder.absolute() for record in group]
    for at, folder in enumerate(folders):
        if folder in folders[:at]:
            raise UsageError(f"{plain(folder)} is named twice in one group: a run is no repetition of itself.")


def _group(label: str, findings: Sequence[Findings]) -> Group:
    first, *others = [one.record.part("options").get("name") for one in findings]
    name = first if all(other == first for other in others) else None
    sizes = [_size(one.record) for one in findings]
    return Group(label, name if isinstance(name, str) else None, [str(one.record.folder) for one in findings], sizes)


def _size(record: Record) -> int:
    """Return the most connections that were open at once."""
    if record.summary is not None:
        return record.summary.connections.peak_open
    return max((sample.open for sample in record.samples), default=0)


def _are_as_many(*groups: Group) -> bool:
    """Return whether all runs had nearly as many connections open."""
    sizes = [*chain.from_iterable(group.connections for group in groups)]
    return max(sizes) <= SIZES_ALIKE * min(sizes)


def _of_sizes(groups: list[Group]) -> list[str]:
    if _are_as_many(*groups):
        return []
    ends = [(group.label, min(group.connections), max(group.connections)) for group in groups]
    told = [f"{label} {least:,}" + (f" to {most:,}" if most > least else "") for label, least, most in ends]
    if len(groups) == 1:
        return [f"The runs did not have as many connections open: {told[0].partition(' ')[2]}."]
    no_ratio = "Figures that depend on how many there are have no ratio where these numbers differ."
    return [f"Connections open at once: {', '.join(told)}. {no_ratio}"]


def _of_outcomes(groups: list[Group], findings: list[list[Findings]]) -> list[str]:
    """Name the runs that did not do all that was planned: their figures are among the others."""
    outcomes = [
        (folder, one.record.summary)
        for group, found in zip(groups, findings, strict=True)
        for folder, one in zip(group.runs, found, strict=True)
    ]
    return [
        f"{plain(folder)} {'has no summary' if summary is None else f'ended as {summary.outcome}'}."
        for folder, summary in outcomes
        if summary is None or summary.outcome != "ok"
    ]


def _of_clients(groups: list[Group], findings: list[list[Findings]]) -> list[str]:
    """Name the runs of whose latency too much is the client's own."""
    doubtful = [
        folder
        for group, found in zip(groups, findings, strict=True)
        for folder, one in zip(group.runs, found, strict=True)
        if one.record.summary is not None
        and one.record.summary.client_share is not None
        and doubt_of(one.record.summary.client_share) is not None
    ]
    if not doubtful:
        return []
    where = plain(listed(doubtful))
    return [f"Over a tenth of the latency is the client's own in {where}: compare the latency at arrival instead."]


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


def _cells(found: list[list[Found]], resolution: float, is_divided: list[bool], is_exact: bool) -> list[Cell | None]:
    first = _cell(found[0])
    cells = [first]
    for group, divided in zip(found[1:], is_divided[1:], strict=True):
        cell = _cell(group)
        if cell is not None and first is not None and divided:
            held = difference(np.array(cell.known), np.array(first.known), resolution)
            cell = msgspec.structs.replace(cell, ratio=held.ratio)
            if not is_exact:
                significant = _judge(held, group, found[0])
                cell = msgspec.structs.replace(cell, ratio_low=held.low, ratio_high=held.high, significant=significant)
        cells.append(cell)
    return cells


def _judge(held: Difference, group: list[Found], base: list[Found]) -> bool | None:
    """Return whether a figure differs: of one run a side, False where their own uncertainties explain it, or None."""
    if len(group) == len(base) == 1:
        here, there = group[0], base[0]
        if isinstance(here, Estimate) and isinstance(there, Estimate) and not here.differs_from(there):
            return False
    return held.is_significant  # None: one run a side


def _cell(found: list[Found]) -> Cell | None:
    """Return a figure of a group that is not held against another yet."""
    values = [None if one is None else _value(one) for one in found]
    known = [value for value in values if value is not None]
    if not known:
        return None
    own = found[0] if len(found) == 1 and isinstance(found[0], Estimate) else None
    low, high = (None, None) if own is None else (own.low, own.high)
    return Cell(float(np.median(known)), values, low, high)


def _value(found: Estimate | float) -> float:
    return found.value if isinstance(found, Estimate) else found


def _resolution(name: str) -> float:
    what = name.rpartition(", ")[0]
    if what in (LATENCY, AT_ARRIVAL):
        return LATENCY_RESOLUTION
    return TIMED_RESOLUTION if what in TIMED else 0.0


def _is_divided(name: str, unit: str, are_as_many: bool) -> bool:
    """Whether a figure has a ratio to that of the first group: it should not depend on how many were open.

    What is the client's own is a difference of two rounded percentiles, often of 0: it is shown, and not judged.
    """
    return not name.startswith(OWN) and (name.endswith(ONE_MORE) or unit == "lines" or are_as_many)


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
        *((None, None, None) if timing is None else (timing.connect_ms, timing.first_byte_ms, timing.open_ms)),
        *((None, None) if lifetimes is None else (lifetimes.life_seconds, lifetimes.quiet_seconds)),
    )
    return {
        f"{name}, {share}": (unit, None if one is None else float(getattr(one, field)))
        for name, unit, one in zip(TIMED, ("ms", "ms", "ms", "s", "s"), found, strict=True)
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
    """Name groups A, B, C …; beyond 26 by number."""
    return [string.ascii_uppercase[at] if at < 26 else str(at + 1) for at in range(count)]
