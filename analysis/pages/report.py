"""The report of a run: one page, and its plots as files. In: a `Record`. Out: `report.html` and `plots/*.svg`, `*.png`.

What a record has too little for is left out, with a word why; what is wrong with it is listed as doubts. The page loads
nothing and needs no scripts. Refused without matplotlib, or where nothing may be written. Takes some 5 seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from analysis.figures.doubts import doubts
from analysis.figures.findings import Findings, read_findings
from analysis.figures.formatting import NOT_MEASURED, WHAT, each, each_between, listed, number, size, size_between
from analysis.figures.memory import ENDS, MILLION, MemoryFinding
from analysis.figures.servers_of_2008 import HISTORY
from analysis.pages import pictures as pic
from analysis.pages.files import write_whole
from analysis.pages.html import Html, join, page, picture, table, tag
from analysis.pages.plots import PLOTS, Plot
from analysis.record import Record

REPORT_FILE = "report.html"
PLOTS_FOLDER = "plots"
NO_FIT = "no fit"


@dataclass(frozen=True)
class Drawn:
    """A plot as the page has it."""

    plot: Plot
    wide: bytes
    narrow: bytes


def write_report(record: Record, out: Path | None = None) -> Path:
    """Write the report into a folder, the run's own by default; return the page's path."""
    out = record.folder if out is None else out
    findings = read_findings(record)
    with pic.style():
        drawn = [done for plot in PLOTS if (done := _draw(findings, plot, out)) is not None]
    path = out / REPORT_FILE
    write_whole(path, render(findings, drawn))
    return path


def _draw(findings: Findings, plot: Plot, out: Path) -> Drawn | None:
    """Draw a plot for both widths, and write it as files; None where the record has too little for it."""
    wide, narrow = (plot.picture(findings, width) for width in (pic.WIDE, pic.NARROW))
    if wide is None or narrow is None:
        return None
    done = Drawn(plot, pic.as_svg(wide), pic.as_svg(narrow))
    write_whole(out / PLOTS_FOLDER / f"{plot.name}.svg", done.wide)
    pic.write_png(out / PLOTS_FOLDER / f"{plot.name}.png", wide)
    return done


def render(findings: Findings, drawn: list[Drawn]) -> bytes:
    """Write the page."""
    record, memory = findings.record, findings.memory
    content: list[object] = [
        tag("h1", f"floodtest run {record.folder.name}"),
        _about(record),
        _lead(memory),
        tag("h2", "What one connection costs"),
        _costs(memory),
        _history(memory),
        *_predicted(findings),
        *(_section(findings, done) for done in drawn),
        *_left_out(drawn),
        *_messages(record),
        *_ticks(record),
        tag("h2", "What to doubt"),
        _doubts(findings),
        tag("h2", "The run"),
        *_run(record),
    ]
    return page(f"floodtest run {record.folder.name}", *content)


def _about(record: Record) -> Html:
    summary = record.summary
    missing = "no summary" if record.summary_fault is None else "a summary that can't be understood"
    outcome = missing if summary is None else summary.outcome
    host = record.part("host")
    told = [host.get("system"), f"{host['cores']} cores" if "cores" in host else None, _bytes_of(host.get("memory"))]
    return tag(
        "p",
        tag("span", outcome, class_="" if outcome == "ok" else "bad"),
        " · ",
        " · ".join(str(part) for part in told if part),
        class_="quiet",
    )


def _bytes_of(value: Any) -> str | None:
    return size(value) if isinstance(value, int | float) else None


def _lead(memory: dict[str, MemoryFinding]) -> Html:
    """Say the answer in a sentence or two."""
    fitted = {end: found.fit for end, found in memory.items() if found.fit is not None}
    most = max((found.most for found in memory.values()), default=0)
    if not most:
        return tag("p", "No connection was open in any sample: there is nothing to say about its cost.", class_="lead")
    if not fitted:
        return tag("p", f"{most:,.0f} connections were open at once.", class_="lead")
    said = [f"{each_between(fit.slope)} {WHOSE[end]}" for end, fit in fitted.items()]
    million = sum(estimate.value for found in memory.values() if (estimate := found.at(MILLION)) is not None)
    beyond = "" if most >= MILLION else f" (this run reached {most:,.0f}: the rest is the line, continued)"
    without = [WHAT[end] for end in memory if end not in fitted]
    missing = f" Not in it, since not measured or too little for a line: {listed(without)}." if without else ""
    return tag(
        "p",
        f"One more connection costs {listed(said)}. ",
        f"A million would take {size(million)}, {listed([WHAT[end] for end in fitted])} together{beyond}.{missing}",
        class_="lead",
    )


WHOSE = {"server": "of the server's memory", "client": "of the client's", "kernel": "of the kernel's for both ends"}


def _costs(memory: dict[str, MemoryFinding]) -> Html:
    head = ("", "one more connection", "before the first", "all of it, at the most open", "for a million")
    rows = [(ENDS[end], *_cost(found)) for end, found in memory.items()]
    caption = (
        "In brackets the 95% interval of the fit. The kernel counts from before the ramp, both ends together. For a "
        "million is the line, continued with this run's workers and steps"
    )
    if all(found.reaches(MILLION) for found in memory.values() if found.fit is not None):
        caption += "."
    else:
        caption += (
            ": it has no interval where under half of them were open, for what more workers take is in no sample."
        )
    return table(head, rows, caption)


def _cost(found: MemoryFinding) -> tuple[str, str, str, str]:
    measured = NOT_MEASURED
    if found.measured is not None:
        measured = f"{each(found.measured.value)} each, {found.most:,.0f} open"
    if found.fit is None:
        return NO_FIT, NO_FIT, measured, NO_FIT
    million, fixed = found.at(MILLION), found.fit.fixed
    assert million is not None
    for_million = size_between(million) if found.reaches(MILLION) else size(million.value)
    return each_between(found.fit.slope), size_between(fixed), measured, for_million


def _history(memory: dict[str, MemoryFinding]) -> Html:
    """Set the server's end beside 2008's: its own memory, and half of what the kernel has for both ends."""
    server, kernel = memory["server"].measured, memory["kernel"].measured
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
    return table(head, rows, caption)


def _million_of(memory: dict[str, MemoryFinding]) -> str:
    """Say what the server's end would take for a million, by the fits."""
    server, kernel = (memory[end].at(MILLION) for end in ("server", "kernel"))
    return NO_FIT if server is None or kernel is None else size(server.value + kernel.value / 2)


def _predicted(findings: Findings) -> Iterator[Html]:
    """Set the prediction, where the record has one, beside what was measured at the most connections."""
    rows = []
    for end, expected in findings.predicted.items():
        found = findings.memory[end]
        if found.measured is None:
            continue
        measured = found.measured.value * found.most
        ratio = f"{measured / expected:.2f}" if expected else ""
        rows.append((ENDS[end], size(expected), size(measured), ratio))
    if rows:
        yield tag("h2", "Predicted and measured")
        yield tag("p", "What all planned connections were expected to take, and what the most that were open took.")
        yield table(("", "predicted", "measured", "measured / predicted"), rows)


def _section(findings: Findings, done: Drawn) -> Html:
    sentence = done.plot.sentence(findings)
    return join(
        [
            tag("h2", done.plot.title),
            tag("p", sentence),
            picture(done.wide, done.narrow, f"{done.plot.title}. {sentence}"),
        ]
    )


def _left_out(drawn: list[Drawn]) -> Iterator[Html]:
    there = {done.plot.name for done in drawn}
    missing = [plot.title for plot in PLOTS if plot.name not in there]
    if missing:
        yield tag("p", f"Not drawn, because the record has nothing to draw: {', '.join(missing)}.", class_="quiet")


def _messages(record: Record) -> Iterator[Html]:
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
        yield table(("milliseconds", "50%", "90%", "99%", "99.9%", "slowest"), rows)
    counts = (
        ("published", f"{messages.published:,} of {messages.planned:,} planned"),
        ("deliveries", f"{messages.received:,} of {messages.expected:,} expected"),
        ("lost, duplicated", f"{messages.lost:,}, {messages.duplicated:,}"),
        ("a second", number(messages.per_second)),
    )
    yield table(("", "messages"), counts, kind="words")


def _ticks(record: Record) -> Iterator[Html]:
    summary = record.summary
    if summary is None or not summary.ticks:
        return
    rows = [
        (f"{tick.number}", number(tick.sent), f"{tick.received:,}", f"{tick.seconds:,.2f}", number(tick.per_second))
        for tick in summary.ticks
    ]
    caption = "A tick is one message to every connection."
    yield table(("tick", "sent", "received", "seconds", "deliveries a second"), rows, caption)


def _doubts(findings: Findings) -> Html:
    return tag("ul", *(tag("li", doubt) for doubt in doubts(findings)), class_="doubts")


def _run(record: Record) -> Iterator[Html]:
    command = record.run.get("command")
    if isinstance(command, str):
        yield tag("p", tag("code", command))
    summary = record.summary
    if summary is not None:
        c = summary.connections
        failed = ", ".join(f"{count:,} {name}" for name, count in c.failed.items())
        yield table(
            ("", "connections"),
            (
                ("planned", f"{c.planned:,}"),
                ("opened", f"{c.opened:,}, {number(summary.ramp.per_second)} a second"),
                ("failed", f"{sum(c.failed.values()):,}{f': {failed}' if failed else ''}"),
                ("closed early", f"{c.closed_early:,}"),
                ("not reached", f"{c.not_reached:,}"),
            ),
            kind="words",
        )
    facts = [
        (str(name), _fact(value))
        for part in ("options", "host", "versions")
        for name, value in record.part(part).items()
        if value is not None
    ]
    if facts:
        yield table(("option or fact", "value"), facts, kind="words")


def _fact(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
