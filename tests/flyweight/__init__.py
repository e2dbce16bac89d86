"""Tests of flyweight/."""
