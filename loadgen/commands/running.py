"""What `floodtest run` does in the network that it has settled on: a run, and what is said of it."""

import sys
from functools import partial

import trio

from floodtest.analysis import RecordError, Summary, load, read_findings
from floodtest.analysis.figures.doubts import doubts_of_figures
from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.errors import FloodtestError, Refused, Unread
from floodtest.loadgen.commands.console import PlainConsole, render
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import cut_to_fit
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.watch import Watcher


def open_console() -> Watcher:
    """Return a live console on a terminal, a plain one elsewhere."""
    if not sys.stderr.isatty():
        return PlainConsole()
    from floodtest.loadgen.commands.live_console import LiveConsole  # brings rich, which only a terminal needs

    return LiveConsole()


def execute(options: RunOptions, network: Network, fit: bool) -> Summary:
    """Run, with as many connections as fit if that is asked for; Refused before anything was opened."""
    console = open_console()
    if options.cluster.is_asked:
        return _execute_elsewhere(options, network, fit, console)
    if fit:
        options = cut_to_fit(options, network, console.say)
    console.say(f"Network: {network.in_words}.")
    return trio.run(Run(options, [console], network).execute)


def _execute_elsewhere(options: RunOptions, network: Network, fit: bool, console: Watcher) -> Summary:
    """Run with the machines of a cluster."""
    from floodtest.loadgen.cluster.fleet import assembled  # not above: a run of this machine alone has no use for it

    return trio.run(Run(options, [console], network, partial(assembled, cuts_to_fit=fit)).execute)


def show(summary: Summary, as_json: bool) -> FloodtestError | None:
    """Print a summary; return why standard output did not take it, which is no reason to leave out the report."""
    rendered = render(summary, _doubts_of(summary))
    if as_json:
        print(rendered, file=sys.stderr)
    try:
        if as_json:
            print_json(summary)
        else:
            print(rendered)
        sys.stdout.flush()
    except (Refused, Unread) as error:
        return error
    return None


def _doubts_of(summary: Summary) -> list[str]:
    """Return what changes how the figures of a run are to be read, as its report will say it."""
    try:
        return doubts_of_figures(read_findings(load(summary.run)))
    except RecordError as error:
        return [f"{error} What to doubt about these figures is not known."]
