"""Tests that change addresses, in a network namespace of their own: `python -m tests.rigs.namespaces MODULE TEST`."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from floodtest.loadgen.network.namespaces import enter
from floodtest.loadgen.network.wish import Wish


def in_a_namespace(test: Callable[[], None]) -> Callable[[], None]:
    """Run a test in a process of its own in a namespace of its own. Where that is forbidden the test fails."""

    @wraps(test)
    def run() -> None:
        arguments = [sys.executable, "-P", "-m", "tests.rigs.namespaces", test.__module__, test.__name__]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, env=environment)
        assert done.returncode == 0, done.stderr

    return run


if __name__ == "__main__":
    enter(Wish(sockets=1, port_range=None))
    getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).__wrapped__()
