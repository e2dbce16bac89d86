"""Requests: how the server reads what a client asks for, a stream for a user, or refuses it. Pure.

In: the bytes read so far. Out: an `Asked`, None for "need more", or `Refuse` raised. The common request differs from
the one before it in nothing but the id, and where it asks for a WebSocket in its key, so what stood around those in a
plain request is remembered.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from floodtest.wire import http
from floodtest.wire.answers import HINT, OUT_OF_NUMBERS
from floodtest.wire.protocols import BY_PATH, UNTIL_CLOSE, WEBSOCKET, Served

MAX_KNOWN = 64
"""Kinds of clients that are remembered; the others are parsed in full each time."""

_KEY_SIZE = 24
_KEYS = re.compile(rb"(?:[+/0-9A-Za-z]{22}==)+")
"""Keys of WebSockets: 16 bytes in base64 each."""

_KEY_FIELD = re.compile(rb"(?i)\nsec-websocket-key:[ \t]*(?=[+/0-9a-z]{22}==)")
_WEBSOCKET = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Version", b"13"))
_WEBSOCKET_NEEDED = (
    "Here is a WebSocket: ask by GET of HTTP/1.1 with Upgrade: websocket, Connection: Upgrade and "
    "Sec-WebSocket-Version: 13."
)

_SCHEMES = ("http", "https")

MAX_DIGITS = 9
MAX_USERS = 10**MAX_DIGITS - 1

_PATH = re.compile(rf"/(?P<path>{'|'.join(BY_PATH)})(?:/(?P<id>[^/?#]*)/?)?(?:\?.*)?")


@dataclass(frozen=True)
class Asked:
    """A valid request for the stream of `user`."""

    user: int
    protocol: Served
    head_only: bool
    extra: int
    """Bytes that came after the head."""
    key: bytes = b""
    """What the answer that opens a WebSocket has to fit."""
    last_event: bytes | None = None
    """Last-Event-ID of a client of events that comes back; None: it begins."""


class Refuse(Exception):
    """A request that gets an answer of status `status` and nothing else."""

    def __init__(
        self, status: HTTPStatus, text: str, head_only: bool = False, upgrade: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.head_only = head_only
        self.upgrade = upgrade
        """Headers that say which other protocol is spoken."""


def too_late(seconds: float) -> Refuse:
    """What a client gets whose head was not whole in time."""
    return Refuse(HTTPStatus.REQUEST_TIMEOUT, f"No whole request head within {seconds:g} seconds.")


def without_tls() -> Refuse:
    """What a client gets that does not speak TLS to a server that does."""
    return Refuse(HTTPStatus.BAD_REQUEST, "This port speaks TLS: ask by https://, and for a WebSocket by wss://.")


class Requests:
    """Reads requests; remembers what common ones look like."""

    def __init__(self, max_users: int, max_head: int, allow_origin: str | None = None) -> None:
        """Take requests for users up to a number; `allow_origin`: whose web pages may open WebSockets, * for all."""
        self._allow_origin = allow_origin
        self._max_users = min(max_users, MAX_USERS)
        self._max_head = max_head
        self._known: dict[_Kind, Served] = {}

    def common(self, read: list[bytes]) -> tuple[list[int], Served, list[bytes]] | None:
        """Return the users of plain, whole and valid GETs that are all like one seen before, the protocol that they ask
        for, and if that is WebSocket their keys; None if one of them is not.
        """
        kind = _kind_of(read[0])
        protocol = self._known.get(kind)
        if protocol is None:
            return None
        before, between, after = kind
        keys, size_behind = [], len(after)
        if between:
            keys = [data[-len(after) - _KEY_SIZE : -len(after)] for data in read]
            size_behind += len(between) + _KEY_SIZE
            if not _are_keys(keys):
                return None
        try:
            users = [int(data[len(before) : -size_behind]) for data in read]
        except ValueError:
            return None
        # int() is generous: that nothing but the number differs is seen by putting it back in its place.
        if between:
            form = http.numbered(before, between) + b"%b" + after.replace(b"%", b"%%")
            alike = read == list(map(form.__mod__, zip(users, keys, strict=True)))
        else:
            alike = read == list(map(http.numbered(before, after).__mod__, users))
        small = max(map(len, read)) <= self._max_head
        is_common = alike and small and min(users) > 0 and max(users) <= self._max_users
        return (users, protocol, keys) if is_common else None

    def parse(self, data: bytes) -> Asked | None:
        """Read a request in full."""
        try:
            parsed = http.parse_request(data, self._max_head)
        except http.HeadError as error:
            raise Refuse(error.status, f"Not a request: {error}.") from error
        if parsed is None:
            return None
        request, rest = parsed
        head_only = request.method == "HEAD"
        if request.method not in ("GET", "HEAD"):
            raise Refuse(HTTPStatus.NOT_IMPLEMENTED, "Only GET and HEAD are served here.")
        path = _PATH.fullmatch(http.origin_form(request.path)[1])
        digits = ((path["id"] if path else None) or "").lstrip("0")
        if not (digits.isascii() and digits.isdigit()):
            raise Refuse(HTTPStatus.NOT_FOUND, HINT, head_only)
        if len(digits) > MAX_DIGITS or int(digits) > self._max_users:
            raise Refuse(HTTPStatus.SERVICE_UNAVAILABLE, OUT_OF_NUMBERS, head_only)
        assert path is not None  # or it would have no digits
        key = b""
        if path["path"] == WEBSOCKET.path:
            key = _key_of(request)
            _check_origin(request, self._allow_origin)
        protocol = (UNTIL_CLOSE if request.http_1_0 else BY_PATH)[path["path"]]
        # Several values are none of ours, nor is an empty one, which an EventSource never sends.
        last_event = (b", ".join(request.values(b"last-event-id")) or None) if protocol.is_events else None
        if not rest and not head_only and not request.http_1_0 and last_event is None:
            self._remember(data, protocol)
        return Asked(int(digits), protocol, head_only, len(rest), key, last_event)

    def _remember(self, data: bytes, protocol: Served) -> None:
        kind = _kind_of(data)
        if protocol is WEBSOCKET and not kind.between:
            return  # its key does not stand in its place, such as behind a line that was folded
        if len(self._known) < MAX_KNOWN and kind.before == b"GET /%b/" % protocol.path.encode() and kind.after:
            self._known[kind] = protocol


class _Kind(NamedTuple):
    """What stands around the id of requests in their plain form, and around the key of those for WebSockets."""

    before: bytes
    between: bytes
    """Empty where there is no key."""
    after: bytes


def _kind_of(data: bytes) -> _Kind:
    start = data.find(b"/", len(b"GET /")) + 1
    before, after = data[:start], data[data.find(b" ", start) :]
    field = _KEY_FIELD.search(after) if before == b"GET /%b/" % WEBSOCKET.path.encode() else None
    return _Kind(before, after[: field.end()], after[field.end() + _KEY_SIZE :]) if field else _Kind(before, b"", after)


def _are_keys(keys: list[bytes]) -> bool:
    joined = b"".join(keys)
    return len(joined) == len(keys) * _KEY_SIZE and _KEYS.fullmatch(joined) is not None


def _key_of(request: http.Request) -> bytes:
    """Return the key of the handshake that opens a WebSocket (RFC 6455, section 4.2.1); Refuse where it is none."""
    is_asked_for = b"websocket" in request.tokens(b"upgrade") and b"upgrade" in request.tokens(b"connection")
    versions, keys = (request.values(b"sec-websocket-" + name) for name in (b"version", b"key"))
    is_other_version = len(versions) == 1 and versions != [b"13"]
    if request.method != "GET" or request.http_1_0 or not is_asked_for or is_other_version:
        raise Refuse(HTTPStatus.UPGRADE_REQUIRED, _WEBSOCKET_NEEDED, request.method == "HEAD", _WEBSOCKET)
    if len(versions) != 1:
        raise Refuse(HTTPStatus.BAD_REQUEST, "A WebSocket is asked for with one Sec-WebSocket-Version.")
    if len(keys) != 1 or not _are_keys(keys):
        raise Refuse(HTTPStatus.BAD_REQUEST, "A WebSocket is asked for with one Sec-WebSocket-Key: 16 bytes in base64.")
    if request.values(b"transfer-encoding") or request.values(b"content-length") not in ([], [b"0"]):
        raise Refuse(HTTPStatus.BAD_REQUEST, "A WebSocket is asked for without a body.")
    return keys[0]


def _check_origin(request: http.Request, allowed: str | None) -> None:
    """Refuse a WebSocket to web pages that may not have it (RFC 6455, section 10.2): browsers open one for any page,
    and say in Origin whose it is. Pages of the host that was asked may; programs send no Origin.
    """
    for value in request.values(b"origin"):
        origin = value.decode("latin-1").lower()
        own = {
            f"{scheme}://{host.decode('latin-1').lower()}" for host in request.values(b"host") for scheme in _SCHEMES
        }
        if allowed is not None:
            own.add(allowed.lower())
        if allowed != "*" and origin not in own:
            text = f"Web pages of {origin:.100} may not open a WebSocket here: comet serve --allow-origin lets them."
            raise Refuse(HTTPStatus.FORBIDDEN, text)
