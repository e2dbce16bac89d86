"""Messages by the publishing API of a server that is not ours, from a process of its own."""
