"""Certificates for a while: made in memory, and files in memory that have them.

In: names. Out: certificate and key of P-256 in PEM, signed by itself; or names of two files that any process of this
user can open while the block lasts, by way of /proc (memfd_create(2)). Cost: 1 ms. Fails: Refused where there is no
memory for files.

The files may be swapped out, as all memory may in which fronts hold the key while they use it; to lock one page of it
would not keep it from a disk. Nobody else trusts it, it is of no use behind the run, and with the ephemeral keys of TLS
1.3 it opens nothing that was recorded.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

if TYPE_CHECKING:
    from cryptography import x509

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


def self_signed(*names: str, days: int = DAYS) -> tuple[bytes, bytes]:
    """Return a certificate for names and addresses, valid for so many days from now, and its key, in PEM. It begins a
    day before now or before its end, as clocks differ.
    """
    # Not above: this takes some MB, and a run without TLS, which has to know this module, has none.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=days)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    alternatives = [_alternative(name) for name in names]
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(min(now, until) - datetime.timedelta(days=1))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _alternative(name: str) -> "x509.GeneralName":
    """Return a name or an address as certificates have it."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
