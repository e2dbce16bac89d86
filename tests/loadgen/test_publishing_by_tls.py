"""loadgen.publisher with an API of https: trio serves it, with a certificate of the test."""

import ssl
from functools import partial
from pathlib import Path

import h11
import pytest
import trio

from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.publisher.publisher import publish
from floodtest.wire.control import Generated
from floodtest.wire.tls.contexts import server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.rigs.tls import NAME, write_certificate

COUNT = 10
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


async def take_messages(taken: list[bytes], stream: trio.abc.Stream) -> None:
    """Answer requests of one connection after another, as h11 finds them."""
    connection = h11.Connection(h11.SERVER)
    try:
        while data := await stream.receive_some():
            connection.receive_data(bytes(data))
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    taken.append(bytes(event.data))
                if isinstance(event, h11.EndOfMessage):
                    await stream.send_all(ANSWER)
                    connection = h11.Connection(h11.SERVER)
    except trio.BrokenResourceError:
        pass  # the client has ended the handshake, or just gone
    except h11.RemoteProtocolError:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def publish_to(folder: Path, tls: ClientTls, context: ssl.SSLContext | None) -> tuple[Generated, list[bytes]]:
    """Publish to a server with such a context, or without TLS; return the outcome, and the messages that came."""
    (folder / "states.u8").write_bytes(bytes([State.OPEN] * 5))
    taken: list[bytes] = []

    async def main() -> Generated:
        async with trio.open_nursery() as nursery:
            listeners = (
                partial(trio.serve_tcp, host="127.0.0.1")
                if context is None
                else partial(trio.serve_ssl_over_tcp, ssl_context=context, host="127.0.0.1")
            )
            (listener,) = await nursery.start(listeners, partial(take_messages, taken), 0)
            socket = listener.socket if context is None else listener.transport_listener.socket
            url = f"https://127.0.0.1:{socket.getsockname()[1]}/pub/{{user}}"
            options = MessageOptions(rate=100.0, seconds=COUNT / 100, publish=("POST", url))
            outcome = await publish(options.order("0123abcd", 1, folder / "states.u8", tls), lambda outcome: None)
            nursery.cancel_scope.cancel()
        return outcome

    return trio.run(main), taken


@pytest.mark.parametrize("name", ["127.0.0.1", NAME])
def test_messages_are_published_to_who_is_trusted(name: str, tmp_path: Path) -> None:
    cert, key = map(str, write_certificate(tmp_path))
    outcome, taken = publish_to(tmp_path, ClientTls(name, cafile=cert), server_context(ServerTls(cert, key)))
    assert (outcome.published, outcome.error, len(taken)) == (COUNT, None, COUNT)


@pytest.mark.parametrize(
    ("tls", "has_tls", "cause", "remedy"),
    [
        (ClientTls("127.0.0.1"), True, "tls_unknown_issuer", "Name the certificate of who has signed that of"),
        (ClientTls("other.test", cafile="cert"), True, "tls_wrong_name", "Name the host of --publish as its"),
        (ClientTls("127.0.0.1", version="1.2"), True, "tls_failed", "Hold host and port of --publish against openssl"),
        (ClientTls("127.0.0.1"), False, "tls_plain", "It speaks no TLS there: say http:// in --publish, or"),
    ],
)
def test_a_handshake_that_fails_is_named(
    tls: ClientTls, has_tls: bool, cause: str, remedy: str, tmp_path: Path
) -> None:
    cert, key = map(str, write_certificate(tmp_path))
    context = server_context(ServerTls(cert, key))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    tls = ClientTls(tls.server_name, cafile=tls.cafile and cert, version=tls.version)
    outcome, taken = publish_to(tmp_path, tls, context if has_tls else None)
    assert (outcome.published, taken) == (0, [])
    assert outcome.error is not None
    assert outcome.error.startswith(f"{COUNT} messages could not be published: {COUNT} x {cause}. {remedy}")
