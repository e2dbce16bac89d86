"""Watchers: whoever is told how a run goes."""

from types import TracebackType
from typing import Protocol

from floodtest.analysis import Sample


class Console(Protocol):
    """Who is told how a run goes."""

    def say(self, text: str) -> None:
        """Tell a person one line."""

    def sample(self, sample: Sample, planned: int) -> None:
        """Show a sample."""

    def __enter__(self) -> "Console": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
