"""Tests of what the two ends say to each other."""
