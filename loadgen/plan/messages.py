"""What a run is to send: messages at a rate, for a time. Pure."""

from dataclasses import dataclass, field

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import option, required
from floodtest.wire.options import message_size


@dataclass(frozen=True)
class MessageOptions:
    """What is to be sent after the hold: `rate` messages a second, each about one of all users."""

    rate: float = field(
        metadata=required(
            parsers.rate,
            "N/s",
            "After the hold, our server gets so many messages a second about random users.",
            "--messages",
        )
    )
    seconds: float = option(
        60.0, parsers.positive_duration, "SECONDS", "How long messages are sent.", "--message-seconds"
    )
    size: int = option(100, message_size, "BYTES", "Of a message's text.", "--message-size")

    @property
    def planned(self) -> int:
        return -int(-self.rate * self.seconds // 1)
