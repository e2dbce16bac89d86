"""Fronts: the workers that hold the server's connections."""
