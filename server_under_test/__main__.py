"""`python -m server_under_test` is `comet`."""

from server_under_test.cli import main

main()
