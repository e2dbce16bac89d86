"""Command lines in a time namespace: CLOCK_MONOTONIC and CLOCK_BOOTTIME are ahead there, as on another host."""

import shutil
import subprocess

import pytest

AHEAD_SECONDS = 1000


def in_a_time_namespace(*line: str) -> list[str]:
    """Return a command line whose clocks are so far ahead; the test is skipped where there are no such namespaces."""
    ahead = str(AHEAD_SECONDS)
    begun = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", ahead, "--boottime", ahead, "--fork"]
    if shutil.which("unshare") is None or subprocess.run([*begun, "true"], capture_output=True).returncode:
        pytest.skip("there are no time namespaces here")
    return [*begun, *line]
