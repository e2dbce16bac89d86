"""What to do about messages that a service's publishing API did not take, by the names that are counted. Pure."""

import re

_BUSY = "Look whether the service keeps up, and publish fewer at a time (--messages)."

_REMEDIES = (
    ("ConnectError", "Nobody listens there: hold host and port of --publish against the service's."),
    ("tls_unknown_issuer", "Name the certificate of who has signed that of --publish with --cafile."),
    ("tls_wrong_name", "Name the host of --publish as its certificate does."),
    ("tls_expired", "Renew the certificate of --publish, and look at the clocks of both machines."),
    ("tls_plain", "It speaks no TLS there: say http:// in --publish, or name the port at which it does."),
    ("tls_wants_certificate", "Give a certificate with --cert and --key."),
    ("tls_", "Hold host and port of --publish against openssl s_client, which says why."),
    ("InvalidURL|UnsupportedProtocol", "Look at what {user} and {message} make of the URL of --publish."),
    ("HTTP 3", "The service redirects to another place: name that URL with --publish."),
    ("HTTP 401|HTTP 403", "Send what logs in: --publish-header 'Authorization: …'."),
    ("HTTP 404", "Hold the path of --publish against the service's."),
    ("HTTP 405", "Name the method that the service takes: --publish 'PUT URL', say."),
    ("HTTP 413", "Send smaller messages (--message-size), or raise the service's limit."),
    ("HTTP 415", "Name the media type that the service reads: --publish-header 'Content-Type: …'."),
    (
        "HTTP 400|HTTP 422",
        "Hold --publish-body and its Content-Type (--publish-header) against what the service reads.",
    ),
    ("HTTP 429", "Publish fewer messages a second (--messages), or lift the service's limit."),
    ("HTTP 4", "Look at what the service checks: --publish, --publish-body and --publish-header are what it got."),
    ("HTTP 5", "Look into the service's log."),
    ("ConnectTimeout|PoolTimeout|no answer|Read|Write|RemoteProtocolError", _BUSY),
)
"""Beginnings of names, the first that fits counts."""


def remedy_of(cause: str) -> str | None:
    """Return what to do about a cause; None where nobody knows."""
    return next((remedy for names, remedy in _REMEDIES if re.match(names, cause)), None)
