"""The names of the protocols that the client opens, and what each is in words; `wire.protocols` has what they do.

Apart from it, so that a command line that offers them imports no more than their names.
"""

PROTOCOLS: dict[str, str] = {
    "auto": "as the answer says, by its media type and transfer coding",
    "chunked": "messages as the chunks of an HTTP body",
    "sse": "server-sent events",
    "lines": "messages as lines of text",
    "websocket": "a WebSocket",
    "longpoll": "answers to polls (long polling)",
    "raw": "lines of a TCP stream without HTTP",
}

DEFAULT_PROTOCOL = "auto"
"""What is opened unless it is said."""

LONGPOLL = "longpoll"
"""What polls again after each answer; our own server has no such path."""

WEBSOCKET = "websocket"

RAW = "raw"

OF_SCHEMES: dict[str, str] = {"ws": WEBSOCKET, "wss": WEBSOCKET, "tcp": RAW, "unix": RAW}
"""What auto is with a target of a scheme; with one of http or https the answer tells."""

TLS_SCHEMES = frozenset({"https", "wss"})
"""Those of targets that speak TLS."""

OWN_PROTOCOL = "chunked"
"""What auto is with our own server, which has a path for each."""
