"""Raw streams: a TCP connection without HTTP. What a client sends first is its request, and lines come back. Pure.

There is no head: a connection for which the head is enough is open as soon as it is connected and its request is
written (`Answers.at_once`), without a byte of an answer. Any other condition is looked for in the lines, from the
first byte on.

Fails: NotOpened, by what `wire.causes.foreign` knows by its first bytes, such as the alert of a port that wants TLS.
"""

import re

from floodtest.wire.answers import Answers, NotOpened, Opened
from floodtest.wire.causes import foreign
from floodtest.wire.framing import lines
from floodtest.wire.framing.frames import Framing
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.open_when import OpenWhen

_ERROR = re.compile(
    rb"-(?!NAN\b|INF)[A-Z]{2}|[45]\d\d[ -]"
    rb"|(?i:(?:[a-z]+_)?err(?:or)?\b|{\s*\"err(?:or)?\"(?!\s*:\s*(?:null|false)\b))"
)
"""How errors begin: -ERR of redis, POP3 and NATS, ERROR and CLIENT_ERROR of memcached, 4xx and 5xx of SMTP and FTP, and
an object of JSON; that of JSON-RPC 1.0 has an error that is null where there is none."""


def looks_like_an_error(data: bytes) -> bool:
    """Return whether what a server says first looks like an error; nobody can know that of all protocols."""
    return _ERROR.match(data) is not None


class RawAnswers(Answers):
    """Tells what opens a raw stream."""

    def __init__(self, open_when: OpenWhen, longest: int, grammar: Grammar = OURS) -> None:
        super().__init__(lambda head: lines, open_when, longest, grammar)

    @property
    def at_once(self) -> Opened | None:
        """What opens a connection whose request is written, where nothing has to be answered; None: something has."""
        return Opened(lines, 0, []) if self.open_when.is_head else None

    def looks_like_an_error(self, begin: bytes) -> bool:
        """Return whether it looks so: what a condition asks for may well stand in an error that quotes a request."""
        return looks_like_an_error(begin)

    def read_head(self, user: int, data: bytes) -> tuple[Framing, bytes] | None:
        """Return the framing and all of the data, None while its first bytes may be those of another protocol."""
        cause, may_become_foreign = foreign(data)
        if cause is not None:
            raise NotOpened(cause)
        return None if may_become_foreign else (lines, data)
