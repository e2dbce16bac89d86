"""`floodtest report` and `floodtest compare`: what run records show. They open no connection."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import FloodtestError, Refused, UsageError

if TYPE_CHECKING:
    from floodtest.analysis.figures.compare import Comparison

app = typer.Typer(add_completion=False)

RUNS = Path("runs")
"""Where run records go by default."""

VS = "vs"
"""What stands between groups; a record whose folder is called so can be named as ./vs."""


@app.command("report")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run record.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where it goes.  [default: the run's]")] = None,
) -> None:
    """Write report.html, one page that needs nothing else, and plots/*.svg and *.png."""
    from floodtest.analysis import load
    from floodtest.analysis.pages.report import write_report

    print(write_report(load(run), out))


@app.command("compare")
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN... [vs RUN...]", help="Run records, the first being the base; of groups with vs between them."
        ),
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="A group: the records of this name. Repeatable.")
    ] = None,
    folder: Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Where records of a --name are.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write compare.html and its plots there as well.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare even what is not alike.")] = False,
) -> None:
    """Set runs, or groups of them, beside each other: bytes a connection, speed, latency, CPU; ratios to the first.

    Groups are several runs of one command: A1 A2 A3 vs B1 B2 B3. The scatter between the runs of a group decides what
    is significant.
    """
    from floodtest.analysis import load
    from floodtest.analysis.figures.compare import compare as compare_records
    from floodtest.analysis.record.reader import find_named

    groups = [[load(run) for run in group] for group in split(runs or [])]
    groups += [find_named(folder, name) for name in names or []]
    comparison = compare_records(groups, force)
    show_comparison(comparison, as_json, html)


@app.command("merge")
def merge(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="[HOST=]RUN...", help="The record of each host's part; a host is called as its folder."),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the record goes.")] = RUNS,
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the record.")] = "merged",
) -> None:
    """Make one record of those of several hosts that were one run, each with users of its own; print its folder.

    report and compare take it like any other.
    """
    from floodtest.analysis import load
    from floodtest.analysis.figures.merged_record import merge_records

    folders = hosts_named(runs, name)
    print(merge_records({host: load(folder) for host, folder in folders.items()}, out, name))


def hosts_named(runs: list[str], name: str) -> dict[str, Path]:
    """Return the record's folder of each host; UsageError where hosts or the whole can't be called so."""
    pairs = [run.partition("=")[::2] if "=" in run else (Path(run).absolute().name, run) for run in runs]
    folders = {host: Path(run) for host, run in pairs}
    problems = [parsers.name.complaint("HOST", host) for host in folders if not parsers.is_name(host)]
    problems += [] if parsers.is_name(name) else [parsers.name.complaint("--name", name)]
    if len(folders) < len(pairs):
        problems.append("Two runs have a host of one name: call them apart, HOST=RUN.")
    if len(pairs) < 2:
        problems.append("A run on several hosts has two records at the least: name them all.")
    if problems:
        raise UsageError(*problems)
    return folders


def split(words: list[str]) -> list[list[str]]:
    """Return the groups between each `vs`; without any each run is a group of its own."""
    if VS not in words:
        return [[word] for word in words]
    groups: list[list[str]] = [[]]
    for word in words:
        if word == VS:
            groups.append([])
        else:
            groups[-1].append(word)
    if not all(groups):
        raise UsageError("A group before or behind vs has no runs.")
    return groups


def show_comparison(comparison: "Comparison", as_json: bool, html: Path | None) -> None:
    """Print a comparison, and write its page into a folder if there is one."""
    from floodtest.analysis.figures.comparison_text import render

    page = None
    if html is not None:
        from floodtest.analysis.pages.compare import write_page

        page = write_page(comparison, html)
    if as_json:
        print_json(comparison.table)
    else:
        print(render(comparison))
    if page is not None:
        print(page, file=sys.stderr)


def report_of(folder: Path) -> None:
    """Write the report at the end of a run and say where it is, or in a sentence why there is none."""

    def draw() -> Path:
        from floodtest.analysis import load
        from floodtest.analysis.pages.report import write_report

        return write_report(load(folder))

    _draw_at_end("report", draw, "The record is whole", folder, f"floodtest report {folder}")


def page_of(comparison: "Comparison", folder: Path) -> None:
    """Write the page of a comparison at the end of its runs and say where it is, or why there is none."""

    def draw() -> Path:
        from floodtest.analysis.pages.compare import write_page

        return write_page(comparison, folder)

    groups = " vs ".join(" ".join(group.runs) for group in comparison.table.groups)
    command = f"floodtest compare {groups} --html {folder}"
    _draw_at_end("comparison", draw, "The records are whole", folder, command)


def _draw_at_end(what: str, draw: Callable[[], Path], are_whole: str, folder: Path, command: str) -> None:
    """Draw a page when all runs are over and their records whole; `command` does so later.

    Neither a fault in a picture nor a Ctrl-C may change the exit code.
    """
    later = f"{are_whole}; later: {command}"
    try:
        print(f"{what}: {draw()}", file=sys.stderr)
    except FloodtestError as error:
        remedy = f" {later}" if isinstance(error, Refused) else ""
        print(f"There is no {what}: {error}{remedy}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"There is no {what}: it was interrupted. {later}", file=sys.stderr)
    except Exception as error:  # whatever it was that failed in a picture
        from floodtest.analysis.figures.formatting import plain

        said = plain(f"{type(error).__name__}: {error}")
        print(f"There is no {what}: it failed with {said}. {are_whole}: {folder}", file=sys.stderr)
