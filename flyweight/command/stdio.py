"""The standard streams of a command: three open descriptors, an output that is the result, an error stream for display.

`open_descriptors` comes before anything is opened: a process that was started with descriptor 2 closed would otherwise
give that number to the next file or socket, and what anything prints would go there. `Output` is for standard output,
whose errors end a command; `display` puts a stream in the place of standard error whose errors end nothing: text that
can't be written (a reader that has gone, a full disk, a reader that stands still for `PATIENCE` seconds) is dropped.
Both write any text in any encoding.
"""

import codecs
import io
import os
import select
import sys
from typing import Any, NoReturn, TextIO, cast

from floodtest.flyweight.errors import FloodtestError, Refused, Unread
from floodtest.flyweight.machine.reasons import reason

STDOUT, STDERR = 1, 2

PATIENCE = 0.5
"""Seconds that a reader of standard error may stand still before it costs text, once: a run's guard of memory must not
wait for a terminal on which somebody has pressed Ctrl-S."""

_PIECE = 4096
"""Bytes: PIPE_BUF of Linux. A pipe that select(2) calls writable takes so many without blocking (pipe(7))."""

_ESCAPED = "floodtest-escaped"
"""The error handler of both streams, as codecs know it."""


def open_descriptors() -> None:
    """Open /dev/null at each of the descriptors 0, 1 and 2 that is closed; children inherit it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def is_thrown_away(descriptor: int) -> bool:
    """Return whether a descriptor is /dev/null: somebody has said so, or it was closed when we began."""
    return os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode a byte of a file's name as that byte, and a character that the encoding has not got by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    try:
        return codecs.lookup_error("surrogateescape")(one)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(one)


codecs.register_error(_ESCAPED, _escape)


class Output:
    """Standard output that raises errors of ours: Unread where a pipe's reader has gone, Refused for a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: FloodtestError | None = None
        """What was raised: the code that wrote may have caught it and gone on."""
        if isinstance(stream, io.TextIOWrapper):
            self._stream = _whole(stream)
            self._stream.reconfigure(errors=_ESCAPED)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # which would let a library write past us
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or keep it until there is more."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)

    def flush(self) -> None:
        """Write what was kept."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def finish(self) -> None:
        """Write what was kept; raise what went wrong, be it long ago."""
        self.flush()
        if self.lost is not None:
            raise self.lost

    def _give_up(self, error: OSError) -> NoReturn:
        with open(os.devnull, "wb") as nowhere:  # for what is still kept: the interpreter writes it when it ends
            os.dup2(nowhere.fileno(), self._stream.fileno())
        words = f"Can't write to standard output: {reason(error)}. Send it elsewhere, or make room."
        self.lost = Unread() if isinstance(error, BrokenPipeError) else Refused(words)
        raise self.lost from error


def _whole(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Put a buffer below a stream that has none (PYTHONUNBUFFERED): without one, what a short write leaves is lost."""
    raw: Any = stream.buffer
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(io.BufferedWriter(cast(Any, raw)), encoding=stream.encoding, line_buffering=True)


class _Display(io.RawIOBase):
    """A descriptor to which everything is written that can be, without an error and without a long wait."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stands_still = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write bytes as far as that goes; return how many there were."""
        rest = memoryview(data)
        try:
            while len(rest) and self._takes_more():
                rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]
        except OSError:
            pass  # the reader has gone, or the disk is full: there is nobody to tell
        return len(data)

    def _takes_more(self) -> bool:
        """Return whether a piece can be written now, or within `PATIENCE` of a reader that has been reading so far."""
        patience = 0.0 if self._stands_still else PATIENCE
        _, ready, _ = select.select((), (self._descriptor,), (), patience)
        self._stands_still = not ready
        return not self._stands_still


def open_display(descriptor: int = STDERR, encoding: str = "utf-8") -> TextIO:
    """Return a stream that writes lines to a descriptor, and drops what can't be written."""
    return io.TextIOWrapper(cast(Any, _Display(descriptor)), encoding=encoding, errors=_ESCAPED, line_buffering=True)


def display() -> None:
    """Let standard error be display only, for as long as this process lives; what a test has put in its place stays."""
    if sys.stderr is sys.__stderr__:
        sys.stderr = open_display(encoding=sys.stderr.encoding if sys.stderr else "utf-8")
