"""`python -P -m flyweight.processes.child PARENT NETWORK MODULE ARGS...`: a program as `flyweight.processes.launch`
starts it.

Has the kernel kill this process when PARENT ends (0: it is to outlive it), enters the network namespace of the
descriptor NETWORK (-1: none), and then is the program MODULE. This is done here and not between fork and exec in the
parent, which has threads: Python code in a process forked from one that has threads may wait for ever for a lock that
one of them had.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, or end now if it has (PR_SET_PDEATHSIG, prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)  # it ended before the kernel was told


def _enter_network(namespace: int) -> None:
    """Move this process to a network namespace (setns(2)); OSError where that is forbidden."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


if __name__ == "__main__":
    parent, network, module = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    if parent:
        end_with_parent(parent)
    if network >= 0:
        _enter_network(network)
        os.close(network)
    del sys.argv[:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
