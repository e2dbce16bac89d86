"""What a run is to do, as values: users, source pairs, pace, options. Pure."""
