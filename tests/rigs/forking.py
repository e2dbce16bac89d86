"""Programs of ours that are forked from the process of the tests instead of started: they have what they would import.

A run starts itself and six programs more, each of which imports for half a second of CPU what the tests have imported
already. Where a test is about what a run does, and not about how its programs start, it is forked: the fork becomes the
module that was asked for, with its arguments, descriptors, environment and command line, and never returns to the test.
What it has beyond that of the process of the tests is taken back in `_begin_anew`.

`forked` is a `subprocess.Popen` of such a program; all that this starts by `flyweight.processes.launch`, or becomes by
os.execv, is forked in turn. `forking` has `launch` fork where a test calls the product itself. What a new interpreter
makes of its surroundings (encodings, closed descriptors, few addresses) takes one that is started.
"""

import ctypes
import faulthandler
import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

import trio

from floodtest.flyweight.processes import launch

STARTS = [sys.executable, "-P", "-m"]
"""What a command line begins with that can be forked: a module of ours follows, and its arguments."""

_CACHING = type(cache(os.getpid))

_KEPT: list[object] = []
"""What a fork must not end the life of, because it would be written to or closed: streams of the tests."""


def forked(
    line: Sequence[str],
    *,
    preexec_fn: Callable[[], None] | None = None,
    pass_fds: Collection[int] = (),
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> "subprocess.Popen[Any]":
    """Fork a module of ours; arguments as those of `subprocess.Popen`."""
    assert list(line[: len(STARTS)]) == STARTS, line

    def become() -> NoReturn:
        gc.enable()  # Popen has disabled it for this function
        _forget_handlers()
        if preexec_fn is not None:
            preexec_fn()
        _become(line, set(pass_fds), env)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        return subprocess.Popen(line, preexec_fn=become, pass_fds=pass_fds, **options)


@contextmanager
def forking() -> Iterator[None]:
    """What is launched in the block, by this process or by one that was launched so, is forked."""
    with patch.object(launch, "subprocess", SimpleNamespace(Popen=forked, DEVNULL=subprocess.DEVNULL)):
        yield


def _become(line: Sequence[str], kept: set[int], env: Mapping[str, str] | None) -> NoReturn:
    """Be a module of ours to the end of this process."""
    status: Any = 1
    try:
        variables = dict(os.environ if env is None else env)
        os.environ.clear()
        os.environ.update(variables)
        _begin_anew(kept)
        _be_called(line)
        sys.argv = list(line[len(STARTS) :])
        with patch.object(os, "execv", _become_another), forking():
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        # The last frame of this process: whatever it was is told as an interpreter would, and ends it.
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more, or it was closed
                stream.flush()
        os._exit(status)


def _become_another(program: str, line: Sequence[str]) -> NoReturn:
    """What os.execv does: what is inherited stays, and nothing else."""
    assert list(line[: len(STARTS)]) == STARTS, line
    _forget_handlers()
    kept = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it was that of the listing
            if os.get_inheritable(int(name)):
                kept.add(int(name))
    _become(line, kept, None)


def _forget_handlers() -> None:
    """Leave of the handlers of signals what execve(2) and the start of an interpreter do."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def _begin_anew(kept: set[int]) -> None:
    """Take back what a process that was started would not have of the one that started it."""
    faulthandler.disable()
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):  # it was that of the listing
                os.close(int(name))
    _KEPT.extend([sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__])
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", at_once)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", True)  # type: ignore[misc]
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    _forget_caches()
    gc.freeze()  # nothing of the tests is looked at here, so that its pages stay shared
    # This thread may be within a trio run of the tests. Nothing is left of that here but this note.
    vars(trio._core._run.GLOBAL_RUN_CONTEXT).clear()


def _forget_caches() -> None:
    """Forget what functions of ours have learnt of the machine, or of a test's: a limit may be on this process only."""
    for name, module in list(sys.modules.items()):
        if name.startswith("floodtest."):
            for value in vars(module).values():
                if isinstance(value, _CACHING):
                    value.cache_clear()


def _stream(descriptor: int, mode: str, by_line: bool = False) -> Any:
    """Return what an interpreter makes of a standard descriptor, None of one that is closed."""
    errors = "backslashreplace" if descriptor == 2 else "strict"
    try:
        return open(descriptor, mode, 1 if by_line else -1, errors=errors, closefd=False)  # it is there to the end
    except OSError:
        return None


def _be_called(line: Sequence[str]) -> None:
    """Have the kernel say this command line of this process (and of what it forks), as setproctitle(3) of BSD does.

    The text takes the place of the arguments and, beyond their end, of the variables that this process was started
    with, of which the C library has copies by now. Words are parted by spaces then.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, arguments_end, _, end = map(int, fields[45:49])  # fields 48 to 51 of proc_pid_stat(5)
    text = " ".join(line).encode(errors="surrogateescape")[: end - begin - 1]
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text, len(text))
    if len(text) < arguments_end - begin:  # the kernel looks beyond their end only where the last byte is no zero
        ctypes.memset(begin + len(text), ord(" "), arguments_end - begin - len(text))
