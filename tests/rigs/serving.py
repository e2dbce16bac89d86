"""Programs that serve at an address, as long as a block lasts."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.rigs.support import wait_until

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
"""Where programs are: beside the Python that runs this, as in a virtual environment, and where those for root are."""

PATIENCE = 3.0
"""Seconds in which a program is to end when it is asked to."""


@contextmanager
def serving(line: Sequence[str | Path], host: str, port: int, cwd: Path, log: Path) -> Iterator[int]:
    """Start a program, which may be one of the Python that runs this; give its process id once it accepts.

    What it says goes to `log`, and into the error if it ends before it accepts.
    """
    environment = os.environ | {"PATH": PATH, "XDG_DATA_HOME": str(log.parent), "XDG_CONFIG_HOME": str(log.parent)}
    with (
        open(log, "wb") as said,
        subprocess.Popen(line, cwd=cwd, env=environment, stdout=said, stderr=said) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or accepts(host, port), f"{line[0]} accepts")
            assert process.poll() is None, log.read_text()
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # caddy waits for streams whose clients have gone
                process.kill()


def accepts(host: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listened a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
