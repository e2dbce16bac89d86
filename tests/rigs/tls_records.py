"""Records of TLS 1.3 by hand: what a peer may send behind the handshake, and what it may not, with what has to come of
each (RFC 8446, sections 4.6, 5 and 6).
"""

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from floodtest.flyweight.engine.intake import END
from floodtest.wire.causes import Cause
from floodtest.wire.tls.key_columns import MOST_IDLE
from floodtest.wire.tls.suites import SUITES

HANDSHAKE, ALERT, DATA, CHANGE_CIPHER = 22, 21, 23, 20
MOST = 16_384
TICKET = bytes.fromhex("00001c20 01020304 01 00 0010") + bytes(range(16)) + b"\0\0"
"""The body of one: lifetime, what is added to its age, a nonce, the ticket, no extensions."""


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


class Sender:
    """One direction of a connection: what it has sent, and what a receiver has to make of it."""

    def __init__(self, suite: str, secret: bytes, tickets_are_taken: bool = True) -> None:
        self._suite, self._secret, self._number, self._idle = SUITES[suite], secret, 0, 0
        self._tickets_are_taken = tickets_are_taken
        self._inside = False
        self.sent = b""
        self.text = b""
        self.tickets = self.updates = self.asked = 0
        self.over: int | None = None

    def record(self, kind: int, text: bytes, padding: int = 0, outer: int = DATA, spoil: bool = False) -> None:
        """Send one, whether or not it may come here."""
        key, iv = self._suite.keys(self._secret)
        nonce = bytes(a ^ b for a, b in zip(iv, self._number.to_bytes(12, "big"), strict=True))
        self._number += 1
        inner = text + bytes([kind]) + bytes(padding)
        head = bytes([outer, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
        cipher = (ChaCha20Poly1305 if "CHACHA" in self._suite.name else AESGCM)(key)
        sealed = cipher.encrypt(nonce, inner, head)
        self.sent += head + (bytes([sealed[0] ^ 1]) + sealed[1:] if spoil else sealed)

    def end(self, code: int) -> None:
        """Note by what the connection is over, unless it is so already."""
        if self.over is None:
            self.over = code

    def _note_idle(self) -> None:
        if self._inside and self.over is None:
            return
        self._idle += 1
        if self._idle > MOST_IDLE:
            self.end(Cause.TLS_BAD_RECORD)

    def data(self, text: bytes, padding: int = 0) -> None:
        self.record(DATA, text, padding)
        if not text:
            self._note_idle()
        elif self.over is None:
            self._idle = 0
            self.text += text

    def ticket(self, pieces: int = 1, count: int = 1) -> None:
        """Send tickets in one record, or in several."""
        whole = message(4, TICKET) * count
        size = -(-len(whole) // pieces)
        for at in range(0, len(whole), size):
            self.record(HANDSHAKE, whole[at : at + size])
            self._note_idle()
            if not self._tickets_are_taken and at + size >= len(message(4, TICKET)):
                self.end(Cause.TLS_BAD_RECORD)
        if self.over is None:
            self.tickets += count

    def key_update(self, asks: bool) -> None:
        self.record(HANDSHAKE, message(24, bytes([asks])))
        self._note_idle()
        self._secret, self._number = self._suite.next_secret(self._secret), 0
        if self.over is None:
            self.updates += 1
            self.asked += asks

    def close_notify(self) -> None:
        self.alert(0)

    def alert(self, description: int) -> None:
        self.record(ALERT, bytes([1 if description in (0, 90) else 2, description]))
        self._note_idle()
        if description == 90:
            return
        causes = {0: END, 40: Cause.TLS_NO_CIPHER, 116: Cause.TLS_WANTS_CERTIFICATE}
        self.end(causes.get(description, Cause.TLS_ALERT))

    def spoil(self, how: str) -> None:
        """Send what ends the connection."""
        SPOILS[how][0](self)
        self.end(SPOILS[how][1])


def _half_a_ticket_then_data(sender: Sender) -> None:
    sender.record(HANDSHAKE, message(4, TICKET)[:20])
    sender.record(DATA, b"data")


def _half_a_ticket_then_an_alert(sender: Sender) -> None:
    sender.record(HANDSHAKE, message(4, TICKET)[:20])
    sender.record(ALERT, b"\1\0")


def _an_update_behind_which_more_stands(sender: Sender) -> None:
    sender.record(HANDSHAKE, message(24, b"\0") + message(4, TICKET))


def _raw(data: bytes) -> Callable[[Sender], None]:
    def send(sender: Sender) -> None:
        sender.sent += data

    return send


def _flood(sender: Sender) -> None:
    for _ in range(MOST_IDLE + 1):
        sender.record(DATA, b"")


BAD_RECORD = Cause.TLS_BAD_RECORD

SPOILS: dict[str, tuple[Callable[[Sender], None], Cause]] = {
    "a wrong tag": (lambda sender: sender.record(DATA, b"text", spoil=True), Cause.TLS_BAD_MAC),
    "a wrong tag of an empty record": (lambda sender: sender.record(DATA, b"", spoil=True), Cause.TLS_BAD_MAC),
    "less than a tag": (_raw(b"\x17\3\3\0\x0fxxxxxxxxxxxxxxx"), Cause.TLS_BAD_MAC),
    "nothing sealed": (_raw(b"\x17\3\3\0\0"), Cause.TLS_BAD_MAC),
    "a handshake in plain text": (_raw(b"\x16\3\3\0\4\0\0\0\0"), BAD_RECORD),
    "an alert in plain text": (_raw(b"\x15\3\3\0\2\2\x28"), BAD_RECORD),
    "a change of cipher": (_raw(b"\x14\3\3\0\1\1"), BAD_RECORD),
    "plain text": (_raw(b"GET / HTTP/1.1\r\n\r\n"), BAD_RECORD),
    "too many bytes sealed": (_raw(b"\x17\3\3\x41\x01" + bytes(0x4101)), Cause.TLS_RECORD_TOO_LARGE),
    "too long a text": (lambda sender: sender.record(DATA, bytes(MOST + 1)), Cause.TLS_RECORD_TOO_LARGE),
    "too much padding": (lambda sender: sender.record(DATA, b"x" * MOST, padding=1), Cause.TLS_RECORD_TOO_LARGE),
    "zeros alone": (lambda sender: sender.record(0, b"", padding=9), BAD_RECORD),
    "an unknown type": (lambda sender: sender.record(99, b"text"), BAD_RECORD),
    "a sealed change of cipher": (lambda sender: sender.record(CHANGE_CIPHER, b"\1"), BAD_RECORD),
    "an empty handshake": (lambda sender: sender.record(HANDSHAKE, b""), BAD_RECORD),
    "an empty alert": (lambda sender: sender.record(ALERT, b""), BAD_RECORD),
    "half an alert": (lambda sender: sender.record(ALERT, b"\1"), BAD_RECORD),
    "two alerts in one": (lambda sender: sender.record(ALERT, b"\1\0\1\0"), BAD_RECORD),
    "a new hello": (lambda sender: sender.record(HANDSHAKE, message(1, bytes(40))), BAD_RECORD),
    "a request for renegotiation": (lambda sender: sender.record(HANDSHAKE, message(0, b"")), BAD_RECORD),
    "a request for a certificate": (lambda sender: sender.record(HANDSHAKE, message(13, bytes(11))), BAD_RECORD),
    "an update of another kind": (lambda sender: sender.record(HANDSHAKE, message(24, b"\2")), BAD_RECORD),
    "an empty update": (lambda sender: sender.record(HANDSHAKE, message(24, b"")), BAD_RECORD),
    "an update and more": (_an_update_behind_which_more_stands, BAD_RECORD),
    "too long a message": (
        lambda sender: sender.record(HANDSHAKE, b"\4\2\0\0" + bytes(100)),
        Cause.TLS_RECORD_TOO_LARGE,
    ),
    "half a ticket, then data": (_half_a_ticket_then_data, BAD_RECORD),
    "half a ticket, then an alert": (_half_a_ticket_then_an_alert, BAD_RECORD),
    "records without data and without end": (_flood, BAD_RECORD),
}
"""What a peer may not send, and by which cause it ends."""
