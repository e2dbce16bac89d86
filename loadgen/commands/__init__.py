"""The subcommands of `floodtest`: each parses, calls and prints."""
