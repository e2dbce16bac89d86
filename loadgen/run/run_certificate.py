"""A certificate for one run: made for it, in memory, and gone with it.

In: how long it has to last. Out: names of two files that any process of this user can read while the block lasts, a
certificate of P-256 that is signed by itself, and its key. They are files in memory (memfd_create(2)) that others open
by way of /proc, so that no disk ever has the key. Fails: Refused where there is no memory for them.
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

NAME = "floodtest.invalid"
"""Whom the certificate is for: a name that nobody can have (RFC 6761, section 6.4)."""

DAYS = 30


class Files(NamedTuple):
    """Names of files in PEM."""

    cert: str
    key: str


@contextmanager
def run_certificate() -> Iterator[Files]:
    """A certificate as long as the block lasts."""
    cert, key = _make()
    with ExitStack() as stack:
        yield Files(_in_memory(stack, "floodtest-cert", cert), _in_memory(stack, "floodtest-key", key))


def _in_memory(stack: ExitStack, name: str, content: bytes) -> str:
    try:
        descriptor = os.memfd_create(name)
    except OSError as error:
        raise Refused(f"A certificate for this run can't be made: {reason(error)}.") from error
    stack.callback(os.close, descriptor)
    os.write(descriptor, content)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _make() -> tuple[bytes, bytes]:
    """Make a certificate and its key, in PEM."""
    # Not above: this takes some MB, and a run without TLS has none.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
