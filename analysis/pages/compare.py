"""The page of a comparison: its table, and plots with all runs in them. Refused without matplotlib.

The runs of a group are drawn alike. Where a group has several, one picture more shows each figure of each run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from floodtest.analysis.figures.compare import Comparison, Row
from floodtest.analysis.figures.comparison_text import cells, commands, heads, note, row_title
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.pages import pictures as pic
from floodtest.analysis.pages.html import Picture, Table, fill_in
from floodtest.analysis.pages.layout import Chart
from floodtest.analysis.pages.page_files import write_file
from floodtest.analysis.pages.plots import ARRIVED, draw_latency, label_nines
from floodtest.analysis.record.stages import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE_FILE = "compare.html"

MOST_COLUMNS = 6
"""Of a legend."""


@dataclass(frozen=True)
class Section:
    """A plot as the page has it."""

    title: str
    picture: Picture


def write_page(comparison: Comparison, out: Path) -> Path:
    """Write the page and its plots into a folder; return the page's path."""
    drawings: list[tuple[str, str, Callable[[], Chart | None]]] = [
        ("scatter", "Each run beside the first group", partial(scattered, comparison)),
        *((name, title, partial(overlaid, comparison, draw, finish)) for name, title, draw, finish in PLOTS),
    ]
    with pic.style():
        sections = []
        for name, title, draw in drawings:
            if (chart := draw()) is not None:
                text = f"{title}, all runs in one picture"
                sections.append(Section(title, pic.write_picture(chart, out / "plots", f"compare-{name}", text)))
    path = out / PAGE_FILE
    write_file(path, render_page(comparison, sections))
    return path


def render_page(comparison: Comparison, sections: list[Section]) -> bytes:
    """Write the page of a comparison."""
    table = comparison.table
    groups = [
        (group.label, ", ".join(Path(run).name for run in group.runs), "\n".join(told))
        for group, told in zip(table.groups, commands(comparison), strict=True)
    ]
    # What is in brackets is on a line of its own: the columns are narrow.
    rows = [(row_title(row), *(text.replace(" (", "\n(") for text in cells(row))) for row in table.rows]
    return fill_in(
        "compare.html",
        title="floodtest runs compared",
        groups=Table(("group", "records", "command"), groups, kind="cards words"),
        differences=table.differences,
        remarks=table.remarks,
        figures=Table(("", *heads(table)), rows, note(table)),
        sections=sections,
    )


Draw = Callable[["Axes", Findings, str, object, str], float]
"""Draws a run's line and returns how far it goes, 0 if the run has none."""

Finish = Callable[["Axes", float], None]
"""Labels the axes, when all runs are drawn, up to where the longest goes."""


def _look(at: int) -> tuple[str, object]:
    """Return the colour and the dash of a group."""
    return pic.SERIES[at % len(pic.SERIES)], pic.DASHES[at % len(pic.DASHES)]


def overlaid(comparison: Comparison, draw: Draw, finish: Finish) -> Chart | None:
    """Draw each run's line in one picture; None where no run has any."""
    columns = min(len(comparison.findings), MOST_COLUMNS)
    chart = pic.one_panel(3.4, columns, columns)
    (axes,) = chart.panels
    ends = []
    for at, (group, runs) in enumerate(zip(comparison.table.groups, comparison.findings, strict=True)):
        # A label with an underscore before it is left out of the legend: a group has one entry there.
        names = [group.label, *([f"_{group.label}"] * (len(runs) - 1))]
        ends += [draw(axes, run, *_look(at), name) for name, run in zip(names, runs, strict=True)]
    if not any(ends):
        return None
    finish(axes, max(ends))
    axes.set_ylim(bottom=min(0.0, axes.dataLim.y0 * 1.08))
    return chart


WITHIN = 3.0
"""Times the least of a picture's ratios, up to which an even scale shows them well; beyond it is logarithmic."""


def scattered(comparison: Comparison) -> Chart | None:
    """Draw each figure of each run as its ratio to the first group's median; None where each group is one run."""
    groups = comparison.table.groups
    rows = [row for row in comparison.table.rows if row.is_main and any(c and c.ratio is not None for c in row.cells)]
    if not rows or all(len(group.runs) == 1 for group in groups):
        return None
    columns = min(len(groups), MOST_COLUMNS)
    chart = pic.one_panel(0.9 + 0.55 * len(rows), columns, columns)
    (axes,) = chart.panels
    drawn = [1.0]
    for at, group in enumerate(groups):
        # A row is one high: the upper two fifths are for its name, the others for a line of dots of each group.
        place = 0.4 + 0.6 * (at + 0.5) / len(groups)
        points = [(ratio, down + place) for down, row in enumerate(rows) for ratio in _ratios(row, at)]
        drawn += [ratio for ratio, _ in points]
        ratios, places = [ratio for ratio, _ in points], [place for _, place in points]
        axes.plot(ratios, places, "o", markersize=4.5, alpha=0.7, color=_look(at)[0], label=group.label)
    for down, row in enumerate(rows):
        axes.axhline(down, color=pic.FAINT, linewidth=0.6)
        axes.text(0.01, down + 0.22, row.name, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.axvline(1.0, color="#888888", linewidth=0.8, zorder=0)
    if max(drawn) > WITHIN * min(drawn):
        pic.logarithmic(axes)
    axes.set(yticks=[], xlabel=f"ratio to the median of {groups[0].label}", ylim=(len(rows), 0))
    return chart


def _ratios(row: Row, at: int) -> list[float]:
    """Return the figures of a group's runs as ratios to the first group's median, those that a scale can show."""
    first, cell = row.cells[0], row.cells[at]
    if first is None or cell is None or first.value <= 0:
        return []
    return [value / first.value for value in cell.known if value > 0]


def _memory(end: str) -> Draw:
    def draw(axes: "Axes", findings: Findings, colour: str, dash: object, name: str) -> float:
        found = findings.memory[end]
        if not found.most:
            return 0.0
        fitted = found.fit is not None
        label = None if fitted else name
        connections, size = found.dots()
        axes.plot(connections, size / pic.MIB, "o", markersize=3, alpha=0.6, color=colour, label=label)
        if found.fit is not None:
            at = np.linspace(0, found.most, 400)
            axes.plot(at, found.fit.at(at) / pic.MIB, color=colour, linestyle=dash, label=name)
        return found.most

    return draw


def _open_by_time(axes: "Axes", findings: Findings, colour: str, dash: object, name: str) -> float:
    record = findings.shown
    kept = np.array([sample.stage != Stage.CLOSE for sample in record.samples], bool)
    if kept.sum() < 2:
        return 0.0
    time = record.column("time")[kept] - record.samples[0].time
    axes.plot(time, record.column("open")[kept], color=colour, linestyle=dash, label=name)
    return float(time[-1])


def _latency(column: int) -> Draw:
    def draw(axes: "Axes", findings: Findings, colour: str, dash: object, name: str) -> float:
        return draw_latency(axes, findings.latency, column, colour, dash, name)

    return draw


def _axes(across: str, up: str) -> Finish:
    def finish(axes: "Axes", end: float) -> None:
        axes.set(xlabel=across, ylabel=up, xlim=(0, end * 1.02))
        pic.thousands(axes)

    return finish


PLOTS: tuple[tuple[str, str, Draw, Finish], ...] = (
    ("server-memory", "Server's user memory", _memory("server"), _axes("connections open", "MiB")),
    ("client-memory", "Client's user memory", _memory("client"), _axes("connections open", "MiB")),
    ("kernel-memory", "Kernel memory, both ends", _memory("kernel"), _axes("connections open", "MiB")),
    ("connections", "Connections open", _open_by_time, _axes("seconds", "connections open")),
    ("latency", "Latency", _latency(1), label_nines),
    ("arrival", "Latency to the arrival, by the sample", _latency(ARRIVED), label_nines),
)
