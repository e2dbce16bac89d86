"""OpenSSL's contexts, made of what an end is told of TLS; one for each worker.

In: `wire.tls.settings`. Out: a context. Fails: UsageError, which names the file and what is wrong with it.
"""

import ssl
from collections.abc import Callable

from floodtest.flyweight.errors import UsageError
from floodtest.wire.tls.settings import ANY, ClientTls, ServerTls

HTTP_1 = "http/1.1"

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
        _read(
            "--cafile", settings.cafile, "certificates in PEM", lambda: context.load_verify_locations(settings.cafile)
        )
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
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise UsageError(f"OpenSSL on this machine can't begin a handshake as it was asked to: {why}.") from error
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
        raise UsageError(f"{option} {path} can't be read: {error.strerror}.") from error
