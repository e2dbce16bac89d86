"""Tests of floodtest; see CONTRIBUTING.md for how to run some of them."""
