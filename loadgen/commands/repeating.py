"""What `floodtest run --repeat` and `floodtest ab` do: a series of runs, and what it shows at its end."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from floodtest.analysis import Record, RecordError, Summary, load
from floodtest.analysis.figures.compare import Comparison, Table, compare, tabulate
from floodtest.analysis.figures.comparison_text import render, render_series
from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import ExitCode
from floodtest.loadgen.commands.records import page_of
from floodtest.loadgen.commands.run_series import Ended, alternating, run_series, worst


class Series(msgspec.Struct, frozen=True):
    """What `--json` prints: how the series ended, the summary of each run that has one, and their figures."""

    outcome: str
    runs: list[Summary]
    table: Table | None
    """None: there are no figures to be set beside each other."""


def now() -> str:
    """Return what a series is called that was given no name."""
    return time.strftime("%Y%m%d-%H%M%S")


def repeat(words: Sequence[str], times: int, as_json: bool) -> ExitCode:
    """Run a command line so many times; print the median and the scatter of the main figures."""
    ended = run_series([words] * times)
    records = _records(ended)
    comparison = tabulate([records], []) if records else None
    if as_json:
        _print_json(ended, comparison)
    elif comparison is not None:
        print(render_series(comparison))
    return worst(ended)


def ab(sides: Sequence[Sequence[str]], rounds: int, folder: Path, as_json: bool) -> ExitCode:
    """Run two command lines in turn, so many times each, whose records go to a folder; compare them on a page there."""
    order = alternating(rounds)
    ended = run_series([sides[side] for side in order])
    groups = [_records([run for at, run in zip(order, ended, strict=False) if at == side]) for side in (0, 1)]
    # Forced: what is not alike about the two sides is what was asked for, and is named in the comparison.
    comparison = compare(groups, force=True) if all(groups) else None
    if as_json:
        _print_json(ended, comparison)
    elif comparison is not None:
        print(render(comparison))
    if comparison is None:
        print(
            "There is no comparison: not both sides have a run that came to its end and whose record can be read.",
            file=sys.stderr,
        )
    else:
        page_of(comparison, folder)
    return worst(ended)


def _records(runs: Sequence[Ended]) -> list[Record]:
    """Read the records of runs that have figures; one that can't be read any more is named, and left out."""
    records = []
    for run in runs:
        if run.summary is not None and run.has_figures:
            try:
                records.append(load(run.summary.run))
            except RecordError as error:
                print(f"{error} The run is left out of the table.", file=sys.stderr)
    return records


def _print_json(ended: Sequence[Ended], comparison: Comparison | None) -> None:
    outcome = worst(ended).name.lower()
    summaries = [run.summary for run in ended if run.summary is not None]
    print_json(Series(outcome, summaries, None if comparison is None else comparison.table))
