"""Ctrl-C and SIGTERM in a run: the first has it close in order, a second ends this process at once."""

import os
import signal
from collections.abc import Callable

import trio

from floodtest.flyweight.errors import ExitCode


class Interruption:
    """Whether a person wants the run to end; `say` tells that person that this was heard."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._scope = trio.CancelScope()
        self.has_come = False

    def scope(self) -> trio.CancelScope:
        """Return a scope, one at a time, that an interruption cancels, or has cancelled before it is entered."""
        self._scope = trio.CancelScope()
        if self.has_come:
            self._scope.cancel()
        return self._scope

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hear signals until cancelled."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if self.has_come:
                    os._exit(ExitCode.INTERRUPTED)  # all processes of ours notice that we are gone, and end
                self.has_come = True
                self._say("Interrupted: closing in order. Once more to end at once.")
                self._scope.cancel()
