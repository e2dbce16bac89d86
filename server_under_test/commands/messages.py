"""`comet publish` and `comet msggen`: messages for a server that runs. Parses, and calls what is in `publishing`."""

from collections.abc import Iterator

import typer

from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.parsers import MAX_RATE
from floodtest.server_under_test.commands.options import GeneratorOptions, PublishOptions
from floodtest.server_under_test.routing.subjects import MAX_USER, as_subject

app = typer.Typer(add_completion=False)


@app.command("publish")
@takes(PublishOptions)
def publish(options: PublishOptions) -> None:
    """Send a message to a subject and all who subscribed to it."""
    about = as_subject(options.subject)
    from floodtest.server_under_test.commands import publishing

    publishing.publish(options.control, options.token, about, options.message)


def _read(line: CommandLine) -> GeneratorOptions:
    options = line.read(GeneratorOptions)
    line.check(_about_users(options), "users")
    line.check(_about_rates(options), "producers", "interval")
    return options


def _about_users(options: GeneratorOptions) -> Iterator[str]:
    if options.users > MAX_USER:
        yield f"--users takes at most {MAX_USER:,}, not {options.users:,}."


def _about_rates(options: GeneratorOptions) -> Iterator[str]:
    rate = options.producers / options.interval
    if rate > MAX_RATE:
        yield f"--producers / --interval takes at most {MAX_RATE:,} a second, not {rate:,.0f}."


@app.command("msggen")
@takes(GeneratorOptions, _read)
def msggen(options: GeneratorOptions) -> None:
    """Publish messages about random users, each at its planned time, however late that gets."""
    from floodtest.server_under_test.commands import publishing

    publishing.generate(options)
