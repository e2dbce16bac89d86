"""A program for tests: waits for ever, or says much and ends with status 3."""

import signal
import sys

if sys.argv[1:] == ["say"]:
    sys.stdout.write("out" * 100_000)
    sys.stderr.write("err" * 100_000)
    sys.exit(3)
if sys.argv[1:] == ["up"]:
    print("up", flush=True)
signal.pause()
