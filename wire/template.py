"""What a connection asks for, as texts with placeholders, and the requests of many users made of them. Pure.

A template is bytes in which `{user}`, `{address}`, `{line}` and the columns of a file of users stand for what differs
from one connection to the next; `{{` and `}}` stand for braces. It is compiled once, into one bytes format for all
users, so that requests that differ by the user's number, or not at all, cost one `%` each.

A value from a file goes out as it has to where it stands: in percent-encoding in the path, in base64 in the
credentials, as it is in a header and in the body. What must never stand in a header is said by `MISPLACED`; who reads
the file holds its values against it. Nothing fails here: `problems` has a sentence for all that is wrong.
"""

import enum
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

USER, ADDRESS, LINE, CURSOR = "user", "address", "line", "cursor"

OWN = (USER, ADDRESS, LINE)
"""Placeholders that need no file: the user's number, its source address, and its place in the run, from 1 on."""

OWN_OF_POLLS = (*OWN, CURSOR)
"""Those of requests that say where a poll begins (`wire.poll_requests`)."""

NUMBERS = frozenset({USER, LINE})
"""Those of them that are numbers."""

MAX_TEMPLATE = 1 << 16
"""Bytes of all the texts of a request together: a packet to the workers (`flyweight.processes.nursery`) has to hold
them."""

Header = tuple[bytes, bytes]
"""A name, and a template of the value."""

Column = Callable[[list[int]], Sequence[int] | Sequence[bytes]]
"""Users to what stands for a placeholder in the request of each: numbers where it is one of `NUMBERS`, else bytes."""

Requests = Callable[[list[int]], list[bytes]]
"""Users to their requests."""

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A method, and the name of a header (RFC 9110, section 5.6.2)."""

MISPLACED = re.compile(rb"[\r\n\0]")
"""What would end a header, or a request, and begin another one (RFC 9110, section 5.5)."""

_BRACES = re.compile(rb"\{\{|\}\}|\{([^{}\"\r\n]+)\}|[{}]")
"""What is in quotes, or on several lines, is no name of a column but JSON with single braces."""

_IN_PATH = re.compile(rb"[!-~]*")
_OURS = frozenset({b"content-length", b"transfer-encoding"})
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose requests say how long their body is even where they have none (RFC 9110, section 8.6)."""


class Place(enum.Enum):
    """Where in a request a template stands."""

    PATH = "path"
    CREDENTIALS = "credentials"
    HEADER = "header"
    BODY = "body"
    LINE = "line"
    """What a raw stream begins with: a value with a line feed in it would begin another line there."""


@dataclass(frozen=True)
class Template:
    """A text that was taken apart: `names` of placeholders, and the texts around them, one more than names."""

    texts: tuple[bytes, ...]
    names: tuple[str, ...]
    lone: tuple[int, ...] = ()
    """Where a brace stands that belongs to nothing: places from 1 on."""

    def problems(self, what: str, known: Collection[str] | None) -> Iterator[str]:
        """Yield what is wrong with it; `known` are the placeholders there are, None while nobody knows."""
        for at in self.lone:
            yield f"{what} has a brace of no placeholder, character {at}: one that stands for itself is written twice."
        if known is None:
            return
        there_are = ", ".join(f"{{{name}}}" for name in known)
        for name in dict.fromkeys(self.names):
            if name not in known:
                yield f"{what} has {{{name}}}, and there is no such placeholder: there are {there_are}."


def parse(text: bytes) -> Template:
    """Take a text apart."""
    texts, names, lone = [b""], list[str](), list[int]()
    end = 0
    for found in _BRACES.finditer(text):
        texts[-1] += text[end : found.start()]
        end = found.end()
        if found[1] is not None:
            names.append(found[1].decode(errors="replace"))
            texts.append(b"")
        elif len(found[0]) == 2:
            texts[-1] += found[0][:1]
        else:
            lone.append(found.start() + 1)
    texts[-1] += text[end:]
    return Template(tuple(texts), tuple(names), tuple(lone))


class RequestTemplate(msgspec.Struct, frozen=True):
    """All that a connection asks for. Its texts are templates, but for the method and the names of headers."""

    path: bytes
    """Empty for a stream without HTTP, of which nothing is asked but by what is `sent`."""
    method: bytes = b"GET"
    headers: tuple[Header, ...] = ()
    credentials: bytes | None = None
    """User and password as a URL has them, `user:password` in percent-encoding; None: none."""
    body: bytes | None = None
    sent: bytes | None = None
    """What a connection sends once the head of its answer has come, or at once without HTTP; None: nothing."""

    def parts(self) -> Iterator[tuple[str, Place, Template]]:
        """Yield each template with the option that it was given by, and its place."""
        yield "--target", Place.PATH, parse(self.path)
        if self.credentials is not None:
            yield "--target", Place.CREDENTIALS, parse(self.credentials)
        for name, value in self.headers:
            yield f"--header {name.decode(errors='replace')}", Place.HEADER, parse(value)
        if self.body is not None:
            yield "--body", Place.BODY, parse(self.body)
        if self.sent is not None:
            yield "--send", Place.BODY if self.path else Place.LINE, parse(self.sent)

    def places(self) -> dict[str, set[Place]]:
        """Return the placeholders in it, and the places where each stands."""
        found: dict[str, set[Place]] = {}
        for _, place, template in self.parts():
            for name in template.names:
                found.setdefault(name, set()).add(place)
        return found

    def problems(self, known: Collection[str] | None) -> list[str]:
        """Return all that is wrong with it, a sentence each; `known` are the placeholders there are, None: any."""
        found = list[str]()
        for what, place, template in self.parts():
            if place == Place.PATH and not all(map(_IN_PATH.fullmatch, template.texts)):
                found.append(f"{what} takes a path of ASCII without spaces: write %20 for a space.")
            if place == Place.HEADER and any(map(MISPLACED.search, template.texts)):
                found.append(f"{what} has a carriage return, a line feed or a NUL in it, which no header can have.")
            found += template.problems(what, known)
        for name, _ in self.headers:
            if name.lower() in _OURS:
                found.append(f"--header {name.decode()} can't be given: floodtest says itself how long the body is.")
        size = sum(map(len, (self.path, self.credentials or b"", self.body or b"", self.sent or b"")))
        size += sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_TEMPLATE:
            found.append(f"A request may have {MAX_TEMPLATE:,} bytes of texts, and has {size:,}: shorten --body.")
        return found

    def with_headers(self, headers: Sequence[Header]) -> "RequestTemplate":
        """Return it with these headers before its own, but for those that it names itself.

        Its credentials are one of them, and no longer there if it has a header Authorization.
        """
        named = {name.lower() for name, _ in self.headers}
        others = tuple(header for header in headers if header[0].lower() not in named)
        credentials = None if b"authorization" in named else self.credentials
        return msgspec.structs.replace(self, headers=(*others, *self.headers), credentials=credentials)

    def requests(self, column: Callable[[str], Column]) -> Requests:
        """Return what makes the requests of users; `column` has what stands for each placeholder but `{user}`."""
        head = _Form(column)
        head.add_text(self.method + b" ")
        head.add(parse(self.path), _percent_encoded)
        head.add_text(b" HTTP/1.1\r\n")
        for name, value in self.headers:
            head.add_text(name + b": ")
            head.add(parse(value))
            head.add_text(b"\r\n")
        if self.credentials is not None:
            head.add_text(b"Authorization: Basic ")
            head.add_credentials(parse(self.credentials))
            head.add_text(b"\r\n")
        body = parse(self.body or b"")
        if body.names:
            return _with_bodies(head, body, column)
        (text,) = body.texts
        if self.body is not None or self.method in _WITH_BODY:
            head.add_text(b"Content-Length: %d\r\n" % len(text))
        head.add_text(b"\r\n" + text)
        return head.made()

    def texts_to_send(self, column: Callable[[str], Column]) -> Requests | None:
        """Return what makes the texts of --send; None: nothing is sent."""
        if self.sent is None:
            return None
        form = _Form(column)
        form.add(parse(self.sent))
        return form.made()


def _with_bodies(head: "_Form", body: Template, column: Callable[[str], Column]) -> Requests:
    """Return what makes requests whose bodies differ, and may differ in their lengths."""
    head.add_text(b"Content-Length: ")
    form = _Form(column)
    form.add(body)
    heads_of, bodies_of = head.made(), form.made()

    def make(users: list[int]) -> list[bytes]:
        rows = zip(heads_of(users), bodies_of(users), strict=True)
        return [b"%b%d\r\n\r\n%b" % (before, len(text), text) for before, text in rows]

    return make


class _Form:
    """A bytes format that grows, and the columns of what goes into it."""

    def __init__(self, column: Callable[[str], Column]) -> None:
        self._column = column
        self._format = bytearray()
        self._columns: list[Column] = []

    def add_text(self, text: bytes) -> None:
        self._format += text.replace(b"%", b"%%")

    def add(self, template: Template, encode: Callable[[bytes], bytes] | None = None) -> None:
        """Add a template, and what has to be done with values that are not numbers."""
        self.add_text(template.texts[0])
        for name, text in zip(template.names, template.texts[1:], strict=True):
            column = _users if name == USER else self._column(name)
            if name in NUMBERS:
                self._format += b"%d"
            else:
                self._format += b"%b"
                column = column if encode is None else _encoding(column, encode)
            self._columns.append(column)
            self.add_text(text)

    def add_credentials(self, template: Template) -> None:
        """Add user and password in base64 (RFC 7617); without a colon there is no password, and it is empty."""
        texts = tuple(map(unquote_to_bytes, template.texts))
        if not any(b":" in text for text in template.texts):
            texts = (*texts[:-1], texts[-1] + b":")
        form = _Form(self._column)
        form.add(replace(template, texts=texts))
        if template.names:
            self._format += b"%b"
            self._columns.append(_encoding(form.made(), b64encode))
        else:
            self.add_text(b64encode(texts[0]))

    def made(self) -> Requests:
        """Return what fills the format in, for users by the batch."""
        form, columns = bytes(self._format), self._columns
        if not columns:
            text = form % ()
            return lambda users: [text] * len(users)
        if len(columns) == 1:
            (column,) = columns
            return lambda users: list(map(form.__mod__, column(users)))
        return lambda users: list(map(form.__mod__, zip(*(column(users) for column in columns), strict=True)))


def _users(users: list[int]) -> list[int]:
    return users


def _encoding(column: Column, encode: Callable[[bytes], bytes]) -> Column:
    def encoded(users: list[int]) -> list[bytes]:
        return [encode(bytes(value)) for value in column(users)]

    return encoded


def _percent_encoded(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="").encode()
