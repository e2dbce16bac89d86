"""What a run is to send: messages at a rate, for a time. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MessageOptions:
    """What is to be sent after the hold: `rate` messages a second, each about one of all users."""

    rate: float
    seconds: float = 60.0
    size: int = 100
    """Bytes of a message's text."""

    @property
    def planned(self) -> int:
        return -int(-self.rate * self.seconds // 1)
