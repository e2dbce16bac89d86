"""Tests of datagen/."""
