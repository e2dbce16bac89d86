"""TLS between sockets and framing: handshakes by OpenSSL, records by the column."""
