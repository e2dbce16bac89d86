"""Watchers: who is told of the stages, the samples and the summary of a run, such as its record and the terminal.

A watcher that raises can't hurt the run. It is closed and told nothing more, its traceback goes to stderr, and its
failure is kept in words for the summary, which names it; but for what it raises when it is closed at the end, which
comes after the summary and is only on stderr. Watchers are called in the task of the run, one after another,
so one that waits holds up the run.
"""

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from floodtest.analysis import Sample, Summary
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.run.reading import Reading


class Watcher:
    """Takes whatever it is told, and does nothing. A watcher of a kind overrides what it has a use for."""

    takes_all_samples = False
    """Whether it is told of samples between those that were asked for, too: a ramp has more of them at first."""

    def say(self, text: str) -> None:
        """Take a line for a person."""

    def stage(self, stage: Stage) -> None:
        """Take the name of a stage that begins, which ends the one before."""

    def sample(self, sample: Sample, reading: Reading) -> None:
        """Take a sample, and the reading of all sites that it was made from."""

    def summary(self, summary: Summary, is_final: bool) -> None:
        """Take what has come of the run: once before connections are closed, and when they are, which is final.

        A final one may come again, with what has gone wrong when the one before was told; the last one is true.
        """

    def close(self) -> None:
        """Give back what it has: the run is over, or this watcher has failed."""


class Watchers:
    """All watchers of a run."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)
        self._failures: list[tuple[Watcher, str]] = []

    def put_first(self, watcher: Watcher) -> None:
        """Add a watcher that is told before all others."""
        self._watchers.insert(0, watcher)

    def add(self, watcher: Watcher) -> None:
        """Add a watcher that is told after all others."""
        self._watchers.append(watcher)

    def say(self, text: str) -> None:
        self._tell(lambda watcher: watcher.say(text))

    def stage(self, stage: Stage) -> None:
        self._tell(lambda watcher: watcher.stage(stage))

    def sample(self, sample: Sample, reading: Reading, was_asked_for: bool) -> None:
        def tell(watcher: Watcher) -> None:
            if was_asked_for or watcher.takes_all_samples:
                watcher.sample(sample, reading)

        self._tell(tell)

    def summary(self, summary: Summary, is_final: bool) -> None:
        self._tell(lambda watcher: watcher.summary(summary, is_final))

    def close(self) -> None:
        self._tell(lambda watcher: watcher.close())

    def failure_of(self, watcher: Watcher) -> str | None:
        """Return what a watcher has failed with, in words; None if it has not."""
        return next((words for failed, words in self._failures if failed is watcher), None)

    def failures(self, besides: Watcher) -> list[str]:
        """Return a sentence for each watcher that has failed, besides one."""
        return [
            f"watcher {type(failed).__name__}: {words}" for failed, words in self._failures if failed is not besides
        ]

    def _tell(self, tell: Callable[[Watcher], None]) -> None:
        for watcher in list(self._watchers):
            try:
                tell(watcher)
            except Exception as error:  # whatever it is: a run must not depend on who looks at it
                self._give_up(watcher, error)

    def _give_up(self, watcher: Watcher, error: Exception) -> None:
        self._watchers = [one for one in self._watchers if one is not watcher]  # others may be equal to it
        self._failures.append((watcher, f"{_in_words(error)}; it was told nothing more"))
        try:
            watcher.close()  # before the traceback: a terminal is redrawn as long as it is open
        except Exception as second:  # it has failed already, so this one only needs to be seen
            _show(second)
        _show(error)


def _in_words(error: Exception) -> str:
    """Write an error, and the line that raised it."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    try:
        words = str(error)
    except Exception:  # the error may be of a class of the watcher's own
        words = "it can't be told in words"
    return f"{type(error).__name__}: {words} ({Path(last.filename).name}, line {last.lineno})"


def _show(error: Exception) -> None:
    with suppress(OSError, ValueError):  # stderr may be what the watcher has failed with
        traceback.print_exception(error, file=sys.stderr)
