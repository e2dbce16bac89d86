"""Where a bus is: the URL of a Valkey or Redis server, as `--bus` takes it, and what machines are called. Pure.

`valkey://[USER:PASSWORD@]HOST[:PORT]`, `valkeys://` over TLS, `valkey:///PATH` for a Unix socket; `redis` in place of
`valkey` makes no difference. With TLS `?cafile=FILE` says whose certificates are trusted (the system's by default), and
`&cert=FILE&key=FILE` what is shown to the server. Fails: ValueError for what is no such URL.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from floodtest.flyweight.command.parsers import Parser, parse_count

PRIVATE = "valkey:"
"""A server of its own, which is started and ended with the command that asks for it."""

PORT = 6379

MACHINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

MOST_MACHINES = 64
"""Of one router: before each turn it looks which of their places have changed, some 50 µs a machine."""

_TLS_OPTIONS = {"cafile", "cert", "key"}


@dataclass(frozen=True)
class BusAddress:
    """Where a server is, and what it is shown."""

    host: str
    port: int = PORT
    path: str | None = None
    """Of a Unix socket, in place of host and port."""
    user: str | None = None
    password: str | None = None
    has_tls: bool = False
    cafile: str | None = None
    cert: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        """Say where it is, without the password."""
        if self.path is not None:
            return f"valkey://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'valkeys' if self.has_tls else 'valkey'}://{host}:{self.port}"


def parse_bus(text: str) -> BusAddress:
    """Return the address in a URL; ValueError."""
    url = urlsplit(text)
    if url.scheme not in ("valkey", "valkeys", "redis", "rediss") or url.fragment:
        raise ValueError(text)
    has_tls = url.scheme in ("valkeys", "rediss")
    user, password = (None if part is None else unquote(part) for part in (url.username, url.password))
    if not url.hostname:
        if has_tls or url.query or url.path in ("", "/"):
            raise ValueError(text)
        return BusAddress("", path=unquote(url.path), user=user or None, password=password)
    options = dict(parse_qsl(url.query, strict_parsing=True)) if url.query else {}
    if url.path not in ("", "/") or options.keys() - (_TLS_OPTIONS if has_tls else set()):
        raise ValueError(text)
    if "key" in options and "cert" not in options:
        raise ValueError(text)
    return BusAddress(url.hostname, url.port or PORT, None, user or None, password, has_tls, **options)


def _private(text: str) -> str:
    if text != PRIVATE:
        raise ValueError(text)
    return text


def _machine_name(text: str) -> str:
    if not MACHINE_NAME.fullmatch(text):
        raise ValueError(text)
    return text


def _machine_count(text: str) -> int:
    count = parse_count(text)
    if count > MOST_MACHINES:
        raise ValueError(text)
    return count


bus = Parser(
    parse_bus, "a URL such as valkey://HOST:6379, valkeys://USER:PASSWORD@HOST or valkey:///PATH", is_secret=True
)
private_bus = Parser(_private, f"{PRIVATE} without an address: fronts of several machines take comet router and front")
machine_name = Parser(_machine_name, "letters, digits, and . _ - within them, up to 60 of them")
machine_count = Parser(_machine_count, f"a whole number from 1 to {MOST_MACHINES}")
