"""Clients of WebSockets over TLS that keep an object of a TLS library for each connection, as programs of their own.

In: host, port, a file of who is trusted, and the name to ask for; then on standard input a number a line: users up
to that one are to be open. Out: that number on a line, once each of them has its welcome. It ends with standard input.
Fails: by an error of its library, which ends it.
"""
