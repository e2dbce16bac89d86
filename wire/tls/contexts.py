"""OpenSSL's contexts, made of what an end is told of TLS; one for each worker.

In: `wire.tls.settings`. Out: a context. Fails: UsageError, which names the file and what is wrong with it.
"""

import re
import ssl
from pathlib import Path

from floodtest.flyweight.errors import UsageError
from floodtest.wire.tls.settings import ANY, ClientTls, ServerTls

HTTP_1 = "http/1.1"

_CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
"""What begins one in PEM."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_context(settings: ClientTls) -> ssl.SSLContext:
    """Make a context of a client; its files are read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.is_http:
        context.set_alpn_protocols([HTTP_1])
    if settings.version != ANY:
        context.minimum_version = context.maximum_version = _VERSIONS[settings.version]
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.cafile is None:
        context.set_default_verify_paths()
    else:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # who signed is trusted, be it a root or not
        if not _CERTIFICATE.search(_content("--cafile", settings.cafile)):
            raise UsageError(f"--cafile {settings.cafile} has no certificate in PEM.")
        try:
            context.load_verify_locations(settings.cafile)
        except ssl.SSLError as error:
            raise UsageError(f"--cafile {settings.cafile} can't be used: {_why(error)}.") from error
    if settings.cert is not None:
        _load_pair(context, "--cert", settings.cert, "--key", settings.key)
    return context


def try_client(settings: ClientTls, name_option: str) -> None:
    """Read a client's files and make the first flight of a handshake, so that what is wrong with either is said before
    a worker finds it.
    """
    context = client_context(settings)
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=settings.server_name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError as error:
        raise UsageError(
            f"OpenSSL on this machine can't begin a handshake as it was asked to: {_why(error)}."
        ) from error
    except (ValueError, TypeError) as error:  # UnicodeError is one
        raise UsageError(
            f"{name_option} {settings.server_name!r} is no name that a server can be asked for."
        ) from error


def server_context(settings: ServerTls) -> ssl.SSLContext:
    """Make a context of a server; its files are read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([HTTP_1])
    context.num_tickets = settings.tickets
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_pair(context, "--tls-cert", settings.cert, "--tls-key", settings.key)
    return context


def _load_pair(context: ssl.SSLContext, cert_option: str, cert: str, key_option: str, key: str | None) -> None:
    """Have a certificate and its key read; what is wrong is said of the file that it is wrong with."""
    if not _CERTIFICATE.search(_content(cert_option, cert)):
        raise UsageError(f"{cert_option} {cert} has no certificate in PEM.")
    of_key = f"{cert_option} {cert}" if key is None else f"{key_option} {key}"
    if not _KEY.search(_content(cert_option, cert) if key is None else _content(key_option, key)):
        hint = f": name the file that has it with {key_option}" if key is None else ""
        raise UsageError(f"{of_key} has no private key in PEM{hint}.")

    def no_password() -> str:
        raise ValueError("no password")

    try:
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise UsageError(f"{of_key} has another key than that of the certificate in {cert}.") from error
        with_key = "" if key is None else f" and {of_key}"
        raise UsageError(f"{cert_option} {cert}{with_key} can't be used: {_why(error)}.") from error
    except ValueError as error:
        raise UsageError(f"{of_key} can't be used: its key has a password, and nobody is asked for it.") from error
    except OSError as error:  # it has gone meanwhile
        raise UsageError(f"{cert_option} {cert} can't be read: {error.strerror}.") from error


def _content(option: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} can't be read: {error.strerror}.") from error


def _why(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in words; it has none for what Python says by the name of a part of OpenSSL."""
    return "OpenSSL can't read it" if error.reason is None else error.reason.lower().replace("_", " ")
