"""`comet`: an HTTP comet server that holds a million connections in columns, and answers for each of them."""
