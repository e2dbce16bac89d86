"""The subcommands of `comet`: each parses, calls and prints."""
