"""The page of a comparison: its table, and plots with all runs in them. Refused without matplotlib."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from floodtest.analysis.figures.compare import NOTE, Comparison, labels, row_title, write_cell
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.pages import pictures as pic
from floodtest.analysis.pages.files import write_file
from floodtest.analysis.pages.html import Picture, Table, fill_in
from floodtest.analysis.pages.plots import draw_latency, label_nines
from floodtest.analysis.record import Record
from floodtest.analysis.record.stages import Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_FILE = "compare.html"


@dataclass(frozen=True)
class Section:
    """A plot as the page has it."""

    title: str
    picture: Picture


def write_page(comparison: Comparison, out: Path) -> Path:
    """Write the page and its plots into a folder; return the page's path."""
    with pic.style():
        sections = []
        for name, title, draw, finish in PLOTS:
            wide, narrow = (overlaid(comparison.findings, width, draw, finish) for width in (pic.WIDE, pic.NARROW))
            if wide is not None and narrow is not None:
                svg = pic.as_svg(wide)
                write_file(out / "plots" / f"compare-{name}.svg", svg)
                pic.write_png(out / "plots" / f"compare-{name}.png", wide)
                picture = Picture(svg, pic.as_svg(narrow), f"{title}, all runs in one picture")
                sections.append(Section(title, picture))
    path = out / PAGE_FILE
    write_file(path, render_page(comparison, sections))
    return path


def render_page(comparison: Comparison, sections: list[Section]) -> bytes:
    """Write the page of a comparison."""
    found = comparison.table
    names = labels(len(found.runs))
    runs = [
        (name, each.record.folder.name, _command(each.record))
        for name, each in zip(names, comparison.findings, strict=True)
    ]
    rows = [(row_title(row), *(write_cell(cell, row.unit) for cell in row.cells)) for row in found.rows]
    return fill_in(
        "compare.html",
        title="floodtest runs compared",
        runs=Table(("run", "record", "command"), runs, kind="cards words"),
        differences=found.differences,
        figures=Table(("", *names), rows, NOTE),
        sections=sections,
    )


def _command(record: Record) -> str:
    command = record.run.get("command")
    return command if isinstance(command, str) else ""


Draw = Callable[["Axes", Findings, str, object, str], float]
"""Draws a run's line and returns how far it goes, 0 if the run has none."""

Finish = Callable[["Axes", float], None]
"""Labels the axes, when all runs are drawn, up to where the longest goes."""


def overlaid(runs: list[Findings], width: float, draw: Draw, finish: Finish) -> "Figure | None":
    """Draw each run's line in one picture; None where no run has any."""
    figure = pic.new_figure(width, 3.4)
    axes = figure.subplots()
    ends = []
    for at, (name, findings) in enumerate(zip(labels(len(runs)), runs, strict=True)):
        look = (pic.SERIES[at % len(pic.SERIES)], pic.DASHES[at % len(pic.DASHES)])
        ends.append(draw(axes, findings, *look, name))
    if not any(ends):
        return None
    finish(axes, max(ends))
    axes.set_ylim(bottom=min(0.0, axes.dataLim.y0 * 1.08))
    pic.legend_below(figure, axes, min(len(runs), 6))
    return pic.lay_out(figure)


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


def _latency(axes: "Axes", findings: Findings, colour: str, dash: object, name: str) -> float:
    return draw_latency(axes, findings.latency, 1, colour, dash, name)


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
    ("latency", "Latency", _latency, label_nines),
)
