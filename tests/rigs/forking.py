"""Programs of ours that are forked from the process of the tests instead of started: they have what they would import.

A run starts three programs, each of which imports for half a second of CPU what the tests have imported already. Where
a test is about what a run does, and not about how its programs start, `forking` has `flyweight.processes.launch` fork
them: the fork becomes the module that was asked for, with its arguments, descriptors and environment, and never returns
to the test. What it has beyond that of the process of the tests is taken back in `_begin_anew`.
"""

import faulthandler
import gc
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import IO, Any, NoReturn
from unittest.mock import patch

import trio

from floodtest.flyweight.processes import launch

STARTS = [sys.executable, "-P", "-m"]
"""What a command line begins with that can be forked: a module of ours follows, and its arguments."""

_KEPT: list[object] = []
"""What a fork must not end the life of, because it would be written to or closed: streams of the tests."""


class Forked:
    """What `launch` needs of a `subprocess.Popen`, with its arguments."""

    def __init__(
        self,
        line: Sequence[str],
        pass_fds: Sequence[int],
        stdin: int,
        stdout: int,
        stderr: int | IO[bytes] | IO[str] | None,
        env: Mapping[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        assert list(line[: len(STARTS)]) == STARTS, line
        self._line = line
        self._status: int | None = None
        with open(os.devnull, "r+b") as nothing, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            streams = [_descriptor(stream, own, nothing) for own, stream in enumerate((stdin, stdout, stderr))]
            self.pid = os.fork()
            if self.pid == 0:
                _become(line[len(STARTS) :], streams, set(pass_fds), env, start_new_session)

    def poll(self) -> int | None:
        """Return its exit status, None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and return its exit status; TimeoutExpired after so many seconds."""
        if self._status is None:
            ended = os.pidfd_open(self.pid)
            has_ended = select.select([ended], [], [], timeout)[0]
            os.close(ended)
            if not has_ended:
                raise subprocess.TimeoutExpired(list(self._line), timeout or 0.0)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, if it still runs."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        self.send_signal(signal.SIGKILL)


def _descriptor(stream: int | IO[bytes] | IO[str] | None, own: int, nothing: IO[bytes]) -> int:
    if stream is None:
        return own
    if isinstance(stream, int):
        return nothing.fileno() if stream == subprocess.DEVNULL else stream
    return stream.fileno()


def _become(
    line: Sequence[str], streams: list[int], kept: set[int], env: Mapping[str, str] | None, leads: bool
) -> NoReturn:
    """Be a module of ours to the end of this process."""
    status: Any = 1
    try:
        if leads:
            os.setsid()
        _begin_anew(streams, kept)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        sys.argv = list(line)
        runpy.run_module(line[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        # The last frame of this process: whatever it was is told as an interpreter would, and ends it.
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(status)


def _begin_anew(streams: list[int], kept: set[int]) -> None:
    """Take back what a process that was started would not have of the one that started it."""
    faulthandler.disable()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for own, given in enumerate([os.dup(stream) for stream in streams]):
        os.dup2(given, own)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):  # it was that of the listing
                os.close(int(name))
    _KEPT.extend([sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__])
    sys.stdin, sys.stdout, sys.stderr = (
        open(own, mode, buffering=1, closefd=False)  # noqa: SIM115 - they are there to the end
        for own, mode in enumerate("rww")
    )
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    gc.freeze()  # nothing of the tests is looked at here, so that its pages stay shared
    # This thread may be within a trio run of the tests. Nothing is left of that here but this note.
    vars(trio._core._run.GLOBAL_RUN_CONTEXT).clear()


@contextmanager
def forking() -> Iterator[None]:
    """What is launched in the block, by this process or by one that was launched so, is forked."""
    with patch.object(launch, "subprocess", SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)):
        yield
