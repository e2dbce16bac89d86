"""Readiness: a private epoll, nested in trio's, that hands out batches of (descriptor, events).

trio can wait for any descriptor, but each wait costs it a task and tens of microseconds. An epoll descriptor is itself
readable while something in it is ready, so a worker gives trio that one descriptor to wait for, and takes its own
events by the thousand. While work keeps coming it polls again without waiting and yields to trio by the clock: signals,
commands and time-outs are served every `TURN` seconds, however busy the sockets are.

In: descriptors, registered with `register` (edge-triggered by `READ` and `WRITE`). Out: `poll()`, never waiting; `wait`
until there is something to poll, a deadline has passed, or `wake()` was called. Cost: one system call a batch.
"""

import select
import threading
import time
from collections.abc import Callable
from types import TracebackType

import trio

READ = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
WRITE = READ | select.EPOLLOUT
LEVEL = select.EPOLLIN
"""For a listener: told again and again as long as somebody is waiting."""

PLAIN = select.EPOLLIN
"""The events of a descriptor that has data and nothing else: one short read leaves it drained. Any other combination
(an end, an error, room to write) may hide behind the same edge, so it must be read until nothing is left."""

BATCH = 1024
"""Events a poll returns at the most."""

TURN = 0.005
"""Seconds of work after which a worker lets trio look at everything else."""


GATHER = 0.002
"""Seconds a worker that ran out of work leaves its descriptors alone, so that the next batch is worth its poll: a wait
in epoll would end with the first of them, and every batch costs tens of microseconds."""

LINGER = 0.001
"""Seconds it then waits for more before it goes through trio, which costs 50 times as much as a poll."""


class _Turnstile:
    """One worker of a process works at a time, the others queue.

    Threads that all make system calls would hand Python's lock to each other at every call; here they do it by the
    turn. The second lock makes it fair: whoever comes back has to queue behind who is waiting.
    """

    def __init__(self) -> None:
        self._queue = threading.Lock()
        self._turn = threading.Lock()

    def __enter__(self) -> None:
        with self._queue:
            self._turn.acquire()

    def __exit__(self, *error: object) -> None:
        self._turn.release()


_TURNSTILE = _Turnstile()


class Readiness:
    """An epoll of this worker's own, waited for through trio."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._scope: trio.CancelScope | None = None
        self._woken = False
        self._lingered: list[tuple[int, int]] = []
        self.register: Callable[[int, int], None] = self._epoll.register
        self.modify: Callable[[int, int], None] = self._epoll.modify
        self.unregister: Callable[[int], None] = self._epoll.unregister

    def poll(self) -> list[tuple[int, int]]:
        """Return what is ready now, up to `BATCH`; an empty list when nothing is."""
        if self._lingered:
            events, self._lingered = self._lingered, []
            return events
        return self._epoll.poll(0, BATCH)

    def _linger(self) -> bool:
        """Wait for more without trio: right after work there is more to come. False if not."""
        time.sleep(GATHER)
        self._lingered = self._epoll.poll(LINGER, BATCH)
        return bool(self._lingered)

    async def wait(self, deadline: float = float("inf")) -> None:
        """Wait until a poll would return something, `time.monotonic()` reaches the deadline, or `wake` is called."""
        if self._woken:
            self._woken = False
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(max(0.0, deadline - time.monotonic())) as self._scope:
            await trio.lowlevel.wait_readable(self._epoll)
        self._scope = None
        self._woken = False

    def wake(self) -> None:
        """End a `wait` that is under way, or the next one."""
        self._woken = True
        if self._scope is not None:
            self._scope.cancel()

    async def turns(
        self,
        turn: Callable[[], bool],
        deadline: Callable[[], float],
        done: Callable[[], bool],
    ) -> None:
        """Call `turn` (which polls, works, and says whether it found any work) until `done`, yielding by the clock.

        When turns find nothing to do any more, nothing is called until the descriptors, `wake` or `deadline()` ask for
        the next one.
        """
        until = time.monotonic() + TURN
        while not done():
            worked = False
            with _TURNSTILE:
                while turn():
                    worked = True
                    if time.monotonic() >= until or done():
                        break
            if time.monotonic() >= until:
                await trio.lowlevel.checkpoint()
            elif not done() and not (worked and self._linger()):
                await self.wait(deadline())
            else:
                continue
            until = time.monotonic() + TURN

    def __enter__(self) -> "Readiness":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        trio.lowlevel.notify_closing(self._epoll)
        self._epoll.close()
