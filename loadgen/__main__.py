"""`python -m loadgen` is `floodtest`."""

from loadgen.cli import main

main()
