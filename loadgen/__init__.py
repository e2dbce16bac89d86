"""`floodtest`: opens connections by the million from explicit source pairs, holds them, and accounts for each."""
