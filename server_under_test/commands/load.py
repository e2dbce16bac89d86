"""`comet load`: a file of friends into a store. Parses, and calls what is in `loading`."""

from collections.abc import Iterator

import typer

from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.server_under_test.commands.options import LoadOptions

app = typer.Typer(add_completion=False)


def _read(line: CommandLine) -> LoadOptions:
    options = line.read(LoadOptions)
    line.check(_about_ids(options))
    return options


def _about_ids(options: LoadOptions) -> Iterator[str]:
    if options.ids is not None and not options.renumber:
        yield "--ids is for --renumber: give both."


@app.command("load")
@takes(LoadOptions, _read)
def load(options: LoadOptions) -> None:
    """Add all pairs of a file to a store, which is made if there is none; all of them or, on an error, none."""
    from floodtest.server_under_test.commands.loading import load_and_show

    load_and_show(options)
