"""`comet load` and `comet subs`: the subscription store from the command line."""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flyweight.lifeline import end_with
from server_under_test.subjects import as_subject, as_user
from server_under_test.subscriptions import Store

app = typer.Typer(add_completion=False)
subs = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(subs, name="subs")

# readable=False: whether a path can be read is found out by reading it, and told in the words of our errors
Db = Annotated[Path, typer.Option(metavar="DIR", help="The subscription store.", readable=False)]
Subscriber = Annotated[str, typer.Argument(help="A user's id.")]
About = Annotated[str, typer.Argument(help="A user's id, or a name such as photo:789.")]


@app.command("load")
def load(
    friends: Annotated[
        Path, typer.Argument(help="A file of fakefriends: a line 'A B' subscribes A to B.", readable=False)
    ],
    db: Db,
    mutual: Annotated[bool, typer.Option("--mutual", help="Subscribe B to A as well.")] = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Add all pairs of a file to a store, which is made if there is none; all of them or, on an error, none."""
    from datagen.files import read_pairs

    if parent_fd is not None:
        end_with(parent_fd)
    began = time.monotonic()
    pairs = read_pairs(friends)
    if mutual:
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
    with Store(db, create=True) as store:
        added = store.add_subscriptions(pairs)
        subjects, total = store.counts()
    print(f"{len(pairs):,} pairs in {time.monotonic() - began:.1f} s, {added:,} of them new.")
    print(f"{db} holds {total:,} subscriptions to {subjects:,} subjects.")


@subs.callback()
def change_subscriptions() -> None:
    """Change and show single subscriptions."""


@subs.command("add")
def add(subscriber: Subscriber, subject: About, db: Db) -> None:
    """Subscribe a user to a subject; the store is made if there is none."""
    pair = as_user(subscriber), as_subject(subject)  # first: nonsense makes no store
    with Store(db, create=True) as store:
        added = store.add_subscriptions([pair])
    print("Added." if added else "It was there already.")


@subs.command("remove")
def remove(subscriber: Subscriber, subject: About, db: Db) -> None:
    """End a subscription."""
    pair = as_user(subscriber), as_subject(subject)
    with Store(db) as store:
        removed = store.remove_subscriptions([pair])
    print("Removed." if removed else "There was none.")


@subs.command("get")
def get(subject: About, db: Db) -> None:
    """Print the subscribers of a subject, one a line."""
    about = as_subject(subject)
    with Store(db) as store:
        for user in store.subscribers(about).tolist():
            print(user)
