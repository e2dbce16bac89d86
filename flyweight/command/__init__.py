"""What every command of ours has: options, errors and exit codes, output, and its end by a signal."""
