"""`comet subs`: what a store holds, and single subscriptions, from the command line."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from floodtest.flyweight.command import options as opt
from floodtest.flyweight.command.counted import counted
from floodtest.server_under_test.routing.subjects import as_subject, as_user
from floodtest.server_under_test.routing.subscriptions import Store

app = typer.Typer(add_completion=False)
subs = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(subs, name="subs")

# readable=False: whether a path can be read is found out by reading it, and told in the words of our errors
Db = Annotated[Path, typer.Option(metavar="DIR", help="The subscription store.", readable=False)]
MaxUsers = Annotated[
    Any, typer.Option(parser=opt.count, metavar="N", help="The server's: say how many users have ids above it.")
]
Subscriber = Annotated[str, typer.Argument(help="A user's id.")]
About = Annotated[str, typer.Argument(help="A user's id, or a name such as photo:789.")]


class Reach(msgspec.Struct, frozen=True):
    """How many users there are, and how many of them have ids above those that are served, if that was asked."""

    users: int
    beyond: int | None


def reach_of(users: npt.NDArray[np.uint32], max_users: int | None) -> Reach:
    """Count users, whose ids ascend."""
    beyond = None if max_users is None else len(users) - int(np.searchsorted(users, max_users, side="right"))
    return Reach(len(users), beyond)


def held(subjects: int, subscriptions: int) -> str:
    """Write what a store holds."""
    return f"{counted(subscriptions, 'subscriptions')} to {counted(subjects, 'subjects')}"


class Counted(msgspec.Struct, frozen=True):
    """What a store holds: the keys of `comet subs count --json`."""

    subscriptions: int
    subjects: int
    reach: Reach


@subs.command("count")
def count(
    db: Db,
    max_users: MaxUsers = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Print how many subscriptions, subjects and users a store holds."""
    opt.check({"max_users": max_users})
    with Store(db) as store:
        subjects, subscriptions = store.counts()
        reach = reach_of(store.users(), max_users)
    if as_json:
        print(msgspec.json.encode(Counted(subscriptions, subjects, reach)).decode())
        return
    print(f"{db} holds {subscriptions:,} subscriptions to {subjects:,} subjects, of and to {reach.users:,} users.")
    if reach.beyond is not None:
        print(f"{reach.beyond:,} of the users have ids above {max_users:,}.")


@subs.callback()
def change_subscriptions() -> None:
    """Change and show the subscriptions of a store."""


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
