"""Servers that are processes of their own and only listen: one, or several that share a listener or a port."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"

PRELUDE = """
import os, socket, sys

def listen(port=0, host="127.0.0.1"):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    made.listen(5)
    return made

def wait():
    sys.stdin.read()
    os._exit(0)

def child(main):
    pid = os.fork()
    if pid == 0:
        main()
        wait()
    children.append(pid)

def share(count):
    for _ in range(count):
        child(lambda: None)

def each_their_own(count):
    port = heard.getsockname()[1]
    heard.close()
    for _ in range(count):
        reader, writer = os.pipe()
        child(lambda: (globals().update(mine=listen(port)), os.write(writer, b".")))
        os.read(reader, 1)

children = []
heard = listen()
port = heard.getsockname()[1]
"""


@dataclass(frozen=True)
class Server:
    """A process that listens, or whose children do."""

    pid: int
    children: list[int]
    port: int

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", self.port)]


@contextmanager
def listening(program: str = "") -> Iterator[Server]:
    """A process that listens on a free port and then does what a program says, as long as the block lasts."""
    script = f"{PRELUDE}{program}\nprint(port, *children, flush=True)\nwait()\n"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port, *children = map(int, process.stdout.readline().split())
        yield Server(process.pid, children, port)


@contextmanager
def full_listener() -> Iterator[tuple[str, int]]:
    """A listener whose queue is full and stays so: whoever connects now gets no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        address: tuple[str, int] = listener.getsockname()
        for _ in range(2):  # one more than the backlog may wait
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        yield address
