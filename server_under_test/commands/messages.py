"""`comet publish` and `comet msggen`: messages for a server that runs."""

from typing import Annotated, Any

import typer

from floodtest.flyweight.command import options as opt
from floodtest.server_under_test.routing.subjects import MAX_USER, as_subject
from floodtest.wire.control import TOKEN_VARIABLE
from floodtest.wire.options import message_size as message_size_option

app = typer.Typer(add_completion=False)

Control = Annotated[str, typer.Option(metavar="URL", help="The control API of the server.")]
Token = Annotated[str | None, typer.Option(envvar=TOKEN_VARIABLE, metavar="TEXT", help="What the server was given.")]
CONTROL = "http://127.0.0.1:8001"


@app.command("publish")
def publish(
    subject: Annotated[str, typer.Argument(help="A user's id, or a name such as photo:789.")],
    message: Annotated[str, typer.Argument(help="Up to 64 KiB of text.")],
    control: Control = CONTROL,
    token: Token = None,
) -> None:
    """Send a message to a subject and all who subscribed to it."""
    opt.check({}, *opt.token_problems(token))
    about = as_subject(subject)
    from floodtest.server_under_test.commands import publishing

    publishing.publish(control, token, about, message)


@app.command("msggen")
def msggen(
    control: Control = CONTROL,
    token: Token = None,
    users: Annotated[
        Any, typer.Option(parser=opt.count, metavar="N", help="Messages are about the ids from 1 to N.")
    ] = 1_000_000,
    producers: Annotated[Any, typer.Option(parser=opt.count, metavar="N", help="Generators, as in 2008.")] = 1000,
    interval: Annotated[
        Any, typer.Option(parser=opt.positive_duration, metavar="SECONDS", help="Mean pause of a generator.")
    ] = "60ms",
    rate: Annotated[
        Any, typer.Option(parser=opt.rate, metavar="N/s", help="Messages a second, evenly, instead of generators.")
    ] = None,
    seconds: Annotated[Any, typer.Option(parser=opt.positive_duration, metavar="SECONDS", help="How long.")] = "60s",
    size: Annotated[Any, typer.Option(parser=message_size_option, metavar="BYTES", help="Of a message's text.")] = 100,
    seed: Annotated[int | None, typer.Option(min=0, help="For the same subjects each time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout at the end.")] = False,
) -> None:
    """Publish messages about random users, each at its planned time, however late that gets."""
    given = {name: value for name, value in locals().items() if name != "as_json"}
    more = opt.token_problems(token)
    if isinstance(users, int) and users > MAX_USER:
        more.append(f"--users takes at most {MAX_USER:,}, not {users:,}.")
    if isinstance(producers, int) and isinstance(interval, float) and producers / interval > opt.MAX_RATE:
        more.append(
            f"--producers / --interval takes at most {opt.MAX_RATE:,} a second, not {producers / interval:,.0f}."
        )
    opt.check(given, *more)
    from floodtest.server_under_test.commands import publishing

    schedule, subjects = publishing.schedule_of(rate, producers, interval, seed)
    publishing.generate(control, token, schedule, users, size, subjects, seconds, as_json)
