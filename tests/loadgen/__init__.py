"""Tests of loadgen/."""
