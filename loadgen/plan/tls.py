"""How a run speaks TLS: the options of it, and what client workers are told. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import choice, flag, option
from floodtest.wire.tls.settings import ANY, VERSIONS, ClientTls, Version


@dataclass(frozen=True)
class TlsOptions:
    """TLS is spoken with a target of https:// and wss://, and where `is_asked` with our own server or tcp://."""

    is_asked: bool = flag("Speak TLS with our own server, or with a target of tcp://.", "--tls")
    cafile: str | None = option(
        None, parsers.text, "FILE", "Certificates of who is trusted to sign the server's.  [default: this machine's]"
    )
    insecure: bool = flag("Take any certificate of the server's.")
    server_name: str | None = option(
        None, parsers.text, "NAME", "Ask the server for this name, and verify it.  [default: the target's]"
    )
    cert: str | None = option(None, parsers.text, "FILE", "The client's certificate, for a server that wants one.")
    key: str | None = option(None, parsers.text, "FILE", "Its key.  [default: in the file of --cert]")
    tls_version: Version = choice(ANY, VERSIONS, "The only version to speak, or the best that both have.")

    tls_resume: float = option(
        0.0, parsers.share, "SHARE", "Of handshakes, such as 50%: take up a session by a ticket of the server."
    )

    def settings(self, host: str, is_http: bool) -> ClientTls:
        """Return what workers are told, for a target with this name."""
        name = (self.server_name or host).removesuffix(".")  # which a name in a handshake has not (RFC 6066, section 3)
        return ClientTls(
            name, is_http, self.insecure, self.cafile, self.cert, self.key, self.tls_version, self.tls_resume
        )

    def problems(self, is_spoken: bool) -> Iterator[str]:
        """Yield what is wrong with them; `is_spoken`: whether there is any TLS."""
        if not is_spoken:
            given = [one for one in fields(self) if getattr(self, one.name) != one.default]
            names = [f"--{one.name.replace('_', '-')}" for one in given]
            yield from (f"{name} is for TLS: name a target of https:// or wss://, or say --tls." for name in names)
        if self.server_name == "":
            yield "--server-name is empty: give it a name, or leave it out for the target's."
        if self.key is not None and self.cert is None:
            yield "--key is for a certificate of the client's: name it with --cert."
        if self.insecure and self.cafile is not None:
            yield "--insecure takes any certificate, and --cafile says who is to have signed it: leave one of them out."
