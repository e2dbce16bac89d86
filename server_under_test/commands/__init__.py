"""The subcommands of `comet`: each parses, and imports what it does when it is called."""
