"""What a publisher is to do, as the run gives it to the process on standard input. Pure."""

import re
from urllib.parse import urlsplit

import msgspec

from floodtest.wire.tls.settings import ClientTls

METHODS = ("POST", "PUT", "GET")

_REQUEST = re.compile(rf"(?:(?P<method>{'|'.join(METHODS)}) )?(?P<url>https?://\S+)")


class Request(msgspec.Struct, frozen=True):
    """A request of the publishing API, with `{user}` and `{message}` where the user's id and the message go."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str


class Order(msgspec.Struct, frozen=True):
    """`rate` messages a second for so many seconds, each of `size` bytes and about one of the users of the run."""

    request: Request
    rate: float
    seconds: float
    size: int
    run: str
    """Eight hex digits, for the marks of messages (`wire.mark`)."""
    first_user: int
    states: str
    """The file of the run record with the state of each user: messages are about those whose connection is open."""
    to_all: bool
    """Whether every open connection should get each message, and not only that of its user."""
    tls: ClientTls | None = None
    """How TLS is spoken with the API; None: it is not."""


def split_request(text: str) -> tuple[str, str]:
    """Return method and URL of a text such as `POST http://…`, POST if it names none; ValueError for anything else."""
    found = _REQUEST.fullmatch(text)
    if found is None or not text.isascii() or not _is_complete(found["url"]):
        raise ValueError(text)
    return found["method"] or METHODS[0], found["url"]


def _is_complete(url: str) -> bool:
    """Whether a URL names a host, and a port that there can be if it names one."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and "{" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
