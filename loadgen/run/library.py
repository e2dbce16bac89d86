"""A run from a program instead of the command line."""

from collections.abc import Sequence

import trio

from floodtest.analysis import Summary
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.watch import Watcher


def run(options: RunOptions, watchers: Sequence[Watcher] = ()) -> Summary:
    """Run to the end, in the network of this process, and return the summary; the record is in `Summary.run`.

    Watchers are told how the run goes (`loadgen.run.watch`); one that raises ends nothing, and is in `Summary.reasons`,
    but for what it raises in `close`, which comes after the summary: that is on standard error only. It blocks,
    and must be called in the main thread, since it hears SIGINT and SIGTERM meanwhile. `options.network` is not looked
    at: a network of a run's own is a matter of the command line, which enters it before it imports the rest.
    Raises Refused when the machine does not allow the run or a file is not what was asked for, UsageError when the
    options contradict each other, WorkerFault when the run could not start.
    """
    if found := problems(options):
        raise UsageError(*found)
    return trio.run(Run(options, watchers).execute)
