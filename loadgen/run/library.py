"""A run from a program instead of the command line."""

import trio

from floodtest.analysis import Sample, Summary
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.run.conductor import Run
from floodtest.loadgen.run.watch import Console


class Nobody:
    """A watcher that does nothing."""

    def say(self, text: str) -> None:
        """Take a line for a person."""

    def sample(self, sample: Sample, planned: int) -> None:
        """Take a sample."""

    def __enter__(self) -> "Nobody":
        return self

    def __exit__(self, *of_the_end: object) -> None:
        pass


def run(options: RunOptions, watcher: Console | None = None) -> Summary:
    """Run to the end, in the network of this process, and return the summary; the record is in `Summary.run`.

    It blocks, and must be called in the main thread, since it hears SIGINT and SIGTERM meanwhile. `options.network` is
    not looked at: a network of a run's own is a matter of the command line, which enters it before it imports the rest.
    Raises Refused when the machine does not allow the run or a file is not what was asked for, UsageError when the
    options contradict each other, WorkerFault when the run could not start.
    """
    with Nobody() if watcher is None else watcher as watching:
        return trio.run(Run(options, watching).execute)
