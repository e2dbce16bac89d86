"""`floodtest report` and `floodtest compare`: what run records show. They open no connection."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import FloodtestError, Refused

app = typer.Typer(add_completion=False)


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
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run records; the first is the base.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write compare.html and its plots there as well.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare even what is not alike.")] = False,
) -> None:
    """Set runs beside each other: bytes a connection, speed, latency, CPU, lines of code; ratios to the first."""
    from floodtest.analysis import load
    from floodtest.analysis.figures.compare import compare as compare_records
    from floodtest.analysis.figures.compare import render
    from floodtest.analysis.pages.compare import write_page

    comparison = compare_records([load(run) for run in runs], force)
    page = None if html is None else write_page(comparison, html)
    if as_json:
        print_json(comparison.table)
    else:
        print(render(comparison))
    if page is not None:
        print(page, file=sys.stderr)


def report_of(folder: Path) -> None:
    """Write the report at the end of a run and say where it is, or in a sentence why there is none.

    The run is over and its record whole: neither a fault in a picture nor a Ctrl-C may change its exit code.
    """
    later = f"The record is whole; later: floodtest report {folder}"
    try:
        from floodtest.analysis import load
        from floodtest.analysis.pages.report import write_report

        print(f"report: {write_report(load(folder))}", file=sys.stderr)
    except FloodtestError as error:
        remedy = f" {later}" if isinstance(error, Refused) else ""
        print(f"There is no report: {error}{remedy}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"There is no report: it was interrupted. {later}", file=sys.stderr)
    except Exception as error:  # whatever it was that failed in a picture
        from floodtest.analysis.figures.formatting import plain

        said = plain(f"{type(error).__name__}: {error}")
        print(f"There is no report: it failed with {said}. The record is whole: {folder}", file=sys.stderr)
