"""Parsers of options that are about what goes over the wire."""

from floodtest.flyweight.command.parsers import Parser, parse_count
from floodtest.wire import stamp


def _message_size(text: str) -> int:
    size = parse_count(text)
    if not stamp.SIZE <= size <= stamp.MAX_TEXT:
        raise ValueError(text)
    return size


def _token(text: str) -> str:
    """Return a token that can be sent in a header as it is."""
    if not text or text != text.strip() or not text.isascii() or not text.isprintable():
        raise ValueError(text)
    return text


message_size = Parser(_message_size, f"{stamp.SIZE} bytes (the stamp a message begins with) to {stamp.MAX_TEXT:,}")
token = Parser(_token, "printable ASCII, without spaces around it", is_secret=True)
