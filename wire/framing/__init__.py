"""Framings: how messages lie in a stream of bytes."""
