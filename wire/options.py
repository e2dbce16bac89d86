"""Parsers of options that are about what goes over the wire."""

import re

from floodtest.flyweight.command.parsers import Parser, parse_count, parse_duration
from floodtest.wire import stamp
from floodtest.wire.open_when import KINDS, OpenWhen
from floodtest.wire.poll_options import problem_of
from floodtest.wire.template import TOKEN, Header
from floodtest.wire.times import GROUPS, MAX_OFFSET_SECONDS, pattern_of

_ORIGIN = re.compile(r"(?a:\*|null|[a-z][a-z0-9+.-]*://[\w.:\[\]-]+)")


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


def _open_when(text: str) -> str:
    """Return a condition that `wire.open_when` understands, as it is."""
    return OpenWhen(text).text


def _cursor(text: str) -> str:
    """Return a pattern that finds a cursor, as it is."""
    if (problem := problem_of(text)) is not None:
        raise ValueError(f"{text!r}: {problem}")
    return text


def split_header(text: str) -> Header:
    """Return the name and the value of a header such as `Accept: text/plain`; ValueError where it has no name."""
    name, colon, value = text.encode(errors="surrogateescape").partition(b":")
    if not colon or not TOKEN.fullmatch(name):
        raise ValueError(text)
    return name, value.strip(b" \t")


def _header(text: str) -> str:
    """Return a header as it is."""
    split_header(text)
    return text


NO_STREAM = ("CONNECT", "HEAD")
"""Methods that get no answer with a body."""


def _method(text: str) -> str:
    if not TOKEN.fullmatch(text.encode(errors="surrogateescape")) or text in NO_STREAM:
        raise ValueError(text)
    return text


def _origin(text: str) -> str:
    """Return an origin of web pages as a header has it, or * for any."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError(text)
    return text


cursor = Parser(_cursor, 'a regular expression with one group, such as \'"next": "([^"]+)"\'')


def _times(text: str) -> str:
    """Return an expression that `wire.times` understands, as it is."""
    pattern_of(text)
    return text


def _offset(text: str) -> float:
    """Return the seconds by which a clock is ahead; those of one that is behind begin with a hyphen."""
    plain = text.strip().removeprefix("-")
    seconds = parse_duration(plain)
    if seconds > MAX_OFFSET_SECONDS:
        raise ValueError(text)
    return -seconds if plain != text.strip() else seconds


header = Parser(_header, "a header such as 'Accept: text/event-stream'", is_secret=True)
method = Parser(_method, f"a method such as POST, but for {' and '.join(NO_STREAM)}, which no stream comes of")
open_when = Parser(_open_when, f"one of {', '.join(KINDS)}, with {{user}} in it for the id")
times = Parser(_times, f"a regular expression with one group named {', '.join(GROUPS)}, as in '\"t\":(?P<ms>\\d+)'")
offset = Parser(_offset, "a duration of a day at the most, such as 0, 0.2, 5ms or -1.5")
message_size = Parser(_message_size, f"{stamp.SIZE} bytes (the stamp a message begins with) to {stamp.MAX_TEXT:,}")
origin = Parser(_origin, "an origin such as https://example.org, or * for any")
token = Parser(_token, "printable ASCII, without spaces around it", is_secret=True)
