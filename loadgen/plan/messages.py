"""What a run is to send: messages at a rate, for a time, to our own server or by the API of another one. Pure."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import choice, option, repeatable, required
from floodtest.flyweight.command.parsers import Parser
from floodtest.loadgen.plan.choices import DELIVER_TO, DeliverTo
from floodtest.loadgen.plan.publication import METHODS, Order, Request, split_request
from floodtest.wire import options as of_wire
from floodtest.wire.tls.settings import ClientTls

PUBLISH = Parser(
    split_request, f"a URL of ASCII, with {', '.join(METHODS)} before it or without (POST)", is_secret=True
)


@dataclass(frozen=True)
class MessageOptions:
    """What is to be sent after the hold: `rate` messages a second, each about one of all users."""

    rate: float = field(
        metadata=required(
            parsers.rate,
            "N/s",
            "After the hold, so many messages a second about random users are published.",
            "--messages",
        )
    )
    seconds: float = option(
        60.0, parsers.positive_duration, "SECONDS", "How long messages are sent.", "--message-seconds"
    )
    size: int = option(100, of_wire.message_size, "BYTES", "Of a message's text.", "--message-size")
    publish: tuple[str, str] | None = option(
        None,
        PUBLISH,
        "'POST URL'",
        "How a server of yours is told of a message, with {user} in it: its publishing API.",
    )
    """Method and URL."""
    publish_body: str | None = option(
        None, parsers.text, "TEXT", "Of a request to --publish, with {message} in it.  [default: {message}]"
    )
    publish_header: tuple[str, ...] = repeatable(
        of_wire.header, "'NAME: VALUE'", "Of a request to --publish. Repeatable."
    )
    deliver_to: DeliverTo = choice("own", DELIVER_TO, "Who should get it: its user's own connection, or all of them.")

    @property
    def is_for_others(self) -> bool:
        """Whether something was said that is for a server that is not ours."""
        said = (self.publish, self.publish_body, self.publish_header or None)
        return any(one is not None for one in said) or self.deliver_to != "own"

    @property
    def planned(self) -> int:
        return -int(-self.rate * self.seconds // 1)

    def order(self, run: str, first_user: int, states: Path, tls: ClientTls | None = None) -> Order:
        """Return what a publisher is to do for a run with these marks, and the states of users in a file; `tls` where
        the API is one of https.
        """
        assert self.publish is not None, "the rules about options see to it"
        method, url = self.publish
        body = self.publish_body
        if body is None:
            body = "" if "{message}" in url else "{message}"
        headers = [_split(header) for header in self.publish_header]
        if body and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", media_type(body)))
        return Order(
            request=Request(method, url, headers, body),
            rate=self.rate,
            seconds=self.seconds,
            size=self.size,
            run=run,
            first_user=first_user,
            states=str(states),
            to_all=self.deliver_to == "all",
            tls=tls,
        )


def media_type(body: str) -> str:
    """Return the media type of a body with placeholders: many services drop a body, and say 200, if none is named."""
    try:
        found = json.loads(body.replace("{message}", "").replace("{user}", "1"))
    except ValueError:
        return "text/plain; charset=utf-8"
    return "application/json" if isinstance(found, dict | list) else "text/plain; charset=utf-8"


def _split(header: str) -> tuple[str, str]:
    name, value = of_wire.split_header(header)
    return name.decode(), value.decode(errors="replace")
