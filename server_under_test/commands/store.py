"""`comet subs`: what a store holds, and single subscriptions, from the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.server_under_test.routing.subjects import as_subject, as_user

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


@subs.command("count")
def count(
    db: Db,
    max_users: MaxUsers = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Print how many subscriptions, subjects and users a store holds."""
    opt.check({"max_users": max_users})
    from floodtest.server_under_test.commands import subscribing

    subscribing.count(db, max_users, as_json)


@subs.callback()
def change_subscriptions() -> None:
    """Change and show the subscriptions of a store."""


@subs.command("add")
def add(subscriber: Subscriber, subject: About, db: Db) -> None:
    """Subscribe a user to a subject; the store is made if there is none."""
    pair = as_user(subscriber), as_subject(subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.add(db, *pair)


@subs.command("remove")
def remove(subscriber: Subscriber, subject: About, db: Db) -> None:
    """End a subscription."""
    pair = as_user(subscriber), as_subject(subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.remove(db, *pair)


@subs.command("get")
def get(subject: About, db: Db) -> None:
    """Print the subscribers of a subject, one a line."""
    about = as_subject(subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.show(db, about)
