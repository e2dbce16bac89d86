"""Options of a command that are about what goes over the wire."""

from floodtest.flyweight.command.options import _count, parser
from floodtest.wire import stamp


def _message_size(text: str) -> int:
    size = _count(text)
    if not stamp.SIZE <= size <= stamp.MAX_TEXT:
        raise ValueError(text)
    return size


message_size = parser(_message_size, f"{stamp.SIZE} bytes (the stamp a message begins with) to {stamp.MAX_TEXT:,}")
