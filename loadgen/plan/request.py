"""What each connection of a run asks for: the target's URL, and what goes with it. Pure.

In: a URL as `--target` has it, and what the options of a run say besides. Out: a `RequestTemplate`, in which a worker
fills each user's values; the sentences that say what is wrong; and what may be shown of options that hold secrets.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from floodtest.flyweight.errors import UsageError
from floodtest.flyweight.machine.endpoints import MAX_PATH
from floodtest.wire import options as of_wire
from floodtest.wire.names import TLS_SCHEMES
from floodtest.wire.template import ADDRESS, CURSOR, OWN, OWN_OF_POLLS, Header, RequestTemplate

SHOWN_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "cache-control", "connection", "content-type", "host"),
        *("last-event-id", "origin", "pragma", "referer", "te", "upgrade", "user-agent"),
    }
)
"""Headers, in lower case, whose values a record has. The value of any other one may be a secret."""

HIDDEN = "***"
"""What is shown in place of a secret."""


SCHEMES = ("http", "https", "ws", "wss", "tcp")
"""Of targets that have a host."""

_UNIX = re.compile(r"(?i:unix):(?://)?(/[^?#]*)(.*)|((?i:http|ws)://(?:[^/?#]*@)?)unix:(/[^:?#]*):?(.*)", re.DOTALL)
"""A Unix socket instead of a host and a port, as nginx writes it: the socket's path ends at a colon."""

_UNIX_WITH_TLS = re.compile(r"(?i:https|wss)://(?:[^/?#]*@)?unix:/")

_RELATIVE = re.compile(r"(?i:unix):(?!/).*|(?i:http|ws)://(?:[^/?#]*@)?unix:(?!/|\d*(?:[/?#]|$)).*", re.DOTALL)
"""A Unix socket whose path does not begin with a slash; a host may be called unix, and has a port then, or none."""

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.?))", re.DOTALL)
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class TargetUrl(NamedTuple):
    """A target as its URL has it."""

    host: str
    """Or the path of a Unix socket, whose port is 0 (see `flyweight.machine.endpoints`)."""
    port: int
    path: str
    """With its query; a template. Empty: there is no HTTP."""
    credentials: str | None = None
    """User and password, as the URL has them; a template."""

    @property
    def asked(self) -> RequestTemplate:
        """What this URL alone asks for."""
        credentials = None if self.credentials is None else self.credentials.encode()
        return RequestTemplate(self.path.encode(), credentials=credentials)


def is_unix(url: str) -> bool:
    """Return whether a target is a Unix socket, be there something else wrong with it or not."""
    return _UNIX.fullmatch(url) is not None


def parse_target(url: str) -> TargetUrl:
    """Take a target's URL apart; UsageError says what is wrong with it."""
    found, shown = _UNIX.fullmatch(url), without_credentials(url)
    if _UNIX_WITH_TLS.match(url):
        raise UsageError(f"--target {shown!r} is a Unix socket, over which TLS is not spoken: take http:// or ws://.")
    if _RELATIVE.fullmatch(url):
        raise UsageError(f"--target {shown!r} needs the whole path of its Unix socket, from / on: unix:/run/app.sock.")
    if found is None:
        return _parse(url, shown)
    path = found[1] or found[4]
    if found[1] is None and "{" in path:
        raise UsageError(
            f"--target {shown!r} has a placeholder in the path of its Unix socket, which ends at a colon: what is "
            "asked for follows that, as in http://unix:/run/app.sock:/events/{user}."
        )
    if len(to_bytes(path)) > MAX_PATH or "{" in path or not path.isprintable():
        raise UsageError(
            f"--target {shown!r} needs the path of a Unix socket: up to {MAX_PATH} bytes, and without placeholders."
        )
    if found[1] is None:
        return _parse(f"{found[3]}localhost{found[5]}", shown)._replace(host=path, port=0)
    if found[2]:
        raise UsageError(f"--target {shown!r} is a raw stream: name the path of its socket and nothing else.")
    return TargetUrl(path, 0, "")


def _parse(url: str, shown: str) -> TargetUrl:
    try:
        if not url.isprintable():
            raise ValueError("it has a character that nobody can see")
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme in TLS_SCHEMES else 80)
    except ValueError as error:
        why = f": {error}." if shown == url else "."  # what an error quotes may be of a password
        raise UsageError(f"--target {shown!r} is no URL{why}") from error
    if parts.scheme == "tcp" and host and "{" not in host:
        return _raw_target(parts, shown)
    if "://" in url and parts.scheme not in SCHEMES:
        raise UsageError(f"--target {shown!r} has to begin with one of {', '.join(f'{one}://' for one in SCHEMES)}.")
    if parts.scheme not in SCHEMES or not host or "{" in host:
        raise UsageError(f"--target must be like http://127.0.0.1:8000/test/{{user}}, not {shown!r}.")
    if "{" in parts.fragment:
        raise UsageError(f"--target {shown!r} has a placeholder behind #, and that part of a URL is never sent.")
    credentials, at, _ = parts.netloc.rpartition("@")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    found = TargetUrl(host, port, path, credentials if at else None)
    if problems := found.asked.problems(None):
        raise UsageError(*(f"{problem} It is {shown!r}." for problem in problems))
    return found


def _raw_target(parts: SplitResult, shown: str) -> TargetUrl:
    """Return a target without HTTP, which is a host and a port and nothing else."""
    if "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(
            f"--target {shown!r} is a raw stream, which has no user and no path: take tcp://HOST:PORT, and say with "
            "--send what is sent first."
        )
    if not parts.hostname or not parts.port:
        raise UsageError(f"--target {shown!r} needs a port: take tcp://HOST:PORT.")
    return TargetUrl(parts.hostname, parts.port, "")


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without user and password.

    In what is no URL nobody knows where a password ends: all up to the last @ may be of it. The path of a Unix socket
    without HTTP has no user before it.
    """
    if re.match("(?i:unix):", url):
        return url
    before, slashes, rest = url.partition("//") if "//" in url else ("", "", url)
    end = len(re.split("[/?#]", rest)[0]) if _is_url(url) else len(rest)
    at = rest.rfind("@", 0, end)
    return url if at < 0 else f"{before}{slashes}{HIDDEN}{rest[at:]}"


def _is_url(url: str) -> bool:
    try:
        return bool(urlsplit(url).netloc and (urlsplit(url).port or True))
    except ValueError:
        return False


def request_of(
    url: str, headers: Sequence[str], method: str, body: bytes | None, sent: bytes | None
) -> RequestTemplate:
    """Return what connections to a target ask for, and send; all of it was checked by `problems_of`."""
    good = [of_wire.split_header(header) for header in headers]
    return _with(parse_target(url).asked, good, method, body, sent)


def _with(
    asked: RequestTemplate, headers: list[Header], method: str, body: bytes | None, sent: bytes | None
) -> RequestTemplate:
    return msgspec.structs.replace(asked, headers=tuple(headers), method=method.encode(), body=body, sent=sent)


def problems_of(
    url: str,
    headers: Sequence[str],
    method: str,
    body: str | None,
    sent: str | None,
    has_columns: bool,
    has_cursor: bool,
) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with what is asked for, as far as no file has to be read for it."""
    asked, good = RequestTemplate(b"/"), list[Header]()
    try:
        asked = parse_target(url).asked
    except UsageError as error:
        yield from error.problems
    for header in headers:
        try:
            good.append(of_wire.split_header(header))
        except ValueError:
            yield of_wire.header.complaint("--header", header)
    try:
        of_wire.method.parse(method)
    except ValueError:
        yield of_wire.method.complaint("--method", method)
        method = "GET"
    texts = [None if text is None or file_of(text) else text for text in (body, sent)]
    first = None
    try:
        first = None if texts[1] is None else text_to_send(texts[1], asked)
    except ValueError:
        yield "--send has a backslash that means nothing: there are \\r, \\n, \\t, \\0, \\\\ and \\xHH."
    asked = _with(asked, good, method, None if texts[0] is None else to_bytes(texts[0]), first)
    own = OWN_OF_POLLS if has_cursor else OWN
    yield from asked.problems(None if has_columns else own)
    if is_unix(url) and ADDRESS in asked.places():
        yield "{address} stands for a source address, and a connection to a Unix socket has none: leave it out."
    if not has_columns and not asked.places().keys() <= set(own):
        yield "The columns of a file are placeholders as well where --users names it."
    if has_cursor and CURSOR not in asked.places() and not (body is not None and file_of(body)):
        yield "--cursor is said to nobody: put {cursor} where it goes, in --target, --header or --body."


def file_of(body: str) -> str | None:
    """Return the name of the file that a body is in, None where it is the text itself."""
    return body[1:] if body.startswith("@") else None


def to_bytes(text: str) -> bytes:
    """Return the bytes of a text of the command line, which need not be UTF-8."""
    return text.encode(errors="surrogateescape")


def text_to_send(text: str, asked: RequestTemplate) -> bytes:
    r"""Return the bytes of a text of `--send`; ValueError for an escape that there is none of.

    In one for a raw stream `\r\n` and the like stand for what a shell can't be given easily. What a WebSocket sends
    needs no line ends, and is often JSON, which has escapes of its own.
    """
    if asked.path:
        return to_bytes(text)

    def meant(found: re.Match[bytes]) -> bytes:
        if found[1] is None and found[2] not in _ESCAPES:
            raise ValueError(text)
        return _ESCAPES[found[2]] if found[1] is None else bytes.fromhex(found[1].decode())

    return _ESCAPE.sub(meant, to_bytes(text))


def hidden(target: str | None, headers: Sequence[str], *texts: str | None) -> Mapping[str, str]:
    """Return the texts of a command line that must not be shown, each with what is shown in its place."""
    found = {}
    if target is not None:
        found[target] = without_credentials(target)
    for header in headers:
        name = header.partition(":")[0]
        if name.lower() not in SHOWN_HEADERS:
            found[header] = f"{name}: {HIDDEN}"
    for text in texts:
        if text is not None and file_of(text) is None:
            found[text] = HIDDEN
    return {text: shown for text, shown in found.items() if text != shown}


def shown_word(word: str, hidden: Mapping[str, str]) -> str:
    """Return a word of a command line without the secrets in it (`hidden`), be it a text or `--option=text`."""
    option, is_joined, text = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{is_joined}{hidden.get(text, text)}"
