"""`comet subs`: single subscriptions of a store, from the command line."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from flyweight import options as opt
from server_under_test.subjects import as_subject, as_user
from server_under_test.subscriptions import Store

app = typer.Typer(add_completion=False)
subs = typer.Typer(no_args_is_help=True, add_completion=False, help="Change and show single subscriptions.")
app.add_typer(subs, name="subs")

# readable=False: whether a path can be read is found out by reading it, and told in the words of our errors
Db = Annotated[Path, typer.Option(metavar="DIR", help="The subscription store.", readable=False)]
MaxUsers = Annotated[
    Any, typer.Option(parser=opt.count, metavar="N", help="The server's: say how many users have ids above it.")
]
Subscriber = Annotated[str, typer.Argument(help="A user's id.")]
About = Annotated[str, typer.Argument(help="A user's id, or a name such as photo:789.")]


class Reach(msgspec.Struct, frozen=True):
    """How many users there are, and how many of them have ids above those that are served."""

    users: int
    beyond: int


def reach_of(users: npt.NDArray[np.uint32], max_users: int) -> Reach:
    """Count users, whose ids ascend."""
    return Reach(len(users), len(users) - int(np.searchsorted(users, max_users, side="right")))


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
