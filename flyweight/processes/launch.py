"""Launching programs of our own: modules run as programs, in a session of their own, killed by the kernel with us.

A child that runs can notice by a lifeline that its parent is gone; one that is stopped (SIGSTOP, a debugger) can't. So
the kernel is asked to kill it when its parent ends (see `flyweight.processes.child`), unless it is there to clean up
after us. The kernel takes the *thread* that forked for the parent. `trio.lowlevel.open_process` forks in a thread of
trio's cache, which ends after some idle seconds and would take the child with it; here the calling thread forks, which
has to be the main one. Cost: it is held up for the milliseconds that fork and exec take.

The session is its own because a Ctrl-C is for the command, which ends its children in order.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import trio


class Program:
    """A program of ours that was launched."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait until it has ended; return its exit status."""
        if self._process.poll() is None:
            await wait_for_end(self.pid)
        return self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM, if it still runs."""
        self._process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Send SIGINT, if it still runs."""
        self._process.send_signal(signal.SIGINT)

    def go_on(self) -> None:
        """Send SIGCONT, if it still runs: for one that somebody has stopped."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        self._process.kill()


def launch(
    module: str,
    *arguments: str,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    network: int | None = None,
    outlives_us: bool = False,
) -> Program:
    """Start a module of ours as a program, in the network namespace of a descriptor if one is given.

    `stdin`, `stdout`, `stderr` and `env` are as in `subprocess.Popen`. To be called in the main thread.
    """
    assert threading.current_thread() is threading.main_thread(), "the child would end with this thread"
    parent = 0 if outlives_us else os.getpid()
    child = ("floodtest.flyweight.processes.child", str(parent), str(-1 if network is None else network))
    return Program(
        subprocess.Popen(
            # -P: the folder a person happens to stand in is not where our modules are.
            [sys.executable, "-P", "-m", *child, module, *arguments],
            pass_fds=pass_fds if network is None else [*pass_fds, network],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            start_new_session=True,
        )
    )


def how_it_ended(exit_status: int | None) -> str:
    """Say how a process ended: a part of a sentence."""
    if exit_status is None:
        return "for a reason that is not known"
    return f"by signal {-exit_status}" if exit_status < 0 else f"with status {exit_status}"


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Done:
    """How a program ended, and what it wrote to standard output and, where that was asked for, to standard error."""

    exit_status: int
    output: bytes
    errors: bytes


async def run_to_end(
    module: str,
    *arguments: str,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Launch a program and wait until it has ended; it is killed when this is cancelled.

    What it writes goes to `stdout` and `stderr`, and into the returned `Done` where there is no such file.
    """
    # Files in memory and not pipes: nobody has to read them while the program runs.
    with open(os.memfd_create("output"), "w+b") as output, open(os.memfd_create("errors"), "w+b") as errors:
        program = launch(
            module,
            *arguments,
            pass_fds=pass_fds,
            stdin=stdin,
            stdout=(output if stdout is None else stdout).fileno(),
            stderr=errors if stderr is None else stderr,
            env=env,
        )
        try:
            await program.wait()
        finally:
            program.kill()
            with trio.CancelScope(shield=True):
                status = await program.wait()
        output.seek(0)
        errors.seek(0)
        return Done(status, output.read(), errors.read())
