"""Endpoints: where a stream socket connects to, as (host, port), or as (path, 0) where it is a Unix socket. Pure.

A path begins with a slash, as no address does, so that whatever only passes endpoints on knows of one kind.
"""

import socket

Endpoint = tuple[str, int]

MAX_PATH = 107
"""Bytes of the path of a Unix socket: unix(7) has room for 108, and a NUL is the last."""


def is_path(host: str) -> bool:
    """Return whether this is the path of a Unix socket."""
    return host.startswith("/")


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of the sockets that connect there."""
    if is_path(host):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def sockaddr(endpoint: Endpoint) -> Endpoint | str:
    """Return what connect(2) takes in Python."""
    return endpoint[0] if is_path(endpoint[0]) else endpoint
