"""The report of a run: one page, and its plots as files. In: a `Record`. Out: `report.html` and `plots/*.svg`, `*.png`.

What a record has too little for is left out, with a word why; what is wrong with it is listed as doubts. The page loads
nothing and needs no scripts. Refused without matplotlib, or where nothing may be written. Takes some 2 seconds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floodtest.analysis.figures.cost_in_words import answer_of, room_of
from floodtest.analysis.figures.doubts import doubts
from floodtest.analysis.figures.findings import Findings, read_findings
from floodtest.analysis.figures.formatting import WHAT, listed
from floodtest.analysis.figures.host_doubts import doubts_of_hosts
from floodtest.analysis.figures.memory import MILLION
from floodtest.analysis.pages import pictures as pic
from floodtest.analysis.pages import report_tables as tables
from floodtest.analysis.pages.host_tables import table_of_hosts
from floodtest.analysis.pages.html import Picture, fill_in
from floodtest.analysis.pages.page_files import write_file
from floodtest.analysis.pages.plots import PLOTS, Plot
from floodtest.analysis.record import Record, Sample
from floodtest.analysis.record.hosts import hosts_of, samples_at_server
from floodtest.flyweight.command.units import size

REPORT_FILE = "report.html"
PLOTS_FOLDER = "plots"


@dataclass(frozen=True)
class Section:
    """A plot as the page has it."""

    name: str
    title: str
    sentence: str
    picture: Picture


def write_report(record: Record, out: Path | None = None) -> Path:
    """Write the report into a folder, the run's own by default; return the page's path."""
    out = record.folder if out is None else out
    findings = read_findings(record)
    with pic.style():
        sections = [section for plot in PLOTS if (section := _draw(findings, plot, out)) is not None]
    path = out / REPORT_FILE
    write_file(path, render(findings, sections))
    return path


def _draw(findings: Findings, plot: Plot, out: Path) -> Section | None:
    """Draw a plot, and write it as files; None where the record has too little for it."""
    chart = plot.draw(findings)
    if chart is None:
        return None
    sentence = plot.sentence(findings)
    picture = pic.write_picture(chart, out / PLOTS_FOLDER, plot.name, f"{plot.title}. {sentence}")
    return Section(plot.name, plot.title, sentence, picture)


def render(findings: Findings, sections: list[Section]) -> bytes:
    """Write the page."""
    record, memory = findings.record, findings.memory
    hosts = hosts_of(record)
    drawn = {section.name for section in sections}
    command = record.run.get("command")
    return fill_in(
        "report.html",
        title=f"floodtest run {record.folder.name}",
        outcome=_outcome(record),
        reasons=[] if record.summary is None else record.summary.reasons,
        machine=_machine(record),
        lead=_lead(findings, samples_at_server(hosts) if hosts else record.samples),
        costs=tables.costs(memory),
        servers=tables.servers(findings),
        predicted=tables.predicted(findings),
        sections=sections,
        left_out=[plot.title for plot in PLOTS if plot.name not in drawn],
        messages_and_ticks=[
            *tables.messages(record),
            *tables.server_times(record),
            *tables.client_share(record),
            *tables.ticks(record),
        ],
        causes=tables.causes(record),
        timing=[*tables.timing(record), *tables.tls(record)],
        lifetimes=[*tables.lifetimes(record)],
        bunched=_bunched(record),
        missing=tables.missing(record),
        doubts=[*doubts_of_hosts(hosts), *doubts(findings)],
        command=command if isinstance(command, str) else None,
        hosts=table_of_hosts(hosts),
        connections_and_facts=[*tables.connections(record), *tables.facts(record)],
    )


def _outcome(record: Record) -> str:
    if record.summary is not None:
        return record.summary.outcome
    return "no summary" if record.summary_fault is None else "a summary that can't be understood"


def _bunched(record: Record) -> str | None:
    """Say at what duration early ends bunch, if they do."""
    lifetimes = None if record.summary is None else record.summary.lifetimes
    return None if lifetimes is None else lifetimes.note


def _machine(record: Record) -> list[str]:
    """Say in a few words what the run was on."""
    host = record.part("host")
    told = [host.get("system"), f"{host['cores']} cores" if "cores" in host else None, _bytes_of(host.get("memory"))]
    return [str(part) for part in told if part]


def _bytes_of(value: Any) -> str | None:
    return size(value) if isinstance(value, int | float) else None


def _lead(findings: Findings, at_server: list[Sample]) -> str:
    """Say the answer, by the samples of the server's machine, and what a million would take."""
    memory, record = findings.memory, findings.record
    server = None if record.summary is None else record.summary.server
    answer = answer_of(memory, room_of(at_server, server))
    most = max((found.most for found in memory.values()), default=0)
    at_million = {end: estimate for end, found in memory.items() if (estimate := found.at(MILLION)) is not None}
    if not at_million:
        return answer
    million = sum(estimate.value for estimate in at_million.values())
    beyond = "" if most >= MILLION else f" (this run reached {most:,.0f}: the rest is the line, continued)"
    without = [WHAT[end] for end in memory if end not in at_million]
    missing = f" Not in it, since not measured or too little for a line: {listed(without)}." if without else ""
    return (
        f"{answer} A million would take {size(million)}, {listed([WHAT[end] for end in at_million])} "
        f"together{beyond}.{missing}"
    )
