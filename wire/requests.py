"""Requests: how the server reads what a client asks for, a stream for a user, or refuses it. Pure.

In: the bytes read so far. Out: an `Asked`, None for "need more", or `Refuse` raised. The common request differs from
the one before it in nothing but the id, so what stood around the id of a plain request is remembered.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from floodtest.wire import http
from floodtest.wire.answers import HINT, OUT_OF_NUMBERS
from floodtest.wire.protocols import BY_PATH, UNTIL_CLOSE, Served

MAX_KNOWN = 64
"""Kinds of clients that are remembered; the others are parsed in full each time."""

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


class Refuse(Exception):
    """A request that gets an answer of status `status` and nothing else."""

    def __init__(self, status: HTTPStatus, text: str, head_only: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.head_only = head_only


def too_late(seconds: float) -> Refuse:
    """What a client gets whose head was not whole in time."""
    return Refuse(HTTPStatus.REQUEST_TIMEOUT, f"No whole request head within {seconds:g} seconds.")


class Requests:
    """Reads requests; remembers what common ones look like."""

    def __init__(self, max_users: int, max_head: int) -> None:
        self._max_users = min(max_users, MAX_USERS)
        self._max_head = max_head
        self._known: dict[tuple[bytes, bytes], Served] = {}  # by what stands before and after the id

    def common(self, read: list[bytes]) -> tuple[list[int], Served] | None:
        """Return the users of plain, whole and valid GETs that are all like one seen before, and the protocol that they
        ask for; None if one of them is not.
        """
        before, after = _around_id(read[0])
        protocol = self._known.get((before, after))
        if protocol is None:
            return None
        try:
            users = [int(data[len(before) : -len(after)]) for data in read]
        except ValueError:
            return None
        # int() is generous: that nothing but the number differs is seen by putting it back in its place.
        alike = read == list(map(http.numbered(before, after).__mod__, users))
        small = max(map(len, read)) <= self._max_head
        is_common = alike and small and min(users) > 0 and max(users) <= self._max_users
        return (users, protocol) if is_common else None

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
        protocol = (UNTIL_CLOSE if request.http_1_0 else BY_PATH)[path["path"]]
        if not rest and not head_only and not request.http_1_0:
            self._remember(data, protocol)
        return Asked(int(digits), protocol, head_only, len(rest))

    def _remember(self, data: bytes, protocol: Served) -> None:
        before, after = _around_id(data)
        if len(self._known) < MAX_KNOWN and before == b"GET /%b/" % protocol.path.encode() and after:
            self._known[before, after] = protocol


def _around_id(data: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after the id of a request in its plain form."""
    start = data.find(b"/", len(b"GET /")) + 1
    return data[:start], data[data.find(b" ", start) :]
