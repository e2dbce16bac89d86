"""What the commands import before they know what they are to do: little, for there are many starts."""

import subprocess
import sys

HEAVY = {"httpx", "igraph", "lmdb", "matplotlib", "numpy", "psutil", "pyroute2", "rich", "starlette", "trio"}
"""Each takes from 10 to 200 ms to import."""

SHOWING = """
import contextlib, io, os, sys

def show_imports(*_):
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
    raise SystemExit

from floodtest.datagen import cli as fakefriends
from floodtest.loadgen.commands import floodtest
from floodtest.server_under_test.commands import comet
os.execv = show_imports
for main, *words in (
    (fakefriends.main, "--help"),
    (fakefriends.main, "gen", "--help"),
    (comet.main, "--help"),
    (comet.main, "serve", "--port", "none"),
    (floodtest.main, "doctor", "--help"),
    (floodtest.main, "run", "--connections", "5", "--network", "isolated"),
):
    sys.argv = ["it", *words]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main()
"""
"""The last of them shows what is imported when the command is about to start itself anew."""


def test_help_a_mistyped_option_and_the_start_of_a_run_import_no_more_than_they_need() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", SHOWING], capture_output=True, text=True, timeout=60)
    *complaints, imported = done.stderr.splitlines()
    assert (done.returncode, complaints) == (0, ["comet: --port takes a port from 0 to 65535, not 'none'."]), (
        done.stderr
    )
    assert not HEAVY & set(imported.split())
    assert "typer" in imported.split()
