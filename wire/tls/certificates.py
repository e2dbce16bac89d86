"""Certificates for a while: made in memory, and files in memory that have them. No disk ever sees a key.

In: a name. Out: certificate and key of P-256 in PEM, signed by itself; or names of two files that any process of this
user can open while the block lasts, by way of /proc (memfd_create(2)). Cost: 1 ms. Fails: Refused where there is no
memory for files.
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

NAME = "floodtest.invalid"
"""A name that nobody can have (RFC 6761, section 6.4)."""

DAYS = 30


class Files(NamedTuple):
    """Names of files in PEM."""

    cert: str
    key: str


@contextmanager
def certificate_for_now() -> Iterator[Files]:
    """A certificate for `NAME` as long as the block lasts."""
    cert, key = self_signed(NAME)
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


def self_signed(name: str) -> tuple[bytes, bytes]:
    """Return a certificate for a name, valid from yesterday on for `DAYS` days, and its key, in PEM."""
    # Not above: this takes some MB, and a run without TLS, which has to know this module, has none.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
