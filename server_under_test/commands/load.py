"""`comet load`: a file of friends into a store. Parses, and calls what is in `loading`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.server_under_test.commands.store import Db, MaxUsers

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
    max_users: MaxUsers = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, the rest on stderr.")] = False,
) -> None:
    """Add all pairs of a file to a store, which is made if there is none; all of them or, on an error, none."""
    misplaced = [] if renumber or ids is None else ["--ids is for --renumber: give both."]
    opt.check({"columns": columns, "max_users": max_users}, *misplaced)
    from floodtest.server_under_test.commands.loading import load_and_show

    load_and_show(friends, db, columns, mutual, renumber, ids, force, max_users, as_json)
