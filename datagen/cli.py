"""`fakefriends`: the command line. Parses, and calls what is in `graph_files`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.flyweight.command.run import HELP_NAMES, add_version, run_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)

FORMATS = ("edgelist", "parquet", "npy")

File = Annotated[Path, typer.Argument(help="A file of pairs, in any of the formats that are read.", readable=False)]
TheColumns = Annotated[
    Any, typer.Option("--columns", parser=opt.columns, metavar="A,B", help="The pair's columns, by name or number.")
]
Anew = Annotated[
    bool, typer.Option("--renumber", help="Take ids from 0, or beyond a user's, and number users anew from 1.")
]
AFormat = Annotated[
    str | None, typer.Option("--format", metavar="|".join(FORMATS), help="[default: as the file's name ends]")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


@app.callback()
def fakefriends() -> None:
    """Friend graphs like those of 2008: Barabási-Albert, two ids a line."""


@app.command("gen")
def gen(
    users: Annotated[Any, typer.Option("-n", "--users", parser=opt.count, metavar="N", help="Users.")] = 1_000_000,
    friends: Annotated[
        Any, typer.Option("-m", "--friends", parser=opt.count, metavar="N", help="Friends that each newcomer makes.")
    ] = 15,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same file.  [default: any]")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="What to write.", readable=False)] = Path(
        "fakefriends.txt"
    ),
    form: AFormat = None,
    force: Force = False,
) -> None:
    """Make a friend graph and write it to a file."""
    from floodtest.datagen import graph, graph_files

    found = opt.problems({"users": users, "friends": friends}) or graph.problems(users, friends)
    opt.check({}, *found, *_problems_with_format(form))
    graph_files.generate(users, friends, seed, out, form, force)


def _problems_with_format(form: str | None) -> list[str]:
    return [] if form in (None, *FORMATS) else [f"--format takes {', '.join(FORMATS)}, not {form!r}."]


@app.command("stats")
def stats(file: File, columns: TheColumns = None, renumber: Anew = False) -> None:
    """Print how many vertices and edges a file has, and how its degrees are distributed."""
    opt.check({"columns": columns})
    from floodtest.datagen import graph_files

    graph_files.show_stats(file, columns, renumber)


@app.command("plot")
def plot(
    file: File,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="A .png or .svg.  [default: FILE.png]", readable=False),
    ] = None,
    columns: TheColumns = None,
    renumber: Anew = False,
    force: Force = False,
) -> None:
    """Draw the degree distribution of a file, log-log, with the fitted power law."""
    opt.check({"columns": columns})
    from floodtest.datagen import graph_files

    graph_files.plot(file, out, columns, renumber, force)


@app.command("convert")
def convert(
    file: File,
    out: Annotated[Path, typer.Argument(help="What to write.", readable=False)],
    columns: TheColumns = None,
    renumber: Anew = False,
    form: AFormat = None,
    force: Force = False,
) -> None:
    """Write the pairs of a file to another; with --renumber, the ids that its users had to OUT.ids.csv."""
    opt.check({"columns": columns}, *_problems_with_format(form))
    from floodtest.datagen import graph_files

    graph_files.convert(file, out, columns, renumber, form, force)


add_version("fakefriends", app)


def main() -> None:
    """Run `fakefriends`; turn errors into exit codes."""
    run_command("fakefriends", app)
