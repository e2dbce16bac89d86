"""What an end is told of TLS, and OpenSSL's contexts made of it.

In: names of files with certificates and keys, which each worker reads itself, so that no key crosses a process. Out: a
context, one for each worker. Fails: UsageError, which names the file and what is wrong with it.
"""

import os
import ssl
from collections.abc import Callable
from typing import Literal

import msgspec

from floodtest.flyweight.errors import UsageError

HTTP_1 = "http/1.1"

Version = Literal["1.2", "1.3"]

VERSIONS: dict[Version, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ClientTls(msgspec.Struct, frozen=True):
    """How clients speak TLS."""

    server_name: str
    """What the server is asked for, and its certificate has to be for."""
    is_http: bool = True
    insecure: bool = False
    """Take any certificate."""
    cafile: str | None = None
    """Of who is trusted; None: whom this machine trusts."""
    cert: str | None = None
    key: str | None = None
    """What the client shows of itself where a server asks for it; the key may be in the file of the certificate."""
    version: Version | None = None
    """None: the best that both have."""

    def context(self) -> ssl.SSLContext:
        """Make a context of a client; its files are read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.is_http:
            context.set_alpn_protocols([HTTP_1])
        if self.version is not None:
            context.minimum_version = context.maximum_version = VERSIONS[self.version]
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.cafile is None:
            context.set_default_verify_paths()
        else:
            _read("--cafile", self.cafile, "certificates in PEM", lambda: context.load_verify_locations(self.cafile))
        if self.cert is not None:
            _load_pair(context, "--cert", self.cert, "--key", self.key)
        return context


class ServerTls(msgspec.Struct, frozen=True):
    """How a server speaks TLS."""

    cert: str
    key: str | None = None
    """None: it is in the file of the certificate."""
    tickets: int = 0
    """How many each client is sent, to come back with."""

    def context(self) -> ssl.SSLContext:
        """Make a context of a server; its files are read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([HTTP_1])
        context.num_tickets = self.tickets
        context.options |= ssl.OP_NO_RENEGOTIATION
        _load_pair(context, "--tls-cert", self.cert, "--tls-key", self.key)
        return context


def _load_pair(context: ssl.SSLContext, cert_option: str, cert: str, key_option: str, key: str | None) -> None:
    def no_password() -> str:
        raise ValueError("its key has a password, and nobody is asked for it")

    what = f"a certificate in PEM, and {key_option} its key without a password"
    _read(cert_option, cert, what, lambda: context.load_cert_chain(cert, key, no_password))


def _read(option: str, path: str, what: str, load: Callable[[], None]) -> None:
    """Have a file read; UsageError says what is wrong with it."""
    try:
        load()
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise UsageError(f"{option} {path} must have {what}: {why}.") from error
    except ValueError as error:
        raise UsageError(f"{option} {path} can't be used: {error}.") from error
    except OSError as error:
        missing = "" if os.path.exists(path) else " There is no such file."
        raise UsageError(f"{option} {path} can't be read: {error.strerror}.{missing}") from error
