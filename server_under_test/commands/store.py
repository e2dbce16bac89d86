"""`comet subs`: what a store holds, and single subscriptions. Parses, and calls what is in `subscribing`."""

import typer

from floodtest.flyweight.command.command_line import takes
from floodtest.server_under_test.commands.options import CountOptions, SubjectOptions, SubscriptionOptions
from floodtest.server_under_test.routing.subjects import as_subject, as_user

app = typer.Typer(add_completion=False)
subs = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(subs, name="subs")


@subs.callback()
def change_subscriptions() -> None:
    """Change and show the subscriptions of a store."""


@subs.command("count")
@takes(CountOptions)
def count(options: CountOptions) -> None:
    """Print how many subscriptions, subjects and users a store holds."""
    from floodtest.server_under_test.commands import subscribing

    subscribing.count(options)


@subs.command("add")
@takes(SubscriptionOptions)
def add(options: SubscriptionOptions) -> None:
    """Subscribe a user to a subject; the store is made if there is none."""
    pair = as_user(options.subscriber), as_subject(options.subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.add(options.db, *pair)


@subs.command("remove")
@takes(SubscriptionOptions)
def remove(options: SubscriptionOptions) -> None:
    """End a subscription."""
    pair = as_user(options.subscriber), as_subject(options.subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.remove(options.db, *pair)


@subs.command("get")
@takes(SubjectOptions)
def get(options: SubjectOptions) -> None:
    """Print the subscribers of a subject, one a line."""
    about = as_subject(options.subject)
    from floodtest.server_under_test.commands import subscribing

    subscribing.show(options.db, about)
