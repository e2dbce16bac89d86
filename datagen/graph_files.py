"""What `fakefriends` does: it makes a graph, says how degrees are spread in a file, draws that, or writes it anew."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

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
from floodtest.datagen.options import ConvertOptions, FileOptions, GraphOptions, PlotOptions
from floodtest.datagen.plot import check_name, plot_degrees
from floodtest.flyweight.command.counted import counted


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    began = time.monotonic()
    print(f"{name} ...", file=sys.stderr, end="", flush=True)
    try:
        yield
    except BaseException:  # an interrupt as well ends the line that was begun
        print(file=sys.stderr, flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _print_stats(pairs: Pairs) -> None:
    """Print how many vertices and edges there are, and how degrees are distributed."""
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


def _read_and_note(options: FileOptions) -> Friends:
    """Read a file, and print the notes that reading it has left."""
    with _stage(f"reading {options.file}"):
        friends = read_friends(options.file, options.columns, options.renumber)
    for note in friends.notes:
        print(note, file=sys.stderr)
    return friends


def generate(options: GraphOptions) -> None:
    """Make a friend graph, write it to a file and say how its degrees are distributed."""
    from floodtest.datagen.graph import friend_graph  # brings igraph, which takes a second to import

    users, friends, out = options.users, options.friends, options.out
    form = options.form or format_of(out)
    refuse_unwritable(out, options.force, form)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    with _stage(f"making {counted(users, 'users')} with {counted(friends, 'friends')} each"):
        pairs = friend_graph(users, friends, seed)
    with _stage(f"writing {out}"):
        write_pairs(out, pairs, form, options.force)
    print(f"seed           {seed}")
    _print_stats(pairs)


def show_stats(options: FileOptions) -> None:
    """Read a file and print how many vertices and edges it has, and how degrees are distributed."""
    _print_stats(_read_and_note(options).pairs)


def plot(options: PlotOptions) -> None:
    """Draw the degrees of a file, beside it if it is not said where."""
    out = options.out or Path(os.path.splitext(options.file)[0] + ".png")
    check_name(out)
    refuse_unwritable(out, options.force)
    degrees = count_degrees(_read_and_note(options).pairs)
    plot_degrees(out, degrees, fit(degrees), options.force)
    print(f"{out} shows it.")


def convert(options: ConvertOptions) -> None:
    """Write the pairs of a file to another, and the ids of users that are numbered anew beside it."""
    out, force = options.out, options.force
    form = options.form or format_of(out)
    refuse_unwritable(out, force, form)
    ids = ids_beside(out)
    if options.renumber:
        refuse_unwritable(ids, force)
    friends = _read_and_note(options)
    originals = friends.originals
    with _stage(f"writing {out}"), nullcontext() if originals is None else written_ids(ids, originals, force):
        write_pairs(out, friends.pairs, form, force)
    print(f"{out} has {counted(len(friends.pairs), 'pairs')}.")
    if originals is not None:
        print(f"{ids} has the ids that its {counted(len(originals), 'users')} have in {options.file}.")
