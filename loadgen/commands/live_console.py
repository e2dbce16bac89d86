"""What a person sees on a terminal while a run goes: a bar and the latest figures, redrawn in place."""

from rich.console import Console as Terminal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from floodtest.analysis import Sample
from floodtest.analysis.record.stages import Stage
from floodtest.loadgen.commands.console import Rate, closing, figures
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.watch import Watcher


class LiveConsole(Watcher):
    """A bar and the latest figures, redrawn in place."""

    def __init__(self) -> None:
        self._terminal = Terminal(stderr=True)
        self._live = Live(console=self._terminal, auto_refresh=False)  # a redraw takes milliseconds
        self._rate = Rate()

    def say(self, text: str) -> None:
        self._live.console.print(Text(text))

    def stage(self, stage: Stage) -> None:
        """Begin to redraw with the first stage: what is said before stands above."""
        self._live.start()

    def sample(self, sample: Sample, reading: Reading) -> None:
        if sample.stage == Stage.CLOSE:
            self._live.update(Text(f"closing: {closing(sample)}"), refresh=True)
            return
        self._rate.update(sample)
        planned = reading.states.planned
        table = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=planned, completed=sample.open, width=32)
        rate = f"{self._rate.per_second:,.0f}/s" if sample.stage == Stage.RAMP else ""
        table.add_row(sample.stage, bar, f"{sample.open:,} of {planned:,} open", rate, self._rate.left(sample, planned))
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(Text(figures(sample), style="dim"))
        self._live.update(outer, refresh=True)

    def close(self) -> None:
        self._live.stop()
