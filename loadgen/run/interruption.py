"""Ctrl-C and SIGTERM in a run: the first has it close in order, a second ends this process at once."""

import os
import signal
from collections.abc import Callable

import trio

from floodtest.flyweight.errors import ExitCode

HEARD = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether a person wants the run to end; `say` tells that person that this was heard.

    `put_away` is called before a second one ends this process: a terminal must have its cursor back.
    """

    def __init__(self, say: Callable[[str], None], put_away: Callable[[], None]) -> None:
        self._say = say
        self._put_away = put_away
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
        with trio.open_signal_receiver(*HEARD) as signals:
            task_status.started()
            async for _ in signals:
                if self.has_come:
                    self._end_at_once()
                self.has_come = True
                self._say("Interrupted: closing in order. Once more to end at once.")
                self._scope.cancel()

    def _end_at_once(self) -> None:
        try:
            for number in HEARD:
                signal.signal(number, signal.SIG_DFL)  # a third one ends us, should this wait
            self._put_away()
        finally:
            os._exit(ExitCode.INTERRUPTED)  # all processes of ours notice that we are gone, and end
