"""A run: its order, its stages, its processes, and what came of it."""
