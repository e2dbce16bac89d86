"""Why a handshake failed: from OpenSSL's words, and the first bytes of the peer, to a cause of our own. Pure.

Out: a cause, and for what has many forms a note, such as the name of an alert. Fails: never.
"""

import ssl

from floodtest.wire.causes import Cause

_CERTIFICATES = {
    9: Cause.TLS_EXPIRED,  # not valid yet
    10: Cause.TLS_EXPIRED,
    62: Cause.TLS_WRONG_NAME,
    64: Cause.TLS_WRONG_NAME,  # of an address
    18: Cause.TLS_UNKNOWN_ISSUER,  # signed by itself
    19: Cause.TLS_UNKNOWN_ISSUER,  # in a chain
    20: Cause.TLS_UNKNOWN_ISSUER,
    21: Cause.TLS_UNKNOWN_ISSUER,
}
"""By the codes of X509_V_ERR of OpenSSL."""

_REASONS = {
    "UNSUPPORTED_PROTOCOL": Cause.TLS_VERSION,
    "NO_PROTOCOLS_AVAILABLE": Cause.TLS_VERSION,
    "VERSION_TOO_LOW": Cause.TLS_VERSION,
    "NO_SHARED_CIPHER": Cause.TLS_NO_CIPHER,
    "WRONG_VERSION_NUMBER": Cause.TLS_PLAIN,
    "TLSV1_UNRECOGNIZED_NAME": Cause.TLS_UNKNOWN_NAME,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": Cause.TLS_BAD_MAC,
    "ENCRYPTED_LENGTH_TOO_LONG": Cause.TLS_RECORD_TOO_LARGE,
    "DATA_LENGTH_TOO_LONG": Cause.TLS_RECORD_TOO_LARGE,
    "BAD_RECORD_TYPE": Cause.TLS_BAD_RECORD,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Cause.TLS_WANTS_CERTIFICATE,
}

_ALERTS = {
    "NO_APPLICATION_PROTOCOL": Cause.HTTP2_PORT,
    "PROTOCOL_VERSION": Cause.TLS_VERSION,
    "HANDSHAKE_FAILURE": Cause.TLS_NO_CIPHER,
    "INSUFFICIENT_SECURITY": Cause.TLS_NO_CIPHER,
    "CERTIFICATE_REQUIRED": Cause.TLS_WANTS_CERTIFICATE,
}

_HANDSHAKE, _ALERT = 0x16, 0x15


def cause_of(error: ssl.SSLError, begin: bytes) -> tuple[Cause, str | None]:
    """Return why a handshake failed; `begin` are the first bytes that the peer sent."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, Cause.TLS_BAD_CERTIFICATE), error.verify_message
    _, is_alert, alert = reason.partition("ALERT_")
    if is_alert:
        return _ALERTS.get(alert, Cause.TLS_ALERT), alert.lower().replace("_", " ")
    if begin and begin[0] not in (_HANDSHAKE, _ALERT, 0x17):
        return Cause.TLS_PLAIN, None
    return _REASONS.get(reason, Cause.TLS_FAILED), reason.lower().replace("_", " ") or None
