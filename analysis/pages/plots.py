"""The plots of one run. In: findings. Out: a chart, or None where there is too little for it.

Each is a function of its own, listed in `PLOTS` with the title and the sentence a reader is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from floodtest.analysis.figures.client_share import percentiles_of
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.figures.formatting import each, each_between, listed, number
from floodtest.analysis.figures.memory import ENDS, MemoryFinding
from floodtest.analysis.figures.series import BY_PLAN, BY_SERVER, Floats, percentiles, rate_of, source_of_latency
from floodtest.analysis.pages import pictures as pic
from floodtest.analysis.pages.layout import Chart, Shape, new_chart
from floodtest.analysis.record import LatencyCounts, Record
from floodtest.analysis.record.latency import COLUMNS
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.command.counted import counted, was
from floodtest.flyweight.command.units import size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MIB = pic.MIB


def memory_by_connections(findings: Findings) -> Chart | None:
    """Draw a panel for each end: samples, and the fitted line with its steps."""
    found = {end: finding for end, finding in findings.memory.items() if len(set(finding.connections.tolist())) > 1}
    if not found:
        return None
    wide, narrow = Shape(pic.WIDE, 3.1, is_row=True), Shape(pic.NARROW, 2.5 * len(found))
    chart = new_chart(wide, narrow, [1.0] * len(found))
    for axes, (end, finding) in zip(chart.panels, found.items(), strict=True):
        _memory_panel(axes, end, finding)
        axes.set(xlabel="connections open", ylabel="MiB")
    return chart


def _memory_panel(axes: "Axes", end: str, finding: MemoryFinding) -> None:
    colour = pic.COLOURS[end]
    connections, size_there = finding.dots()
    axes.plot(connections, size_there / MIB, "o", markersize=3.5, color=colour, alpha=0.75)
    title = f"{ENDS[end]}\n"
    if finding.fit is None:
        title += "too few samples for a line"
    else:
        at = np.linspace(0, finding.most, 400)
        axes.plot(at, finding.fit.at(at) / MIB, color=pic.INK, linewidth=1.2)
        title += f"{each(finding.fit.slope.value)} a connection by the line"
    axes.set_title(title)
    axes.set_xlim(0, finding.most * 1.04)
    top = float(finding.size.max()) / MIB
    axes.set_ylim(min(0.0, float(finding.size.min()) / MIB), top * 1.08 if top > 0 else 1)
    pic.thousands(axes, most=2 if finding.most >= 100_000 else 4)


def memory_by_time(findings: Findings) -> Chart | None:
    """Stack what server, client and kernel have, as Ganglia did."""
    record = findings.shown
    time = record.column("time")
    if len(time) < 2:
        return None
    layers = {
        "server, user": (record.column("server_private"), "server"),
        "client, user": (record.column("client_private"), "client"),
        "kernel, since the start": (_kernel_growth(record), "kernel"),
    }
    layers = {name: layer for name, layer in layers.items() if np.isfinite(layer[0]).any()}
    chart = pic.one_panel(3.4, 3, 1)
    (axes,) = chart.panels
    pic.mark_stages(chart, findings.stages)
    known = np.isfinite([values for values, _ in layers.values()]).all(axis=0)  # a gap where one was not read
    axes.stackplot(
        time,
        [np.where(known, values, np.nan) / MIB for values, _ in layers.values()],
        labels=list(layers),
        colors=[pic.COLOURS[end] for _, end in layers.values()],
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_ylim(bottom=0)
    axes.set(xlabel="seconds", ylabel="MiB")
    pic.thousands(axes)
    return chart


def _kernel_growth(record: Record) -> Floats:
    kernel = np.array([sample.kernel for sample in record.samples], np.float64)
    grown: Floats = np.maximum(kernel - kernel[0], 0)
    return grown


def connections_by_time(findings: Findings) -> Chart | None:
    """Draw how many are open, failed and closed early, and below how fast they were opened."""
    record = findings.shown
    time = record.column("time")
    if len(time) < 2:
        return None
    chart = new_chart(Shape(pic.WIDE, 4.2, 3), Shape(pic.NARROW, 4.2, 3), shares=(3, 2), share_x=True)
    above, below = chart.panels
    pic.mark_stages(chart, findings.stages)
    lines = (("open", pic.BLUE, "-"), ("failed", pic.VERMILION, "--"), ("closed early", pic.INK, ":"))
    for name, colour, dash in lines:
        above.plot(time, record.column(name.replace(" ", "_")), color=colour, linestyle=dash, label=name)
    above.set_ylim(bottom=0)
    above.set_ylabel("connections")
    ramp = [*(sample.time for sample in record.samples if sample.stage == Stage.RAMP)]
    at, rate = rate_of(record, "open")
    shown = (at <= ramp[-1] + 1) & (rate >= 0) if ramp else np.zeros(len(at), bool)
    below.plot(at[shown], rate[shown], color=pic.BLUE, marker="o", markersize=2.5)
    below.set_ylim(bottom=0)
    below.set(xlabel="seconds", ylabel="opened a second")
    for axes in (above, below):
        pic.thousands(axes, most=5)
    return chart


CPU_APART = 0.45
"""Seconds between samples whose CPU is told: it is counted in hundredths of a second, and read a process at a time."""


def cpu_by_time(findings: Findings) -> Chart | None:
    """Draw how many cores each end, the router, and the kernel under all of it kept busy."""
    record = findings.shown
    lines = (
        ("machine_cpu", "whole machine", "#888888", "-"),
        ("kernel_cpu", "of it the kernel", pic.GREEN, (0, (5, 2))),
        ("server_cpu", "server", pic.BLUE, "-"),
        ("client_cpu", "client", pic.VERMILION, (0, (5, 2, 1, 2))),
        ("router_cpu", "router (in the server)", pic.PURPLE, (0, (1, 1.2))),
    )
    drawn = [(*rate_of(record, field, apart=CPU_APART), *look) for field, *look in lines]
    if not any(len(at) > 1 for at, *_ in drawn):
        return None
    chart = pic.one_panel(3.4, 5, 2)
    (axes,) = chart.panels
    pic.mark_stages(chart, findings.stages)
    for at, rate, name, colour, dash in drawn:
        if len(at) > 1:
            axes.plot(at, np.maximum(rate, 0), color=colour, linestyle=dash, label=name)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="seconds", ylabel="cores busy")
    pic.thousands(axes)
    return chart


def messages_by_time(findings: Findings) -> Chart | None:
    """Draw what is read a second: messages of any kind, deliveries of messages, and messages published."""
    record = findings.shown
    at, received = rate_of(record, "received")
    if len(at) < 2:
        return None
    chart = pic.one_panel(3.4, 3, 1)
    (axes,) = chart.panels
    pic.mark_stages(chart, findings.stages)
    axes.plot(at, np.maximum(received, 0), color=pic.SKY, label="all that was read")
    for field, name, colour, dash in (
        ("messages", "deliveries read", pic.BLUE, (0, (5, 2))),
        ("server_messages", "messages published", pic.VERMILION, (0, (1, 1.2))),
    ):
        at, rate = rate_of(record, field)
        if len(at) > 1 and rate.max(initial=0) > 0:
            axes.plot(at, np.maximum(rate, 0), color=colour, linestyle=dash, label=name)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="seconds", ylabel="a second")
    pic.thousands(axes)
    return chart


ARRIVED = COLUMNS.index("arrived")
"""The column of latencies to the arrival of the sample's messages."""

NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def latency_by_percentile(findings: Findings) -> Chart | None:
    """Draw milliseconds against the share of messages; each tick to the right leaves a tenth of those before."""
    if not findings.latency.rows[:, 1].sum():
        return None
    chart = pic.one_panel(3.4, 2, 1)
    (axes,) = chart.panels
    last = draw_latency(axes, findings.latency, 1, pic.BLUE, "-", source_of_latency(findings.record) or BY_PLAN)
    draw_latency(axes, findings.latency, 2, pic.ORANGE, (0, (5, 2)), "uncorrected: from the publishing")
    draw_latency(axes, findings.latency, 3, pic.SKY, (0, (5, 2, 1, 2)), "the sample, to the read")
    draw_latency(axes, findings.latency, ARRIVED, pic.GREEN, (0, (1, 1.2)), "the sample, to the arrival")
    label_nines(axes, last)
    return chart


def draw_latency(axes: "Axes", latency: LatencyCounts, column: int, colour: str, dash: object, label: str) -> float:
    """Draw one line, up to the share that a single message is of all; return where it ends."""
    total = float(latency.rows[:, column].sum())
    if not total:
        return 0.0
    last = max(1.0, float(np.log10(total)))
    at = np.linspace(0, last, 300)
    values = percentiles(latency, 1 - 10.0**-at, column)
    assert values is not None
    axes.plot(at, values, color=colour, linestyle=dash, label=label)
    return last


def label_nines(axes: "Axes", last: float) -> None:
    shares = [share for share in NINES if -np.log10(1 - share) <= last]
    axes.set_xlim(0, last)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="share of the messages that took no longer", ylabel="milliseconds")
    pic.thousands(axes, "y")
    axes.set_xticks([-np.log10(1 - share) for share in shares], [f"{share * 100:g}%" for share in shares])


@dataclass(frozen=True)
class Plot:
    """A picture of a report: its file's name, what it is called, and what is to be seen."""

    name: str
    title: str
    draw: Callable[[Findings], Chart | None]
    sentence: Callable[[Findings], str]


def _say_memory(findings: Findings) -> str:
    parts = [
        f"{ENDS[end]}: {each_between(one_more)} for each more{_before(end, found.before)}"
        for end, found in findings.memory.items()
        if (one_more := found.one_more) is not None
    ]
    said = "; ".join(parts) or "There are too few samples at different numbers of connections for a line"
    jumps = "What workers took as they began is kept apart from that, where the record says when they did."
    return f"Dots are samples of the ramp, the line is the fit. {said[0].upper()}{said[1:]}. {jumps}"


def _before(end: str, before: float | None) -> str:
    return "" if end == "kernel" or before is None else f", {size(before)} before the first"


def _say_connections(findings: Findings) -> str:
    record = findings.record
    last = max(record.samples, key=lambda sample: (sample.open, -sample.time))
    ends = f"{last.failed:,} had failed and {last.closed_early:,} had closed early by then."
    most = f"{counted(last.open, 'connections')} {was(last.open)} open at once"
    return f"{most}, {last.time:,.1f} s after the first sample; {ends}"


def _say_time(findings: Findings) -> str:
    record = findings.record
    is_measured = any(sample.server_private is not None for sample in record.samples)
    known = [
        sample.kernel + sample.client_private + (sample.server_private or 0)
        for sample in record.samples
        if sample.server_private is not None or not is_measured
    ]
    most = size(max(known) - record.samples[0].kernel)
    ends = "both ends" if is_measured else "the client"
    missing = "" if is_measured else " The server's memory was not measured, and is not among it."
    return f"At the most {most} were in use, by {ends} and by the kernel beyond what it had at the start.{missing}"


def _say_cpu(findings: Findings) -> str:
    record = findings.record
    cores = record.part("host").get("cores")
    of = f" This machine has {cores}." if isinstance(cores, int) else ""
    return f"Each line is how many cores were busy on average since the sample before.{of} The ends share them."


def _say_messages(findings: Findings) -> str:
    record = findings.record
    _, rate = rate_of(record, "messages")
    if rate.max(initial=0) > 0:
        return f"Up to {rate.max():,.0f} deliveries of messages were read a second."
    _, received = rate_of(record, "received")
    if record.part("options").get("target") is not None:
        return f"Up to {received.max(initial=0):,.0f} messages were read a second."
    return f"No messages; up to {received.max(initial=0):,.0f} welcomes and ticks were read a second."


def _say_latency(findings: Findings) -> str:
    found = percentiles(findings.latency, np.array([0.5, 0.99, 1.0]))
    assert found is not None
    middle, most, last = found
    arrivals = _say_arrivals(findings)
    if source_of_latency(findings.record) == BY_SERVER:
        return (
            f"Half of the messages took up to {middle:,.1f} ms from when the server says that it sent them, 99% up to "
            f"{most:,.1f}, the slowest {last:,.1f}. Each mark to the right leaves a tenth of the messages. What held "
            f"them up in the server before it wrote that time is not in it.{arrivals}"
        )
    return (
        f"Half of the messages took up to {middle:,.1f} ms from their planned time, 99% up to {most:,.1f}, the slowest "
        f"{last:,.1f}. Each mark to the right leaves a tenth of the messages. The uncorrected line is what a generator "
        f"would claim that waits for the server.{arrivals}"
    )


def _say_arrivals(findings: Findings) -> str:
    """Say what of the latency is the client's own, where arrivals are known."""
    summary = findings.record.summary
    share = None if summary is None else summary.client_share
    found = [] if share is None else percentiles_of(share)
    if not found:
        return ""
    told = listed(
        [f"{number(one.read)} ms of {one.name} to the read, {number(one.arrived)} to the arrival" for one in found]
    )
    return f" The sample, messages whose arrival the kernel told, took {told}: the difference is the client's own."


PLOTS = (
    Plot("memory-by-connections", "Memory against connections", memory_by_connections, _say_memory),
    Plot("memory-by-time", "Memory against time", memory_by_time, _say_time),
    Plot("connections-by-time", "Connections against time", connections_by_time, _say_connections),
    Plot("cpu-by-time", "CPU", cpu_by_time, _say_cpu),
    Plot("messages-by-time", "Messages and deliveries", messages_by_time, _say_messages),
    Plot("latency-by-percentile", "Latency", latency_by_percentile, _say_latency),
)
