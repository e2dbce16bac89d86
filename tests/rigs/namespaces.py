"""Tests that change addresses, in a network namespace of their own: `python -m tests.rigs.namespaces MODULE TEST`, in a
fork of the process of the tests.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable
from functools import wraps

from floodtest.loadgen.network.namespaces import enter
from floodtest.loadgen.network.wish import Wish
from tests.rigs.forking import STARTS, forked


def in_a_namespace(test: Callable[[], None]) -> Callable[[], None]:
    """Run a test in a process of its own in a namespace of its own. Where that is forbidden the test fails."""

    @wraps(test)
    def run() -> None:
        line = [*STARTS, "tests.rigs.namespaces", test.__module__, test.__name__]
        with forked(line, stderr=subprocess.PIPE, text=True) as process:
            _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors

    return run


if __name__ == "__main__":
    enter(Wish(sockets=1, port_range=None))
    getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).__wrapped__()
