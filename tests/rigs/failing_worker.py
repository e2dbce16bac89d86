"""Workers of either end for a test: an order that says so is a fault that ends its worker, and all collect garbage.

Whatever the fault keeps alive is garbage in a cycle once its worker has failed. That worker comes last to collect it:
its siblings, which do so whenever they have waited, come before. The variable `MODULE` says whose `worker_main` it is.
"""

import gc
import importlib
import os
import socket
import time
from functools import partial
from typing import Any

import trio

from floodtest.flyweight.processes.channel import Channel
from floodtest.loadgen.client.orders import Halt
from floodtest.server_under_test.fronts.orders import Tick

MODULE = "FLOODTEST_TEST_WORKERS"
_WORKERS = importlib.import_module(os.environ[MODULE]) if MODULE in os.environ else None
"""Imported before the process that workers come from leaves what is there out of all collections."""

FAIL = 666
LAST = 0.3
"""Seconds that the worker which failed leaves to the others."""


class _Fault(Exception):
    """Keeps alive what the traceback keeps alive, as a reference cycle through a frame does."""

    def __init__(self) -> None:
        super().__init__("told to")
        self.itself = self


class _Collecting(trio.abc.Instrument):
    def after_io_wait(self, timeout: float) -> None:
        _collect()


_collect, _run, _receive, _receive_waiting = gc.collect, trio.run, Channel.receive, Channel.receive_waiting


def _collect_last() -> int:
    time.sleep(LAST)
    return _collect()


def _taken(order: Any) -> Any:
    if order in (Tick(FAIL), Halt()):
        raise _Fault
    return order


async def _receive_one(channel: Channel[Any]) -> Any:
    return _taken(await _receive(channel))


def _receive_some(channel: Channel[Any], most: int) -> list[Any]:
    return list(map(_taken, _receive_waiting(channel, most)))


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Be a worker like that."""
    gc.collect = _collect_last  # type: ignore[assignment]
    trio.run = partial(_run, instruments=[_Collecting()])  # type: ignore[assignment]
    Channel.receive, Channel.receive_waiting = _receive_one, _receive_some  # type: ignore[assignment, method-assign]
    assert _WORKERS is not None
    _WORKERS.worker_main(specification, sock, descriptors)
