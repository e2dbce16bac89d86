"""Handshakes: how a client asks for a WebSocket, and which answers open one (RFC 6455, section 4.1). Pure.

A key is made of the user's number and a secret of the process, so that none has to be kept: what answers it is computed
again when the answer has come, which costs a SHA-1. No extension is asked for, and a subprotocol
only where a header of the request offers one.

Fails: NotOpened, with the status of an answer that is not 101, or BAD_HANDSHAKE where one does not fit the request.
"""

import base64
import os
from collections.abc import Callable

from floodtest.wire import http
from floodtest.wire.answers import Answers, NotOpened, Opened, parse_head
from floodtest.wire.causes import Cause
from floodtest.wire.framing.frames import Framing
from floodtest.wire.framing.websocket import FROM_SERVER, accept_of
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.template import Header, RequestTemplate

HEADERS: tuple[Header, ...] = (
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
)
"""What each request has; its key stands behind them."""

_SECRET = os.urandom(12)


def key_of(user: int) -> bytes:
    """Return the Sec-WebSocket-Key of a user: 16 bytes in base64."""
    return base64.b64encode(_SECRET + user.to_bytes(4, "big"))


def _accept(user: int) -> bytes:
    return accept_of(key_of(user))


def subprotocols_of(request: RequestTemplate) -> frozenset[str]:
    """Return the subprotocols that a request offers."""
    values = [value.decode("latin-1") for name, value in request.headers if name.lower() == b"sec-websocket-protocol"]
    return frozenset(token.strip() for value in values for token in value.split(","))


def check(head: http.Response, user: int, offered: frozenset[str]) -> None:
    """Raise NotOpened if an answer with this head does not open the WebSocket that a user has asked for, with one of
    the subprotocols that were offered or with none.
    """
    if head.status != 101:
        raise NotOpened(head.status if head.status >= 200 else Cause.BAD_HEAD, head.note)
    tokens = {token.strip().lower() for line in head.fields.get(b"connection", []) for token in line.split(",")}
    is_right = (
        [value.lower() for value in head.fields.get(b"upgrade", [])] == ["websocket"]
        and "upgrade" in tokens
        and head.fields.get(b"sec-websocket-accept") == [_accept(user).decode()]
    )
    chosen = {value.strip() for value in head.fields.get(b"sec-websocket-protocol", [])} - {""}
    unasked = any(head.fields.get(b"sec-websocket-extensions", [])) or not chosen <= offered or len(chosen) > 1
    if unasked or not is_right:
        raise NotOpened(Cause.BAD_HANDSHAKE)


class Handshakes(Answers):
    """Tells the answers that open a WebSocket. Those of a kind differ in what answers the key, and maybe in the id."""

    def __init__(
        self,
        framing_of: Callable[[http.Response], Framing],
        open_when: OpenWhen,
        longest: int,
        grammar: Grammar = OURS,
        offered: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(framing_of, open_when, longest, grammar)
        self._offered = offered

    def read_head(self, user: int, data: bytes) -> tuple[Framing, bytes] | None:
        """Return the framing of an answer and what there is of its body, None while its head is not whole."""
        parsed = parse_head(data, is_upgrade=True)
        if parsed is None:
            return None
        check(parsed[0], user, self._offered)
        return FROM_SERVER, parsed[1]

    def _form(self, user: int, before: bytes, after: bytes | None) -> bytes:
        """Return an answer with %b for what answers the key, and %d for the id if there is something `after` it."""
        form = before.replace(b"%", b"%%").replace(_accept(user), b"%b", 1)
        return form if after is None else b"%b%%d%b" % (form, after.replace(b"%", b"%%"))

    def _made(self, form: bytes, users: list[int]) -> list[bytes]:
        return list(map(form.__mod__, zip(map(_accept, users), users, strict=True)))

    def _without_users(self, users: list[int], read: list[bytes]) -> Opened | None:
        known = self._known.get(0)
        if known is None:
            return None
        form, framing, messages = known
        made = [form % _accept(user) for user in users]
        if read == made:
            return Opened(framing, messages, [])
        if not self.open_when.is_head or not all(map(bytes.startswith, read, made)):
            return None
        return Opened(framing, messages, [data[len(made[0]) :] for data in read])
