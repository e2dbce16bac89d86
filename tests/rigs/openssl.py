"""`openssl s_server` and `s_client` at the other end of a connection whose layer is in this process."""

import os
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.rigs.tls import End

FD = 7
PATIENCE = 20.0

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="There is no openssl on this machine.")


class Program:
    """One of the two, whose commands are letters at the beginning of a line of standard input."""

    def __init__(self, *line: str) -> None:
        self.process = subprocess.Popen(
            ["openssl", *line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.said = b""

    @property
    def out(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def tell(self, line: bytes) -> None:
        """Have it send a line, or obey a letter; it takes a line of which it has read no other with it."""
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), line + b"\n")

    def hear(self) -> bool:
        """Take what it prints; return whether it may print more."""
        data = os.read(self.out, 1 << 16)
        self.said += data
        return bool(data)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


class Talk:
    """A connection of a layer with one of them."""

    def __init__(self, end: End, program: Program, connection: socket.socket) -> None:
        self.end, self.program, self.connection = end, program, connection
        self.text = b""
        self.over: int | None = None
        self.tickets = self.key_updates = 0

    def say(self, text: bytes) -> None:
        (sealed,) = self.end.layer.seal([FD], [text])
        self.connection.sendall(sealed)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Read both until something is so."""
        deadline = time.monotonic() + PATIENCE
        sources: list[int] = [self.program.out, self.connection.fileno()]
        while not is_so():
            ready, *_ = select.select(sources, [], [], deadline - time.monotonic())
            assert ready, f"It is not so after {PATIENCE:g} s: {self.program.said[-400:]!r}"
            if self.program.out in ready and not self.program.hear():
                sources.remove(self.program.out)
            if self.connection.fileno() in ready and not self._read():
                sources.remove(self.connection.fileno())

    def _read(self) -> bool:
        data = self.connection.recv(1 << 16)
        if data:
            text, code = self.end.take(FD, data)
            self.text += text
            if reply := self.end.sent(FD):
                self.connection.sendall(reply)
        else:
            code = dict(self.end.layer.open([], [(FD, 0)])[1])[FD]
        if self.over is None:
            self.over = code
        counts = self.end.layer.take_counts()
        self.tickets += counts.tickets
        self.key_updates += counts.key_updates
        return bool(data)


@contextmanager
def talk_to_server(end: End, *options: str) -> Iterator[Talk]:
    """Start a server, and have a layer connect to it; its handshake is not over yet."""
    program = Program("s_server", "-accept", "127.0.0.1:0", *options)
    try:
        while not (at := re.search(rb"ACCEPT [^\n]*:(\d+)\n", program.said)):
            assert program.hear(), program.said
        with socket.create_connection(("127.0.0.1", int(at[1])), PATIENCE) as connection:
            connection.sendall(end.layer.begin([FD])[0])
            yield Talk(end, program, connection)
    finally:
        program.stop()


@contextmanager
def talk_to_client(end: End, *options: str) -> Iterator[Talk]:
    """Start a client that connects to a layer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        program = Program("s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", *options)
        try:
            connection, _ = listener.accept()
            with connection:
                end.layer.begin([FD])
                yield Talk(end, program, connection)
        finally:
            program.stop()
