"""`fakefriends`: the command line. Parses, calls, prints."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.datagen.degrees import count_degrees, fit
from floodtest.datagen.files import (
    Friends,
    Pairs,
    format_of,
    ids_beside,
    read_friends,
    refuse_unwritable,
    write_pairs,
    written_ids,
)
from floodtest.datagen.plot import check_name, plot_degrees
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


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    began = time.monotonic()
    print(f"{name} ...", file=sys.stderr, end="", flush=True)
    try:
        yield
    except BaseException:
        print(file=sys.stderr, flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


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
    from floodtest.datagen import graph  # brings igraph, which takes a second to import

    found = opt.problems({"users": users, "friends": friends}) or graph.problems(users, friends)
    opt.check({}, *found, *_problems_with_format(form))
    chosen: Any = form or format_of(out)
    refuse_unwritable(out, force, chosen)
    seed = secrets.randbits(32) if seed is None else seed
    with _stage(f"making {users:,} users with {friends:,} friends each"):
        pairs = graph.friend_graph(users, friends, seed)
    with _stage(f"writing {out}"):
        write_pairs(out, pairs, chosen, force)
    print(f"seed           {seed}")
    _print_stats(pairs)


def _problems_with_format(form: str | None) -> list[str]:
    return [] if form in (None, *FORMATS) else [f"--format takes {', '.join(FORMATS)}, not {form!r}."]


def _print_stats(pairs: Pairs) -> None:
    with _stage("counting friends"):
        degrees = count_degrees(pairs)
        law = fit(degrees)
    if degrees.pair_count != degrees.edge_count:
        print(f"pairs          {degrees.pair_count:,}")
        print(f"loops          {degrees.apart.loops:,}")
        print(f"duplicates     {degrees.apart.duplicates:,}")
        print(f"reciprocal     {degrees.reciprocal:,}")
    print(f"vertices       {degrees.vertex_count:,}")
    print(f"edges          {degrees.edge_count:,}")
    if len(pairs):
        low, high = int(degrees.degree[0]), int(degrees.degree[-1])
        print(f"degree         minimum {low:,}, mean {degrees.mean:.2f}, maximum {high:,}")
    if law is None:
        print("power law      no tail is long enough to fit one")
    else:
        tail = f"fitted to the {law.vertices:,} vertices of degree {law.cutoff:,} and more"
        print(f"power law      exponent {law.exponent:.3f} ± {law.error:.3f}, {tail}")


@app.command("stats")
def stats(file: File, columns: TheColumns = None, renumber: Anew = False) -> None:
    """Print how many vertices and edges a file has, and how its degrees are distributed."""
    opt.check({"columns": columns})
    _print_stats(_read(file, columns, renumber).pairs)


def _read(file: Path, columns: Any, renumber: bool) -> Friends:
    """Read a file, and say what there is to say of it."""
    with _stage(f"reading {file}"):
        friends = read_friends(file, columns, renumber)
    for note in friends.notes:
        print(note, file=sys.stderr)
    return friends


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
    out = Path(os.path.splitext(file)[0] + ".png") if out is None else out
    check_name(out)
    refuse_unwritable(out, force)
    degrees = count_degrees(_read(file, columns, renumber).pairs)
    plot_degrees(out, degrees, fit(degrees), force)
    print(f"{out} shows it.")


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
    chosen: Any = form or format_of(out)
    refuse_unwritable(out, force, chosen)
    ids = ids_beside(out)
    if renumber:
        refuse_unwritable(ids, force)
    friends = _read(file, columns, renumber)
    originals = friends.originals
    with _stage(f"writing {out}"), nullcontext() if originals is None else written_ids(ids, originals, force):
        write_pairs(out, friends.pairs, chosen, force)
    print(f"{out} has {len(friends.pairs):,} pairs.")
    if originals is not None:
        print(f"{ids} has the ids that its {len(originals):,} users have in {file}.")


add_version("fakefriends", app)


def main() -> None:
    """Run `fakefriends`; turn errors into exit codes."""
    run_command("fakefriends", app)
