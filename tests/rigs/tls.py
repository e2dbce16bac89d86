"""Certificates for tests, and peers that are OpenSSL's own objects."""

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from floodtest.wire.tls import tls_records
from floodtest.wire.tls.certificates import self_signed
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.tls_layer import TlsLayer

NAME = "server.test"
FILES = 64


def write_certificate(folder: Path, name: str = NAME, days: int = 30, stem: str = "server") -> tuple[Path, Path]:
    """Write a certificate that is signed by itself, and its key; return both files."""
    files = folder / f"{stem}.pem", folder / f"{stem}-key.pem"
    for file, content in zip(files, self_signed(name, "127.0.0.1", days=days), strict=True):
        file.write_bytes(content)
    return files


def write_chain(folder: Path) -> tuple[ServerTls, str]:
    """Write a certificate for `NAME`, signed by one that a third one has signed; return it, and who signed it."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("root", "middle", NAME)]
    files = []
    for place in (1, 2):
        made = (
            x509.CertificateBuilder(names[place - 1], names[place], keys[place].public_key(), place)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=place == 1, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
            .sign(keys[place - 1], hashes.SHA256())
        )
        files.append(folder / f"{place}.pem")
        files[-1].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key = folder / "key.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(keys[2].private_bytes(encoding, form, serialization.NoEncryption()))
    return ServerTls(str(files[1]), str(key)), str(files[0])


class Peer:
    """An object of OpenSSL on buffers, at either end of a connection with a layer."""

    def __init__(self, context: ssl.SSLContext, is_server: bool, name: str | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, is_server, name)
        self.is_done = False

    def step(self, data: bytes) -> bytes:
        """Go on with the handshake; return what it sends."""
        self.incoming.write(data)
        try:
            self.object.do_handshake()
            self.is_done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def say(self, text: bytes) -> bytes:
        self.object.write(text)
        return self.outgoing.read()

    def hear(self, data: bytes) -> bytes:
        """Return the text of what came."""
        self.incoming.write(data)
        text = b""
        try:
            while piece := self.object.read(1 << 16):
                text += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return text


class End:
    """A layer with nothing below it: what it writes of itself is collected by descriptor."""

    def __init__(self, layer: TlsLayer) -> None:
        self.layer = layer
        self.written: dict[int, bytes] = {}
        self.secured: list[int] = []
        layer.bind(self._write, self.secured.extend)

    def _write(self, fds: list[int], data: list[bytes]) -> dict[int, int]:
        for fd, each in zip(fds, data, strict=True):
            self.written[fd] = self.written.get(fd, b"") + each
        return {}

    def sent(self, fd: int) -> bytes:
        """Return what was written to a descriptor since the last time."""
        return self.written.pop(fd, b"")

    def take(self, fd: int, data: bytes) -> tuple[bytes, int | None]:
        """Return the text of what came for a descriptor, and by what it is over."""
        texts, over = self.layer.open([([fd], [data], 0, 0)], [])
        text = b"".join(each for fds, rows, *_ in texts for row, each in zip(fds, rows, strict=True) if row == fd)
        return text, dict(over).get(fd)


def client_end(options: ClientTls) -> End:
    return End(TlsLayer(client_context(options), FILES, options.server_name, options.resume))


def server_end(options: ServerTls) -> End:
    return End(TlsLayer(server_context(options), FILES))


def shake(client: End, server: End, fds: list[int]) -> None:
    """Do the handshakes of two layers, with a descriptor of one number at both ends."""
    server.layer.begin(fds)
    for fd, flight in zip(fds, client.layer.begin(fds), strict=True):
        server.take(fd, flight)
        client.take(fd, server.sent(fd))
        server.take(fd, client.sent(fd))
        client.take(fd, server.sent(fd))


def update_that_asks(end: End, fd: int) -> bytes:
    """Return the record by which keys are updated at our end, and the peer is asked to do as much, as we never do."""
    columns = end.layer._columns
    record = columns._seal_as_is(fd, bytes([tls_records.KEY_UPDATE, 0, 0, 1, 1]), tls_records.HANDSHAKE)
    columns._write.update(fd, columns._suite(fd))
    return record


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
