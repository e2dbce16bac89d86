"""The handshake of a probe over TLS: one connection, blocking, by the library's own socket.

In: a connected socket with a time-out, and how TLS is spoken. Out: a socket to go on with, and what was agreed on, for
people. Fails: `NotSecured`, with the code by which a run would count it.
"""

import errno
import socket
import ssl
from dataclasses import dataclass

from cryptography import x509

from floodtest.wire.causes import Cause
from floodtest.wire.tls.contexts import client_context
from floodtest.wire.tls.failures import cause_of
from floodtest.wire.tls.settings import ClientTls


@dataclass(frozen=True)
class Agreed:
    """What both ends have agreed on, and who the server says that it is."""

    version: str
    cipher: str
    subject: str
    issuer: str
    valid_until: str


class NotSecured(Exception):
    """A handshake that has failed: by an errno or a `Cause`, and what more there is to say."""

    def __init__(self, code: int, note: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.note = note


def secure(sock: socket.socket, settings: ClientTls) -> tuple[ssl.SSLSocket, Agreed]:
    """Do the handshake; the socket that is returned replaces the one given, and the caller closes it."""
    context = client_context(settings)
    # Behind the last flight the request would wait for its acknowledgement, which may take 40 ms (Nagle).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        made = context.wrap_socket(sock, server_hostname=settings.server_name, suppress_ragged_eofs=False)
    except TimeoutError as error:
        raise NotSecured(errno.ETIMEDOUT) from error
    except ssl.SSLEOFError as error:
        raise NotSecured(Cause.NO_ANSWER) from error
    except ssl.SSLError as error:
        raise NotSecured(*cause_of(error, b"")) from error
    except OSError as error:
        raise NotSecured(error.errno or errno.EIO) from error
    return made, _agreed(made)


def end_of(error: OSError) -> int:
    """Return by which code a connection has ended whose reading raised this."""
    if isinstance(error, ssl.SSLEOFError):
        return Cause.TLS_CUT
    return cause_of(error, b"")[0] if isinstance(error, ssl.SSLError) else error.errno or errno.EIO


def _agreed(sock: ssl.SSLSocket) -> Agreed:
    cipher, shown = sock.cipher(), sock.getpeercert(binary_form=True)
    assert cipher is not None
    assert shown is not None
    try:
        certificate = x509.load_der_x509_certificate(shown)
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
        valid_until = certificate.not_valid_after_utc.date().isoformat()
    except ValueError:  # what OpenSSL takes is not always as the standards have it
        subject = issuer = valid_until = "(it can't be read)"
    return Agreed(sock.version() or "", cipher[0], subject, issuer, valid_until)
