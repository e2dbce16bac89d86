"""The relay: what is at a Dask worker for a run. It starts the host's program and carries bytes between both.

In: packets for the host, as numbered calls of an actor. Out: what the host has written, when it is asked for. Runs in
the worker's event loop, so that there is no trio here; the host's program has its own process and its own loop. Nothing
is read ahead: what nobody asks for stays in the host's pipe, and the host waits. Both directions are numbered, since
Dask calls again where a connection broke and it can't know whether the call had been carried out.

Fails: FileExistsError where this machine has had the share of the run before, so that no share ever runs twice.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

MAX_PIECE = 1 << 18
"""Bytes that are returned at a time."""

PATIENCE = 5.0
"""Seconds in which a call waits for something that the host writes."""

LAST_WORDS = 2000
"""Bytes of what the host wrote to standard error that are told where it ended by itself."""

HAD_FOR = 86_400.0
"""Seconds for which it is remembered which shares this machine has had."""

HOST = "floodtest.loadgen.cluster.host"


class Relay:
    """A share of a run at this worker."""

    def __init__(self, run: str, share: int) -> None:
        claim_share(Path(tempfile.gettempdir()) / f"floodtest-shares-{os.getuid()}", f"{run}-{share}")
        self._process: asyncio.subprocess.Process | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it is gone with this process)
        self._taken = 0
        self._asking = asyncio.Lock()  # a call that comes again may meet the one before
        self._given: tuple[int, bytes, str | None] = (0, b"", None)

    async def start(self) -> None:
        """Start the host's program. The kernel kills it when this worker ends."""
        child = ("floodtest.flyweight.processes.child", str(os.getpid()), "-1", HOST)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", *child),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            limit=MAX_PIECE,
        )

    async def take(self, number: int, data: bytes) -> None:
        """Hand these bytes on to the host; a call that comes again does nothing."""
        assert self._process is not None
        assert self._process.stdin is not None
        if number <= self._taken:
            return
        self._taken = number
        # Where the host has ended nobody takes them, which its output says.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def give(self, number: int) -> tuple[bytes, str | None]:
        """Return what the host has written, nothing if that is nothing for seconds; and how it ended, once it has."""
        async with self._asking:
            if number > self._given[0]:
                self._given = (number, *await self._next())
            return self._given[1:]

    async def _next(self) -> tuple[bytes, str | None]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            data = await asyncio.wait_for(self._process.stdout.read(MAX_PIECE), PATIENCE)
        except TimeoutError:
            return b"", None
        if data:
            return data, None
        status = await self._process.wait()
        return b"", f"by signal {-status}" if status < 0 else f"with status {status}{self._last_words()}"

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - LAST_WORDS))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def claim_share(folder: Path, name: str) -> None:
    """Note that this machine has had a share; FileExistsError where it had it before."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is somebody else's: remove it")
    for old in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another worker of this machine removed it
            if time.time() - old.stat().st_mtime > HAD_FOR:
                old.unlink()
    os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
