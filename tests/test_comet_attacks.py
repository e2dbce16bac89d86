"""`comet serve` misused: whatever one client does, fifty others go on receiving every tick, and nothing is left of it."""

import os
import random
import re
import selectors
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyweight.limits import raise_files_limit
from tests.support import Comet, comet, wait_until
from tests.test_comet import Client, asking, stats_when, streams

AUDIENCE = 50
MESSAGE = re.compile(rb"([0-9a-f]+)\r\n(Recvd msg #(\d+): tick \d+\n)\r\n")


class Audience:
    """Well-behaved clients, read by a thread of their own; each must get #1, #2, #3 ... and nothing else, for ever."""

    def __init__(self, server: Comet) -> None:
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_on, daemon=True)
        self.last = [0] * AUDIENCE
        """The number of the last message, by client."""
        self.faults: dict[int, str] = {}
        for index in range(AUDIENCE):
            client = Client(server, asking(index + 1))
            assert client.head()[0] == 200
            assert client.chunk() == f"Welcome, user {index + 1}\n"
            # What the file has read ahead is kept: it may be the beginning of a tick.
            ahead = client.file.peek() if client.file.peek else b""
            del ahead

    def _read_on(self) -> None: ...
