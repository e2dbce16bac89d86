"""`comet load`: a file of friends into a store, all of its pairs or, on an error, none.

Users that are numbered anew keep their ids in a file beside, which gets its name when the pairs are in the store.
"""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from flyweight import options as opt
from flyweight.lifeline import end_with
from server_under_test.cli_store import Db
from server_under_test.subscriptions import Store

app = typer.Typer(add_completion=False)


@app.command("load")
def load(
    friends: Annotated[Path, typer.Argument(help="A file of pairs: a line 'A B' subscribes A to B.", readable=False)],
    db: Db,
    columns: Annotated[
        Any, typer.Option(parser=opt.columns, metavar="A,B", help="The pair's columns, by name or number.")
    ] = None,
    mutual: Annotated[bool, typer.Option("--mutual", help="Subscribe B to A as well.")] = False,
    renumber: Annotated[
        bool, typer.Option("--renumber", help="Take ids from 0, or beyond a user's, and number users anew from 1.")
    ] = False,
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where their ids go, a .csv or .npy.  [default: FRIENDS.ids.csv]", readable=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of ids that exists.")] = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Add all pairs of a file to a store, which is made if there is none; all of them or, on an error, none."""
    from datagen.files import ids_beside, read_friends, refuse_unwritable, written_ids

    if parent_fd is not None:
        end_with(parent_fd)
    opt.check({"columns": columns}, *([] if renumber or not ids else ["--ids is for --renumber: give both."]))
    ids = ids or ids_beside(friends)
    if renumber:
        refuse_unwritable(ids, force)
    began = time.monotonic()
    found = read_friends(friends, columns, renumber)
    for note in found.notes:
        print(note, file=sys.stderr)
    pairs = np.concatenate([found.pairs, found.pairs[:, ::-1]]) if mutual else found.pairs
    originals = found.originals
    with nullcontext() if originals is None else written_ids(ids, originals, force), Store(db, create=True) as store:
        added = store.add_subscriptions(pairs)
        subjects, total = store.counts()
    print(f"{len(pairs):,} pairs in {time.monotonic() - began:.1f} s, {added:,} of them new.")
    print(f"{db} holds {total:,} subscriptions to {subjects:,} subjects.")
    if originals is not None:
        print(f"{ids} has the ids that the {len(originals):,} users have in {friends}.")
