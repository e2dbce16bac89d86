"""Why a handshake failed: from OpenSSL's words, and the first bytes of the peer, to a cause of our own. Pure.

Out: a cause, and for what has many forms a note, such as the name of an alert. Fails: never.
"""

import re
import ssl

from floodtest.wire.causes import Cause
from floodtest.wire.tls.tls_records import ALERT, CHANGE_CIPHER, DATA, HANDSHAKE

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
    "BAD_RECORD_TYPE": Cause.TLS_BAD_RECORD,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Cause.TLS_WANTS_CERTIFICATE,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": Cause.TLS_BAD_MAC,
    "ENCRYPTED_LENGTH_TOO_LONG": Cause.TLS_RECORD_TOO_LARGE,
    "DATA_LENGTH_TOO_LONG": Cause.TLS_RECORD_TOO_LARGE,
    "PACKET_LENGTH_TOO_LONG": Cause.TLS_RECORD_TOO_LARGE,
}

_ALERT_REASON = re.compile("(?:SSLV3_ALERT|TLSV1_ALERT|TLSV13_ALERT|TLSV1)_(.+)")
"""What OpenSSL says of an alert that came."""

_WORDS = re.compile(r"\] (.+) \(_ssl")

_ALERTS = {
    40: ("HANDSHAKE_FAILURE", Cause.TLS_NO_CIPHER),
    70: ("PROTOCOL_VERSION", Cause.TLS_VERSION),
    71: ("INSUFFICIENT_SECURITY", Cause.TLS_NO_CIPHER),
    112: ("UNRECOGNIZED_NAME", Cause.TLS_UNKNOWN_NAME),
    116: ("CERTIFICATE_REQUIRED", Cause.TLS_WANTS_CERTIFICATE),
    120: ("NO_APPLICATION_PROTOCOL", Cause.HTTP2_PORT),
}
"""By their descriptions (RFC 8446, appendix B.2)."""

_ALERTS_BY_NAME = dict(_ALERTS.values())

_TYPES = (CHANGE_CIPHER, ALERT, HANDSHAKE, DATA)


def cause_of(error: ssl.SSLError, begin: bytes) -> tuple[Cause, str | None]:
    """Return why a handshake failed; `begin` are the first bytes that the peer sent."""
    reason = error.reason or _reason_in(str(error))
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, Cause.TLS_BAD_CERTIFICATE), error.verify_message.rstrip(".")
    if alert := _ALERT_REASON.fullmatch(reason):
        return _ALERTS_BY_NAME.get(alert[1], Cause.TLS_ALERT), alert[1].lower().replace("_", " ")
    if begin and begin[0] not in _TYPES:
        return Cause.TLS_PLAIN, None
    if begin and reason == "WRONG_VERSION_NUMBER":
        return Cause.TLS_FAILED, "wrong version number"  # of a later record: what came first was TLS
    return _REASONS.get(reason, Cause.TLS_FAILED), reason.lower().replace("_", " ") or None


def _reason_in(words: str) -> str:
    """Return the reason that OpenSSL gives in words, as a name; Python has not one for each."""
    found = _WORDS.search(words)
    return "" if found is None else found[1].upper().replace(" ", "_")


def cause_behind(error: ssl.SSLError) -> Cause:
    """Return why a connection ended behind its handshake whose records OpenSSL opens."""
    cause, _ = cause_of(error, b"")
    return Cause.TLS_BAD_RECORD if cause in (Cause.TLS_FAILED, Cause.TLS_PLAIN) else cause


def cause_of_alert(description: int) -> Cause:
    """Return why a peer ended a connection by an alert behind the handshake, where a server of TLS 1.3 says that it
    wants a certificate: its client's handshake is over before it has seen that there is none.
    """
    return _ALERTS[description][1] if description in _ALERTS else Cause.TLS_ALERT
