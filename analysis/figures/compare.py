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

from floodtest.analysis.figures.client_share import doubt_of
from floodtest.analysis.figures.findings import Findings, read_findings
from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.formatting import each, listed, number, plain
from floodtest.analysis.figures.groups import LEAST_RUNS, Difference, difference
from floodtest.analysis.figures.run_figures import AT_ARRIVAL, LATENCY, ONE_MORE, OWN, TIMED, Found, figures
from floodtest.analysis.figures.series import source_of_latency
from floodtest.analysis.record import Record
from floodtest.flyweight.errors import Refused, UsageError

WRITERS: dict[str, Callable[[float], str]] = {
    "B": each,
    **dict.fromkeys(("/s", "ms", "s", "%", "lines"), number),
}

SIZES_ALIKE = 1.02
"""Times the fewest connections of some runs, up to which the most are taken for as many."""

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
    """A figure of all groups, None for those that do not have it. `unit` is B, /s, ms, s, % or lines."""

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
    own = "Over a tenth of a percentile of the latency is the client's own in"
    return [f"{own} {where}: compare the latency at arrival instead."]


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


def labels(count: int) -> list[str]:
    """Name groups A, B, C …; beyond 26 by number."""
    return [string.ascii_uppercase[at] if at < 26 else str(at + 1) for at in range(count)]
