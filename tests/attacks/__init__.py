"""Attacks on the product from outside: seeded, bounded, with a table at the end of what was done and seen.

`make attack` runs them all (`python -m tests.attacks --help`), and `make test` a small share of each.
"""
