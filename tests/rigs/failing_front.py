"""Fronts for a test: tick `FAIL` is a fault that ends its front, and every turn of each collects garbage."""

import gc
import socket
from unittest.mock import patch

from floodtest.server_under_test.fronts import columns as front
from floodtest.server_under_test.fronts.senders import TickSender

FAIL = 666


class _Fault(Exception):
    """Keeps alive what the traceback keeps alive, as a reference cycle through a frame does."""

    def __init__(self) -> None:
        super().__init__("told to")
        self.itself = self


def _begin(sender: TickSender, number: int) -> None:
    if number == FAIL:
        raise _Fault
    _original_begin(sender, number)


def _turn(self: front.Front) -> bool:
    gc.collect()
    return _original_turn(self)


_original_begin, _original_turn = TickSender.begin, front.Front.turn


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Be a front like that."""
    patch.object(TickSender, "begin", _begin).start()
    patch.object(front.Front, "turn", _turn).start()
    front.worker_main(specification, sock, descriptors)
