"""Python's `ssl` without a loop: connections one after another, each an SSLSocket that is kept. See the package."""

import socket
import ssl
import sys

HANDSHAKE = (
    "GET /ws/{user} HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def opened(context: ssl.SSLContext, at: tuple[str, int], name: str, user: int) -> ssl.SSLSocket:
    """Open a user's connection."""
    sock = context.wrap_socket(socket.create_connection(at), server_hostname=name)
    # Behind the last flight the request would wait for its ACK, which a server that has nothing to say delays by 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(HANDSHAKE.format(user=user, name=name).encode())
    data = b""
    while b"Welcome" not in data:
        piece = sock.recv(4096)
        if not piece:
            raise EOFError(data)
        data += piece
    return sock


def main() -> None:
    host, port, cafile, name = sys.argv[1:]
    context = ssl.create_default_context(cafile=cafile)
    kept: list[ssl.SSLSocket] = []
    for line in sys.stdin:
        while len(kept) < int(line):
            kept.append(opened(context, (host, int(port)), name, len(kept) + 1))
        print(len(kept), flush=True)


if __name__ == "__main__":
    main()
