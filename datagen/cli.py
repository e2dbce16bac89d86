"""`fakefriends`: the command line. Parses, and calls what is in `graph_files`."""

import typer

from floodtest.datagen.options import ConvertOptions, FileOptions, GraphOptions, PlotOptions
from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.run import HELP_NAMES, add_version, run_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)


@app.callback()
def fakefriends() -> None:
    """Friend graphs like those of 2008: Barabási-Albert, two ids a line."""


def _read(line: CommandLine) -> GraphOptions:
    from floodtest.datagen.graph import problems  # brings igraph, which takes a second to import

    options = line.read(GraphOptions)
    line.check(problems(options.users, options.friends), "users", "friends")
    return options


@app.command("gen")
@takes(GraphOptions, _read)
def gen(options: GraphOptions) -> None:
    """Make a friend graph and write it to a file."""
    from floodtest.datagen import graph_files

    graph_files.generate(options)


@app.command("stats")
@takes(FileOptions)
def stats(options: FileOptions) -> None:
    """Print how many vertices and edges a file has, and how its degrees are distributed."""
    from floodtest.datagen import graph_files

    graph_files.show_stats(options)


@app.command("plot")
@takes(PlotOptions)
def plot(options: PlotOptions) -> None:
    """Draw the degree distribution of a file, log-log, with the fitted power law."""
    from floodtest.datagen import graph_files

    graph_files.plot(options)


@app.command("convert")
@takes(ConvertOptions)
def convert(options: ConvertOptions) -> None:
    """Write the pairs of a file to another; with --renumber, the ids that its users had to OUT.ids.csv."""
    from floodtest.datagen import graph_files

    graph_files.convert(options)


add_version("fakefriends", app)


def main() -> None:
    """Run `fakefriends`; turn errors into exit codes."""
    run_command("fakefriends", app)
