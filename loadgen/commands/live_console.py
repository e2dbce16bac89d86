"""What a person sees on a terminal while a run goes: a bar and the latest figures, redrawn in place."""

from types import TracebackType

from rich.console import Console as Terminal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from floodtest.analysis import Sample
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.commands.console import Rate, closing, figures


class LiveConsole:
    """A bar and the latest figures, redrawn in place."""

    def __init__(self) -> None:
        self._terminal = Terminal(stderr=True)
        self._live = Live(console=self._terminal, auto_refresh=False)  # a redraw takes milliseconds
        self._rate = Rate()

    def say(self, text: str) -> None:
        self._live.console.print(Text(text))

    def sample(self, sample: Sample, planned: int) -> None:
        if sample.stage == Stage.CLOSE:
            self._live.update(Text(f"closing: {closing(sample)}"), refresh=True)
            return
        self._rate.update(sample)
        table = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=planned, completed=sample.open, width=32)
        rate = f"{self._rate.per_second:,.0f}/s" if sample.stage == Stage.RAMP else ""
        table.add_row(sample.stage, bar, f"{sample.open:,} of {planned:,} open", rate, self._rate.left(sample, planned))
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(Text(figures(sample), style="dim"))
        self._live.update(outer, refresh=True)

    def __enter__(self) -> "LiveConsole":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
