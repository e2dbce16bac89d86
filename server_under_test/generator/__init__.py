"""`comet msggen`: messages at planned times, and what became of them."""
