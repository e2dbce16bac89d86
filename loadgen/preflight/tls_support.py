"""What a machine has for TLS, as `floodtest doctor` shows it: OpenSSL, the rate of handshakes, and TLS of the kernel.

In: a machine. Out: facts, none of which stops a run. Cost: a quarter of a second, for the rate.
"""

import msgspec

from floodtest.loadgen.preflight.machine import KernelTls, Machine


class TlsSupport(msgspec.Struct, frozen=True, kw_only=True):
    """The key `tls` of `floodtest doctor --json`."""

    openssl: str
    """The OpenSSL that Python has."""
    has_tls_1_3: bool
    client_handshakes_per_second: int
    """That one core does at a client, as measured just now."""
    server_handshakes_per_second: int
    """That one core does at a server with a key of P-256."""
    kernel_tls: KernelTls
    """Whether the kernel has TLS of its own (kTLS), which is not used."""


def support_of(machine: Machine) -> TlsSupport:
    """Return what a machine has."""
    # Not above: OpenSSL takes some MB, and a plan without TLS has none.
    import ssl

    cost = machine.handshakes
    return TlsSupport(
        openssl=ssl.OPENSSL_VERSION,
        has_tls_1_3=ssl.HAS_TLSv1_3,
        client_handshakes_per_second=round(1 / cost.client),
        server_handshakes_per_second=round(1 / cost.server),
        kernel_tls=machine.kernel_tls,
    )
