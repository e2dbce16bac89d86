"""What comet has to answer to the bytes of a request: h11, and the rules in docs/comet.md and RFC 6455 on top. Pure.

It is written anew and as plainly as can be, without a look at how the server reads requests.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import h11

MAX_HEAD = 8192

NO_ANSWER = 0
"""The connection ends without one: the client has closed in the middle of a head."""


@dataclass(frozen=True)
class Expected:
    """What may come back."""

    statuses: frozenset[int]
    """More than one where it depends on how much of the request is read at once."""
    user: int = 0
    """Whom the welcome has to name, where there is one."""
    chunked: bool = True
    accept: bytes = b""
    """Sec-WebSocket-Accept, where a WebSocket is to be opened."""

    @property
    def welcome(self) -> bytes:
        """All that a stream begins with, behind its head."""
        text = b"Welcome, user %d\n" % self.user
        if self.accept:
            return b"\x81%c%b" % (len(text), text)
        return b"%x\r\n%b\r\n" % (len(text), text) if self.chunked else text


def expected(sent: bytes, max_users: int) -> Expected:
    """Judge all the bytes that a client sends before it closes."""
    ends = [at.end() for at in [re.search(rb"\n\r?\n", sent)] if at]
    early = set() if sent[:1].isalpha() else {400}  # as soon as a first byte has come that is no letter
    if not ends or ends[0] > MAX_HEAD:
        return _one_of(early or {NO_ANSWER} if len(sent) < MAX_HEAD else early | {431})
    head = sent[: ends[0]]
    line, line_end, rest = head.partition(b"\n")
    version = re.fullmatch(rb"(.*) HTTP/([0-9])\.([0-9])(\r?)", line, re.DOTALL)
    if version and version[2] != b"1":
        is_tidy = re.fullmatch(rb"[!-~]+ [!-~]+", version[1])
        return _one_of({505} | (early if is_tidy else {400}))
    if version and version[3] > b"1":
        head = b"%b HTTP/1.1%b%b%b" % (version[1], version[4], line_end, rest)
    try:
        request = _parse(head)
    except h11.RemoteProtocolError as error:
        return _one_of({error.error_status_hint} | early)
    return _answer(request, max_users, early)


def _one_of(statuses: set[int]) -> Expected:
    return Expected(frozenset(statuses))


def _parse(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request), event
    return event


def _answer(request: h11.Request, max_users: int, early: set[int]) -> Expected:
    names = [name for name, _ in request.headers]
    is_old = request.http_version == b"1.0"
    if b"transfer-encoding" in names and (is_old or b"content-length" in names):
        return _one_of({400})
    if request.method not in (b"GET", b"HEAD"):
        return _one_of({501} | early)
    target = request.target.decode()
    if re.match(r"http://[^/?#]", target, re.IGNORECASE):
        target = re.sub(r"^[^/]*//[^/?#]*", "", target)
    parts = target.split("?")[0].removesuffix("/").split("/")
    is_stream = parts[:2] in (["", "test"], ["", "ws"]) and len(parts) == 3
    digits = parts[2].lstrip("0") if is_stream else ""
    if not re.fullmatch("[0-9]+", digits):
        return _one_of({404})
    if len(digits) > 9 or int(digits) > max_users:
        return _one_of({503})
    if parts[1] == "ws":
        return _handshake(request, int(digits))
    user = int(digits) if request.method == b"GET" else 0
    return Expected(frozenset({200}), user, chunked=not is_old)


def _handshake(request: h11.Request, user: int) -> Expected:
    """Judge a request for a WebSocket by RFC 6455, sections 4.1 and 4.2.1."""

    def values(name: bytes) -> list[bytes]:
        return [value for field, value in request.headers if field == name]

    def tokens(name: bytes) -> list[bytes]:
        return [token.strip(b" \t").lower() for token in b",".join(values(name)).split(b",")]

    versions, keys = values(b"sec-websocket-version"), values(b"sec-websocket-key")
    is_upgrade = b"websocket" in tokens(b"upgrade") and b"upgrade" in tokens(b"connection")
    is_other_version = len(versions) == 1 and versions[0] != b"13"
    if request.method != b"GET" or request.http_version == b"1.0" or not is_upgrade or is_other_version:
        return _one_of({426})
    has_body = values(b"transfer-encoding") or values(b"content-length") not in ([], [b"0"])
    if len(versions) != 1 or len(keys) != 1 or not _is_key(keys[0]) or has_body:
        return _one_of({400})
    accept = hashlib.sha1(keys[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return Expected(frozenset({101}), user, accept=base64.b64encode(accept))


def _is_key(value: bytes) -> bool:
    try:
        return len(value) == 24 and len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def wrong_with(got: bytes, wanted: Expected) -> str | None:
    """Return what is wrong with all that a client has got, up to the welcome if there is one; None if it is right."""
    if not got:
        return None if NO_ANSWER in wanted.statuses else "there is no answer"
    match = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]+\r\n((?:[A-Za-z-]+: [^\r\n]*\r\n)*)\r\n", got)
    if match is None:
        return "the answer has no head"
    status, body = int(match[1]), got[match.end() :]
    if status not in wanted.statuses:
        return f"the status is {status}"
    fields = dict(line.split(b": ", 1) for line in match[2].lower().splitlines())
    if status == 200 and not wanted.user:
        return "an answer to HEAD has a body" if body else None
    if status == 101 and fields.get(b"sec-websocket-accept") != wanted.accept.lower():
        return "the key is answered with another value"
    if status == 101:  # what may follow answers what the client has sent behind its handshake
        return None if body.startswith(wanted.welcome) else "the welcome is another one"
    if status == 200:
        return None if body == wanted.welcome else "the welcome is another one"
    if fields.get(b"connection") != b"close":
        return "the refusal does not say that it is the last answer"
    if body and int(fields[b"content-length"]) != len(body):
        return "the size of the refusal is another one"
    return None  # without a body it is the refusal of a HEAD
