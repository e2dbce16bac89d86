"""The subcommands of `floodtest`: each parses, and imports what it does when it is called."""
