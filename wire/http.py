"""HTTP/1 heads without I/O: h11 decides what is valid, a cache of what it decided makes the common case cheap.

In: the bytes read so far. Out: the parsed head and the bytes after it; None for "need more"; `HeadError` for what can't
become a head. At a million connections almost all heads are alike but for one number, so both ends learn from h11's
first verdict: what surrounds the number is remembered, and a head that differs in nothing else is recognised by
comparing bytes (about 0.3 µs instead of 60). The caches are bounded; whatever is not recognised goes to h11.

What h11 leaves to its user is the version: heads of another major version are no heads that are understood here, those
of a later minor version (HTTP/1.2) are taken for HTTP/1.1 (RFC 9110, section 2.5). So is a body that is framed in two
ways (see `why_misframed`), and the form of a request's target (see `origin_form`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from floodtest.flyweight.machine.endpoints import is_path

BLANK_LINE = re.compile(rb"\n\r?\n")
"""The end of a head; bare LF as a line end is accepted (RFC 9112, section 2.2), as h11 does."""

_QUOTE = re.compile(r":? *(?:bytearray\()?b['\"].*", re.DOTALL)
"""Where h11 goes on with what it read, as Python writes bytes: nothing for a person who speaks HTTP."""

_ABSOLUTE_FORM = re.compile(r"(?i:http)://(?P<authority>[^/?#]+)(?P<rest>.*)", re.DOTALL)

_REQUEST_VERSION = re.compile(rb"[^\r\n]* HTTP/(\d)\.(\d)\r?\n")

MAX_HEAD = 8192
MAX_ANSWER_HEAD = 1 << 16
"""Bytes of the head of an answer that a client reads: servers that are not ours set many cookies."""

_ANSWER = b"HTTP/1."

MAX_INFORMATIONAL = 10
"""1xx answers before the real one."""


class HeadError(ValueError):
    """What was read is no HTTP head; `status` is the answer a server owes for it."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    """A request head: what a server needs to answer it."""

    method: str
    path: str
    http_1_0: bool
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Names in lower case, and their values."""

    def values(self, name: bytes) -> list[bytes]:
        """Return the value of each header of that name."""
        return [value for other, value in self.headers if other == name]

    def tokens(self, name: bytes) -> set[bytes]:
        """Return what the headers of that name list, in lower case."""
        return {token.strip().lower() for value in self.values(name) for token in value.split(b",")}


@dataclass(frozen=True)
class Response:
    """A response head: what a client needs to read on."""

    status: int
    coding: str | None
    """Its transfer coding, in lower case; None: it has none."""
    is_sized: bool = False
    """Whether it says how long its body is."""
    media_type: str | None = None
    """That of its body, in lower case and without parameters."""
    note: str | None = None
    """The header that says what to do about its status: Location of a redirect, without its query, in which may be
    secrets; WWW-Authenticate of a 401."""
    fields: Mapping[bytes, list[str]] = field(default_factory=dict, compare=False)
    """The values of its headers, by their names in lower case."""
    is_http_1_0: bool = field(default=False, compare=False)

    @property
    def is_kept_alive(self) -> bool:
        """Whether its connection goes on behind it (RFC 9112, section 9.3)."""
        tokens = {token.strip().lower() for line in self.fields.get(b"connection", []) for token in line.split(",")}
        return "close" not in tokens and (not self.is_http_1_0 or "keep-alive" in tokens)

    @property
    def content_coding(self) -> str | None:
        """How its body is packed, such as gzip; None: it is not."""
        values = ", ".join(self.fields.get(b"content-encoding", [])).strip().lower()
        return None if values in ("", "identity") else values


def response_of(status: int, headers: Iterable[tuple[bytes, bytes]], is_http_1_0: bool = False) -> Response:
    """Return the head of an answer with these headers, whose names are in lower case."""
    fields: dict[bytes, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value.decode("latin-1"))
    types = fields.get(b"content-type", [""])
    telling = _telling(status)
    return Response(
        status,
        ", ".join(fields.get(b"transfer-encoding", [])).lower() or None,
        b"content-length" in fields,
        types[0].partition(";")[0].strip().lower() or None,
        _note(telling, fields.get(telling.lower().encode())),
        fields,
        is_http_1_0,
    )


def _note(telling: str, values: list[str] | None) -> str | None:
    if values is None:
        return None
    value = ", ".join(values)
    return f"{telling}: {value.partition('?')[0] if telling == 'Location' else value}"


def _telling(status: int) -> str:
    """Return the name of the header that says what to do about a status; empty: there is none."""
    return "Location" if 300 <= status < 400 else "WWW-Authenticate" if status == 401 else ""


def authority(host: str, port: int) -> str:
    """Return host and port as a URL and the header Host have them: an IPv6 address in brackets (RFC 3986, 3.2.2), the
    path of a Unix socket as we write it in a URL.
    """
    if is_path(host):
        return f"unix:{host}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def origin_form(target: str) -> tuple[str | None, str]:
    """Return the authority that a request's target names, None if it names none, and the target without it.

    A server has to accept the absolute form as well, and the authority in it counts instead of Host (RFC 9112, 3.2.2).
    """
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        return None, target
    rest = absolute["rest"]
    return absolute["authority"], rest if rest.startswith("/") else f"/{rest}"


def why_misframed(request: h11.Request) -> str | None:
    """Return why nobody can be sure where the body of a request ends; None where that is clear.

    Whoever stands in front of this server, such as a proxy, may have seen its end in another place, and what follows as
    another request: request smuggling. RFC 9112, section 6.1 lets a server refuse both kinds.
    """
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" not in names:
        return None
    if b"content-length" in names:
        return "it has both Content-Length and Transfer-Encoding"
    return "its version of HTTP has no Transfer-Encoding" if request.http_version == b"1.0" else None


def numbered(before: bytes, after: bytes) -> bytes:
    """Return a format that puts a number between the two: `map(numbered(a, b).__mod__, numbers)` makes a column."""
    return b"%d".join(text.replace(b"%", b"%%") for text in (before, after))


def split_head(data: bytes, limit: int = MAX_HEAD) -> tuple[bytes, bytes] | None:
    """Return the head, its end included, and the bytes after it; None if it goes on. Over `limit` bytes: HeadError."""
    blank = BLANK_LINE.search(data, 0, limit)
    if blank is not None:
        return data[: blank.end()], data[blank.end() :]
    if len(data) >= limit:
        raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head of more than {limit} bytes")
    if data and not data[:1].isalpha():
        raise HeadError(HTTPStatus.BAD_REQUEST, "no HTTP, which begins with a letter")
    return None


def parse_request(data: bytes, limit: int = MAX_HEAD) -> tuple[Request, bytes] | None:
    """Parse a request head by h11; return it and the bytes after it, or None while it is not whole."""
    parts = split_head(data, limit)
    if parts is None:
        return None
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limit)
    event = _next_event(connection, _in_known_version(parts[0]))
    if not isinstance(event, h11.Request):
        raise HeadError(HTTPStatus.BAD_REQUEST, "no request")
    if misframed := why_misframed(event):
        raise HeadError(HTTPStatus.BAD_REQUEST, misframed)
    is_old, headers = event.http_version == b"1.0", tuple(event.headers)
    return Request(event.method.decode(), event.target.decode(), is_old, headers), parts[1]


def _in_known_version(head: bytes) -> bytes:
    """Return a request head as one of HTTP/1.1 if it is of a later 1.x; HeadError 505 for another major version.

    It is looked at before h11 looks at the rest, as the rules for that are those of HTTP/1.
    """
    version = _REQUEST_VERSION.match(head)
    if version is None:
        return head
    major, minor = version.groups()
    if major != b"1":
        reason = f"HTTP/{major.decode()}.{minor.decode()} is not served here, HTTP/1.1 is"
        raise HeadError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, reason)
    return head if minor == b"0" else head[: version.start(2)] + b"1" + head[version.end(2) :]


def parse_response(
    data: bytes, method: str = "GET", limit: int = MAX_HEAD, is_upgrade: bool = False
) -> tuple[Response, bytes] | None:
    """Parse the head of an answer by h11; return it and the bytes after it, or None while it is not whole.

    An informational answer (1xx) before it is passed over. With `is_upgrade` another protocol was asked for, and 101 is
    a last answer; otherwise it is none. What is no answer of HTTP/1 is refused at the byte that shows it: a server of
    another protocol may say no more than a line.
    """
    connection: h11.Connection | None = None
    asked = [("Connection", "Upgrade"), ("Upgrade", "websocket")] if is_upgrade else []
    rest = data
    for _ in range(MAX_INFORMATIONAL + 1):
        if not _ANSWER.startswith(rest[: len(_ANSWER)]):
            raise HeadError(HTTPStatus.BAD_GATEWAY, "no answer of HTTP/1")
        parts = split_head(rest, limit)
        if parts is None:
            return None
        head, rest = parts
        if connection is None:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=limit)
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "target"), *asked]))
        event = _next_event(connection, head)
        if isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        ):
            break
    else:
        raise HeadError(HTTPStatus.BAD_GATEWAY, f"more than {MAX_INFORMATIONAL} informational answers")
    return response_of(event.status_code, event.headers, event.http_version == b"1.0"), rest


def _next_event(connection: h11.Connection, head: bytes) -> object:
    try:
        connection.receive_data(head)
        return connection.next_event()
    except h11.ProtocolError as error:
        reason = _QUOTE.sub("", str(error))
        raise HeadError(HTTPStatus(error.error_status_hint), reason) from error
