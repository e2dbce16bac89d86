"""The process that workers come from: `python -m flyweight.processes.nursery FD MODULE`.

It imports MODULE once and then forks a process for each request on the SEQPACKET socket FD, so that processes share the
pages of the interpreter and its modules, and start in milliseconds. It is a program of its own because a process that
runs trio, or threads, can't be forked safely, and not multiprocessing's forkserver because that imports the command's
own main module again in every worker.

A process may be several workers: each is a thread with a trio run of its own and, since unshare(CLONE_FILES), with a
table of files of its own, so that the limit of open files counts for each of them. At 20,000 files a million
connections need 54 workers an end, and as threads they take a quarter of the memory (docs/benchmarks.md).

A descriptor means something in its own thread only, so it must be closed there. The garbage collector runs in any
thread: an object that owns a descriptor and is left to it closes that number in another worker's table. So a worker
closes what it opened on every way out (`with`), shared memory keeps no descriptor (`flyweight.engine.shared`), and a
worker that failed collects what its traceback kept alive before its thread, and with that its table, ends.

In: one packet a process, a msgpack list of specifications, with a channel for each and then the descriptors all share.
Out: "+PID" when forked, "-PID STATUS" when one has ended (STATUS as in subprocess: negative is a signal).
When the parent goes, so does this process, and when this process goes, so do all its workers: the kernel sees to it
(`flyweight.processes.launch`), so that nothing outlives a killed command, be it stopped.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

import msgspec

from floodtest.flyweight.command.stdio import display
from floodtest.flyweight.machine.files import unshare_files
from floodtest.flyweight.processes.child import end_with_parent

MAX_PACKET = 1 << 17
MAX_DESCRIPTORS = 253
"""SCM_MAX_FD: what the kernel passes with one packet."""

WorkerMain = Callable[[bytes, socket.socket, list[int]], None]
"""What MODULE's `worker_main` is: called with a specification, the worker's channel, and the shared descriptors."""


class _Nursery:
    def __init__(self, control: socket.socket, main: WorkerMain) -> None:
        self._control = control
        self._main = main
        self._children: dict[int, int] = {}  # pidfd -> pid
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork processes on request until the parent is gone."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._fork_one():
                    return

    def _fork_one(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_PACKET, MAX_DESCRIPTORS)
        if not packet:
            return False
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            end_with_parent(parent)
            self._become_workers(msgspec.msgpack.decode(packet, type=list[bytes]), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._control.send(b"+%d" % pid)
        return True

    def _become_workers(self, specifications: list[bytes], descriptors: list[int]) -> NoReturn:
        status = 1
        try:
            for pidfd in self._children:
                os.close(pidfd)
            self._control.close()
            # Woken peers then don't preempt the writer in mid-batch, so they find batches: a quarter more deliveries.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            count = len(specifications)
            status = _run_workers(self._main, specifications, descriptors[:count], descriptors[count:])
        except BaseException:
            # The last frame of this process: whatever it was, say it where a developer looks, and end.
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        pid = self._children.pop(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(pidfd)
        self._control.send(b"-%d %d" % (pid, status))

    def end_workers(self) -> None:
        for pid in self._children.values():
            os.kill(pid, signal.SIGKILL)


def _run_workers(main: WorkerMain, specifications: list[bytes], channels: list[int], shared: list[int]) -> int:
    """Be one worker, or a thread for each of several; return the process's exit status."""
    if len(specifications) == 1:
        with socket.socket(fileno=channels[0]) as ours:
            main(specifications[0], ours, shared)
        return 0
    failed: list[int] = []
    all_have_tables = threading.Barrier(len(specifications) + 1)

    def be_worker(index: int) -> None:
        try:
            try:
                unshare_files()
            except BaseException:
                all_have_tables.abort()  # not later: it would break the waits of those that are just being woken
                raise
            all_have_tables.wait()
            for channel in channels:
                if channel != channels[index]:
                    os.close(channel)
            with socket.socket(fileno=channels[index]) as ours:
                main(specifications[index], ours, shared)
        except BaseException:
            # The last frame of this thread. Its end closes its files, its channel with them, which the parent hears.
            traceback.print_exc()
            failed.append(index)
        if index in failed:
            gc.collect()  # not before here: until the handler has ended, the traceback keeps its frames alive

    threads = [threading.Thread(target=be_worker, args=(index,)) for index in range(len(specifications))]
    for thread in threads:
        thread.start()
    all_have_tables.wait()
    for descriptor in (*channels, *shared):
        os.close(descriptor)
    for thread in threads:
        thread.join()
    return 1 if failed else 0


def main() -> None:
    display()  # otherwise a traceback that can't be written ends more than the worker that it is of
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the command, which tells us what it means
    module = importlib.import_module(sys.argv[2])
    gc.collect()
    gc.freeze()  # what is imported by now stays out of every worker's collections, and so its pages stay shared
    gc.set_threshold(20_000, 20, 100)  # a poll brings a thousand tuples at once; nothing here makes cycles by the event
    nursery = _Nursery(control, module.worker_main)
    try:
        nursery.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent went while we were telling it something
    finally:
        nursery.end_workers()


if __name__ == "__main__":
    main()
