"""Keeps web pages away from the control API: what a browser sends for a page that is not the API's own is refused.

In: the headers of a request. Out: why it is refused, or None. A browser reaches loopback for any page that it shows,
but says of each request what has caused it, in headers that no page can set:

- Origin (Fetch standard, "Origin header"): with each POST, PUT and DELETE, and each read across origins. It has to be
  the API's own, that is http and the Host that was asked.
- Sec-Fetch-Site (W3C, Fetch Metadata): with each request to loopback, those for images and scripts included, by every
  browser since 2023. `none` is a person who typed the address.
- Host: a page whose name has been made to lead to 127.0.0.1 (DNS rebinding) has the same origin as the API for the
  browser, so that the other two say nothing against it; but Host has that name. Hence without a token only names and
  addresses of loopback are served. Names below .localhost are not: nothing of ours needs them.

Programs such as curl and httpx send none of them but Host. This is not instead of a token: it keeps out web pages, not
other users of the machine.
"""

import ipaddress
import re
from collections.abc import Iterable
from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
"""A host and a port (RFC 3986, section 3.2), as far as names and addresses in use have them."""

_ORIGIN = re.compile(rf"http://({_AUTHORITY.pattern})")
HTTP_PORT = 80
"""Of a URL without one."""

OWN_SITE = (b"same-origin", b"none")
"""Values of Sec-Fetch-Site for requests that no other site's page has caused."""

ADVICE = "Web pages may not use the control API; curl, comet publish and other programs may."
HOST_ADVICE = (
    "Without a token the control API is served as localhost, 127.0.0.0/8 and [::1] only, names that no web page from "
    "elsewhere can have: use one of these in the URL, or start comet serve with a token."
)

Headers = Iterable[tuple[bytes, bytes]]
Endpoint = tuple[str, int]


def endpoint_of(authority: str) -> Endpoint | None:
    """Return the host, in lower case, and the port of an authority such as `localhost:8001`; None if it is none."""
    match = _AUTHORITY.fullmatch(authority)
    return None if match is None else (match["host"].lower(), int(match["port"] or HTTP_PORT))


def is_loopback(host: str) -> bool:
    """Whether a host, as `endpoint_of` returns it, can be nothing but this machine: localhost, 127.0.0.0/8 or [::1]."""
    host = host.removesuffix(".")
    try:
        if host.startswith("["):
            address = ipaddress.IPv6Address(host[1:-1])
            return (address.ipv4_mapped or address).is_loopback
        return host == "localhost" or ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def why_refused(headers: Headers, any_host: bool) -> str | None:
    """Return a sentence that says why a request with these headers is refused; None for one that is served.

    Names of headers are in lower case, as ASGI has them. `any_host`: a token protects the API, whatever its name.
    """
    found: dict[bytes, list[bytes]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
    for name, value in headers:
        if name in found:
            found[name].append(value)
    for name, values in found.items():
        if len(values) > 1:
            return f"There are {len(values)} headers {name.decode().title()} where one has a meaning."
    hosts, origins, sites = found.values()
    host = endpoint_of(hosts[0].decode("latin-1")) if hosts else None
    if host is None and (hosts or not any_host):
        return f"The request names no host that makes sense. {HOST_ADVICE}"
    if host is not None and not (any_host or is_loopback(host[0])):
        return f"The request is for the host {host[0]:.100}. {HOST_ADVICE}"
    if origins and (host is None or _origin(origins[0]) != host):
        return _foreign("Origin", origins[0])
    if sites and sites[0] not in OWN_SITE:
        return _foreign("Sec-Fetch-Site", sites[0])
    return None


def _foreign(name: str, value: bytes) -> str:
    given = f"{name}: {value.decode('latin-1'):.100}"
    return f"The request was made by a web page that is not the API's own ({given}). {ADVICE}"


def _origin(value: bytes) -> Endpoint | None:
    """Return host and port of an origin, None if it is another scheme's, `null` or nonsense."""
    match = _ORIGIN.fullmatch(value.decode("latin-1"))
    return None if match is None else endpoint_of(match[1])


def for_programs_only(application: ASGIApp, any_host: bool) -> ASGIApp:
    """Let those requests through to an ASGI application that no web page of another site has made; others get 403."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        reason = why_refused(scope["headers"], any_host)
        called = application if reason is None else PlainTextResponse(f"{reason}\n", HTTPStatus.FORBIDDEN)
        await called(scope, receive, send)

    return guard
