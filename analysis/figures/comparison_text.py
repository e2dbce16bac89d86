"""What is written of a comparison's table, in a terminal and on its page: cells, column heads and notes. Pure."""

import textwrap

from floodtest.analysis.figures.compare import WRITERS, Cell, Comparison, Group, Row, Table
from floodtest.analysis.figures.formatting import listed, plain
from floodtest.flyweight.command.counted import counted

WIDTH = 118
"""Columns of a terminal that notes are broken at."""

ONE_RUN = (
    "One run a side can't tell the scatter between runs, so that no difference is called significant: repeat the runs "
    "(floodtest run --repeat 3), or take floodtest ab. Not significant: the uncertainties of both runs explain the "
    "difference by themselves. x is the ratio to A."
)

BY_SCATTER = (
    "Figures are medians of the runs; in brackets are the least and the most. x is the ratio to A, of geometric means, "
    "with its 95% interval. Not significant: the scatter between the runs explains the difference. Each figure is "
    "judged by itself: of twenty that do not differ, one is called significant by chance. Lines of code are not judged."
)

OF_ONE_GROUP = "Figures are medians of the runs; in brackets are the least and the most."


def note(table: Table) -> str:
    """Say how the table is to be read."""
    if len(table.groups) == 1:
        return OF_ONE_GROUP
    single = table.without_scatter
    base, *others = (group.label for group in table.groups)
    if base in single or set(others) <= set(single):
        return ONE_RUN
    if not single:
        return BY_SCATTER
    has, them = ("has", "it") if len(single) == 1 else ("have", "them")
    return (
        f"{BY_SCATTER} {listed(single)} {has} one run only, which can't tell the scatter between runs: no difference "
        f"of {them} is called significant."
    )


def row_title(row: Row) -> str:
    """Name a row with its unit, where the figures do not bring it."""
    unit = {"B": "", "lines": "", "/s": " a second", "ms": ", ms", "s": ", s", "%": ", %"}[row.unit]
    return f"{row.name}{unit}"


def heads(table: Table) -> list[str]:
    """Name the columns: one for each group, and behind each but the first one for its ratio to the first."""
    first, *others = table.groups
    return [_head(first), *(name for group in others for name in (_head(group), f"{group.label} to {first.label}"))]


def _head(group: Group) -> str:
    return group.label if len(group.runs) == 1 else f"{group.label}, {counted(len(group.runs), 'runs')}"


def cells(row: Row) -> list[str]:
    """Write a row below `heads`."""
    first, *others = row.cells
    return [
        write_figure(first, row.unit),
        *(text for cell in others for text in (write_figure(cell, row.unit), write_ratio(cell))),
    ]


def write_figure(cell: Cell | None, unit: str) -> str:
    """Write a figure of a group, with the least and the most of its runs, and how many runs lack it."""
    if cell is None:
        return "-"
    known, write = cell.known, WRITERS[unit]
    lacking = f", {len(known)} of {len(cell.values)} runs" if len(known) < len(cell.values) else ""
    if min(known) == max(known):
        return f"{write(cell.value)}{lacking}"
    ends = [write(min(known)), write(max(known))]
    if len({text.partition(" ")[2] for text in (write(cell.value), *ends)}) == 1:  # one unit, which is told once
        ends = [text.partition(" ")[0] for text in ends]
    return f"{write(cell.value)} ({' to '.join(ends)}){lacking}"


def write_ratio(cell: Cell | None) -> str:
    """Write a figure's ratio to the first group's, whether the difference means anything, and the ratio's interval."""
    if cell is None:
        return ""
    ratio = [] if cell.ratio is None else [f"x{_times(cell.ratio)}"]
    said = [] if cell.significant is None else ["significant" if cell.significant else "not significant"]
    low, high = cell.ratio_low, cell.ratio_high
    interval = "" if low is None or high is None else f" ({_times(low)} to {_times(high)})"
    return ", ".join([*ratio, *said]) + interval


def _times(ratio: float) -> str:
    """Write a ratio; an interval may go on to any number."""
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}" if ratio < 1e6 else f"{ratio:.0e}"


def commands(comparison: Comparison) -> list[list[str]]:
    """Return the command lines of each group's runs, each once, on one line without control characters."""
    found = []
    for group in comparison.findings:
        told = [one.record.run.get("command") for one in group]
        found.append([*dict.fromkeys(plain(line) for line in told if isinstance(line, str))])
    return found


def render(comparison: Comparison) -> str:
    """Write the table for a terminal."""
    table = comparison.table
    lines = []
    for group, told in zip(table.groups, commands(comparison), strict=True):
        lines.append(f"{group.label}  {plain(', '.join(group.runs))}")
        lines += [f"   {command}" for command in told]
    lines += [f"not alike: {difference}" for difference in table.differences]
    lines += [line for remark in table.remarks for line in _broken(remark)]
    grid = [["", *heads(table)], *([row_title(row), *cells(row)] for row in table.rows)]
    return "\n".join([*lines, "", *_aligned(grid), "", *_broken(note(table))])


def render_series(comparison: Comparison) -> str:
    """Write the main figures of one group, such as a series of runs of one command."""
    table = comparison.table
    (group,) = table.groups
    grid = [[row_title(row), *cells(row)] for row in table.rows if row.is_main]
    lines = [f"{counted(len(group.runs), 'runs')}: {plain(', '.join(group.runs))}"]
    lines += [line for remark in table.remarks for line in _broken(remark)]
    return "\n".join([*lines, "", *_aligned(grid), "", *_broken(note(table))])


def _broken(text: str) -> list[str]:
    """Break a sentence into lines, but no word of it: options and folders stay whole."""
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False)


def _aligned(grid: list[list[str]]) -> list[str]:
    """Write rows with their first cells to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return [
        "   ".join(
            [name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))]
        ).rstrip()
        for name, *rest in grid
    ]
