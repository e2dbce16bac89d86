"""`fakefriends`: the command line. Parses, calls, prints."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from datagen.degrees import count_degrees, fit
from datagen.files import Pairs, format_of, read_pairs, refuse_unwritable, write_pairs
from datagen.plot import check_name, plot_degrees
from flyweight import options as opt
from flyweight.command import HELP_NAMES, add_version, run_command
from flyweight.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=HELP_NAMES,
)

FORMATS = ("edgelist", "parquet", "npy")


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
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="[default: as the file's name ends]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Make a friend graph and write it to a file."""
    from datagen import graph  # brings igraph, which takes a second to import

    found = opt.problems({"users": users, "friends": friends}) or graph.problems(users, friends)
    if form is not None and form not in FORMATS:
        found.append(f"--format takes {', '.join(FORMATS)}, not {form!r}.")
    if found:
        raise UsageError(*found)
    chosen: Any = form or format_of(out)
    refuse_unwritable(out, force, chosen)
    seed = secrets.randbits(32) if seed is None else seed
    with _stage(f"making {users:,} users with {friends:,} friends each"):
        pairs = graph.friend_graph(users, friends, seed)
    with _stage(f"writing {out}"):
        write_pairs(out, pairs, chosen, force)
    print(f"seed           {seed}")
    _print_stats(pairs)


def _print_stats(pairs: Pairs) -> None:
    with _stage("counting friends"):
        degrees = count_degrees(pairs)
        law = fit(degrees)
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
def stats(file: Annotated[Path, typer.Argument(help="A file of fakefriends, of any format.", readable=False)]) -> None:
    """Print how many vertices and edges a file has, and how its degrees are distributed."""
    with _stage(f"reading {file}"):
        pairs = read_pairs(file)
    _print_stats(pairs)


@app.command("plot")
def plot(
    file: Annotated[Path, typer.Argument(help="A file of fakefriends, of any format.", readable=False)],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="A .png or .svg.  [default: FILE.png]", readable=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a picture that exists.")] = False,
) -> None:
    """Draw the degree distribution of a file, log-log, with the fitted power law."""
    out = Path(os.path.splitext(file)[0] + ".png") if out is None else out
    check_name(out)
    refuse_unwritable(out, force)
    with _stage(f"reading {file}"):
        pairs = read_pairs(file)
    degrees = count_degrees(pairs)
    plot_degrees(out, degrees, fit(degrees), force)
    print(f"{out} shows it.")


add_version("fakefriends", app)


def main() -> None:
    """Run `fakefriends`; turn errors into exit codes."""
    run_command("fakefriends", app)
