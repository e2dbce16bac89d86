"""The process that workers are forked from: `python -m flyweight.nursery FD MODULE`.

It imports MODULE (`PACKAGE.NAME`, with a `worker_main`) and calls `PACKAGE.rehearsal.rehearse()` once, then it forks a worker for each request on the SEQPACKET socket FD, so that workers share the
pages of the interpreter and its modules: a few MiB private each instead of 40, and milliseconds to start instead of
half a second. It is a program of its own because a process that runs trio, or threads, can't be forked safely, and not
multiprocessing's forkserver because that imports the command's own main module again in every worker.

In: one packet a worker, its specification, with the descriptors it shall have (the first is its channel).
Out: "+PID" when forked, "-PID STATUS" when one has ended (STATUS as in subprocess: negative is a signal).
When the parent goes, so do this process and all its workers: nothing outlives a killed command.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

MAX_SPECIFICATION = 1 << 17
MAX_DESCRIPTORS = 8

WorkerMain = Callable[[bytes, socket.socket, list[int]], None]
"""What MODULE's `worker_main` is: called with the specification, the channel, and the other descriptors."""


class _Nursery:
    def __init__(self, control: socket.socket, main: WorkerMain) -> None:
        self._control = control
        self._main = main
        self._children: dict[int, int] = {}  # pidfd -> pid
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Fork workers on request until the parent is gone."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._fork_one():
                    return

    def _fork_one(self) -> bool:
        specification, descriptors, _, _ = socket.recv_fds(self._control, MAX_SPECIFICATION, MAX_DESCRIPTORS)
        if not specification:
            return False
        pid = os.fork()
        if pid == 0:
            self._become_worker(specification, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._control.send(b"+%d" % pid)
        return True

    def _become_worker(self, specification: bytes, descriptors: list[int]) -> NoReturn:
        status = 1
        try:
            for pidfd in self._children:
                os.close(pidfd)
            self._control.close()
            # Woken peers then don't preempt the writer in mid-batch, so they find batches: a quarter more deliveries.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            self._main(specification, socket.socket(fileno=descriptors[0]), descriptors[1:])
            status = 0
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


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the command, which tells us what it means
    package = sys.argv[2].rpartition(".")[0]
    module = importlib.import_module(sys.argv[2])
    importlib.import_module(f"{package}.rehearsal").rehearse()
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
