"""A layer between sockets and what is said on them, such as TLS: what intake and outbox ask it.

In: what was read of descriptors, and what is to be written to them. Out: each as the other side has it. A worker
without one reads and writes bytes as they are.
"""

from collections.abc import Iterable
from typing import Protocol

Sweep = tuple[list[int], list[bytes], int, int]
"""What was read in one go: descriptors, what each of them had, and from when to when (CLOCK_MONOTONIC, ns).

A bare tuple: there are a few descriptors in a turn, and a turn should cost little more than their system calls.
"""

Over = list[tuple[int, int]]
"""Descriptors that have come to their end, each with `intake.END`, an errno, or a code of the layer."""


class Layer(Protocol):
    """Rows have a descriptor each, and no descriptor twice."""

    def open(self, sweeps: list[Sweep], over: Over) -> tuple[list[Sweep], Over]:
        """Return what was said, of what was read. Rows without a word of it are left out."""
        ...

    def seal(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        """Return what has to be written for what is said to each descriptor."""
        ...

    def seal_last(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        """Return that for what is said last, and may be empty."""
        ...

    def forget(self, fds: Iterable[int]) -> None:
        """Keep nothing of descriptors that are closed next."""
        ...
