"""`python -m benchmarks.stamping_server`: a server whose latency is known, to hold an instrument against.

It takes so many connections, prints its port first, and when all are there it writes single messages to them in random
order, so many a second in all. Each has the time in it at which it was to be sent (CLOCK_REALTIME, ns), which is
`--delay` milliseconds before its write begins. So a message takes from there to its arrival the delay, and a part of
the write: on loopback it has arrived before the write returns. How long each took until then is counted, and written
to `truth.json` as {bucket: count}, buckets as in `loadgen.client.histogram`. One process for each 19,000 connections,
which wakes every 10 ms and writes what is due. It ends by a signal.
"""

import argparse
import gc
import json
import mmap
import os
import random
import signal
import socket
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from floodtest.loadgen.client import histogram

EACH = 19_000
"""Connections of a process."""

PERIOD = 0.01
"""Seconds between two times at which a process writes."""

REST = 1.0
"""Seconds from the last connection to the first message: the client has read its answers by then."""

OPENED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi\n\r\n"
MESSAGE = b"16\r\nt=%d\n\r\n"
"""Its time has 19 digits."""


def accept(listener: socket.socket, count: int) -> list[socket.socket]:
    """Take so many connections, and answer the request of each."""
    taken = []
    for _ in range(count):
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(OPENED)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        taken.append(connection)
    return taken


def write_messages(connections: list[socket.socket], rate: float, seconds: float, delay_ns: int) -> dict[int, int]:
    """Write the messages; return how many of them had been sent after how long, by bucket."""
    fds = [connection.fileno() for connection in connections]
    random.Random(1).shuffle(fds)
    to, took, count = cycle(fds), [], 0
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate)
        for fd in islice(to, due - count):
            sent = time.time_ns() - delay_ns
            os.write(fd, MESSAGE % sent)
            took.append(time.time_ns() - sent)
        count = due
        time.sleep(PERIOD)
    return histogram.sparse(histogram.count(np.array(took, np.int64) // 1000))


def be_part(listener: socket.socket, ready: mmap.mmap, number: int, count: int, options: argparse.Namespace) -> None:
    """Be one of the processes, and write down the truth of its messages."""
    connections = accept(listener, count)
    gc.disable()
    ready[number] = 1
    while not all(ready[:]):
        time.sleep(PERIOD)
    time.sleep(REST)
    rate = options.rate * count / options.connections
    truth = write_messages(connections, rate, options.seconds, int(options.delay * 1e6))
    (options.out / f"truth-{number}.json").write_text(json.dumps(truth))
    signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, required=True, metavar="N")
    parser.add_argument("--rate", type=float, required=True, metavar="N", help="messages a second")
    parser.add_argument("--seconds", type=float, required=True, metavar="S")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    parts = [min(EACH, options.connections - first) for first in range(0, options.connections, EACH)]
    ready = mmap.mmap(-1, len(parts))
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        for number, count in enumerate(parts):
            if os.fork() == 0:
                be_part(listener, ready, number, count, options)
    signal.pause()


def read_truth(folder: Path) -> dict[int, int]:
    """Return what all processes of a server have written down."""
    found: Counter[int] = Counter()
    for file in folder.glob("truth-*.json"):
        found.update({int(bucket): count for bucket, count in json.loads(file.read_text()).items()})
    return dict(found)


if __name__ == "__main__":
    main()
