"""Causes in words: for each name by which a summary counts failures and early ends, what happened and what to do.

In: a name as `connections.failed` (`NAME@phase`) or `connections.closed_by` (`NAME`) has it. Out: a sentence and a
remedy. The table of docs/floodtest.md is made of `TABLE`. Names that are not in it are those of errnos, which the C
library has words for. Pure.
"""

import errno
import os
from typing import NamedTuple

_LOOK = "Look at the beginning of such an answer in answers.json of the record."


class Words(NamedTuple):
    """What happened, and what to do about it."""

    what: str
    remedy: str

    @property
    def remedy_beside_answer(self) -> str:
        """What to do, for who sees the answer and has no record."""
        return self.remedy.replace(_LOOK, "Look at the answer above.")


TABLE: dict[str, Words] = {
    # Before there is a connection.
    "EADDRINUSE": Words(
        "The source port could not be had, and its address has no spare port left.",
        "Choose other ports (--first-port), fewer connections from an address (--each) and more addresses (--ips).",
    ),
    "EADDRNOTAVAIL": Words(
        "The source address is none of this machine's, or the kernel has no port left for it.",
        "Add the addresses with floodtest net up, or use more of them (--ips).",
    ),
    "EMFILE": Words("The worker may open no more files.", "Raise the hard limit of open files (ulimit -Hn)."),
    "ENFILE": Words("The machine may open no more files.", "Raise fs.file-max; floodtest doctor says to what."),
    "ECONNREFUSED": Words(
        "Nobody listens at the target.", "Start the server, and hold its address and port against those of --target."
    ),
    "ETIMEDOUT@connect": Words(
        "The connection did not come about within --connect-timeout: the server's queue of new connections was full, "
        "or a firewall drops them.",
        "Open fewer at a time (--in-flight, --rate), and raise the server's backlog and net.core.somaxconn.",
    ),
    "ETIMEDOUT@request": Words(
        "The server did not read all of what it was sent within --connect-timeout.",
        "Send less (--send, --body), or look why the server does not read.",
    ),
    # Instead of a stream.
    "ETIMEDOUT@response": Words(
        "What opens the connection did not come within --connect-timeout.",
        "Raise --connect-timeout, or ask for less: --open-when head takes the head of an answer for open. Where the "
        "server holds its answer back until there is a message, take --protocol longpoll.",
    ),
    "no_answer": Words(
        "The server closed the connection, and not a byte had come by then.",
        "Look into the server's log: it may have too many connections, too short a time-out for requests, or another "
        "protocol at this port.",
    ),
    "no_answer@response": Words(
        "The server read the request, or a part of it, and closed the connection without an answer.",
        "Look into the server's log: it may have too many connections, too short a time-out for requests, or another "
        "protocol at this port. Many servers do so where they speak TLS: then say https:// or wss://.",
    ),
    "tls_port": Words(
        "The server speaks TLS at this port.",
        "Say https:// or wss://, or name the port at which it speaks without TLS.",
    ),
    "http2_port": Words(
        "The server speaks HTTP/2 only at this port.", "Name a port at which it speaks HTTP/1.1, or allow it there."
    ),
    "not_http": Words("The answer is not one of HTTP/1.", f"Hold the port against the server's. {_LOOK}"),
    "bad_handshake": Words(
        "The answer does not open the WebSocket that was asked for (RFC 6455, section 4.1).",
        f"Hold the path against that of the server's WebSockets. {_LOOK}",
    ),
    "head_too_large": Words(
        "The head of the answer is larger than the 64 KiB that are read.",
        "Have the server send fewer headers or cookies.",
    ),
    "bad_head": Words(
        "The head of the answer breaks the rules of HTTP/1.1, or is of a status under 200 that nobody asked for.", _LOOK
    ),
    "web_page": Words(
        "A page for people (text/html) came instead of a stream: to log in, perhaps, or of an error.",
        f"Send what logs in with the request, or name another path. {_LOOK}",
    ),
    "media_type": Words(
        "The answer's Content-Type is not that of the protocol.", "Name its protocol, or take --protocol auto."
    ),
    "not_a_stream": Words(
        "The answer says how long it is (Content-Length), so it is no stream.",
        "If it is the answer to a poll, take --protocol longpoll. Otherwise name the path of the stream; some servers "
        f"want to be asked with an Accept header. {_LOOK}",
    ),
    "not_chunked": Words(
        "The answer goes on until the connection closes, and --protocol chunked asks for chunks.",
        "Take --protocol auto, sse or lines.",
    ),
    "content_coding": Words(
        "The body of the answer is packed, such as by gzip, though floodtest has asked for none of that.",
        "Switch compression off at the server or proxy, for this path or for streams.",
    ),
    "transfer_coding": Words(
        "The answer has a Transfer-Encoding that is not read, such as gzip.", "Switch it off at the server or proxy."
    ),
    "open_when_unmet": Words(
        "Messages came, but what --open-when asks for was not among the first 64 KiB of them, or came too late.",
        f"Ask for what the server says: --open-when first takes any message. {_LOOK}",
    ),
    "HTTP_3xx": Words(
        "The server redirects to another place, which is not followed.", "Take the URL of its Location as --target."
    ),
    "HTTP_401": Words("The server wants a login.", "Send one that fits its WWW-Authenticate with the request."),
    "HTTP_403": Words("The server forbids it.", "Look at what it checks: a login, an Origin, an address."),
    "HTTP_404": Words("The server does not know the path.", "Hold the path of --target against the server's."),
    "HTTP_406": Words(
        "The server has no answer of the media type asked for.", "Name its protocol, which sets the header Accept."
    ),
    "HTTP_429": Words("The server limits how often it is asked.", "Open more slowly (--rate), or lift its limit."),
    "HTTP_503": Words(
        "The server, or a proxy before it, has no room.",
        "Raise its limits of connections, or open more slowly (--rate).",
    ),
    "HTTP_4xx": Words("The server refuses the request.", _LOOK),
    "HTTP_5xx": Words("The server, or a proxy before it, failed.", f"Look into its log. {_LOOK}"),
    "HTTP_xxx": Words("The server answered with a status that begins no stream.", _LOOK),
    # Instead of a handshake of TLS.
    "ETIMEDOUT@tls": Words(
        "The handshake of TLS was not over within --connect-timeout.",
        "Raise --connect-timeout, or open fewer at a time (--in-flight, --rate): handshakes cost the server's CPU. "
        "Where none gets through, look whether TLS is spoken at this port.",
    ),
    "tls_expired": Words(
        "The server's certificate has expired, or is not valid yet.",
        "Renew it, and look at the clocks of both machines.",
    ),
    "tls_wrong_name": Words(
        "The server's certificate is for another name than the target's.",
        "Name the target as its certificate does, or say that name with --server-name.",
    ),
    "tls_unknown_issuer": Words(
        "Nobody who is trusted here has signed the server's certificate.",
        "Name the certificate of who has with --cafile, or have the server send the whole chain.",
    ),
    "tls_bad_certificate": Words(
        "The server's certificate does not pass verification.", "Hold it against openssl s_client, which says why."
    ),
    "tls_wants_certificate": Words("The server wants a certificate of its clients.", "Give one with --cert and --key."),
    "tls_unknown_name": Words(
        "The server has no certificate for the name that it was asked for.", "Say another one with --server-name."
    ),
    "tls_version": Words(
        "The server and this machine have no version of TLS in common.", "Look which versions the server allows."
    ),
    "tls_no_cipher": Words(
        "The server and this machine have no cipher in common, or the server refused what was offered.",
        "Look into the server's log, and which ciphers it allows. In TLS 1.2 this is also what a server says that "
        "wants a certificate of its clients (--cert).",
    ),
    "tls_plain": Words(
        "What the server said first is no TLS: this port speaks in plain text.",
        "Say http:// or ws://, or of tcp:// no --tls, or name the port at which it speaks TLS.",
    ),
    "tls_failed": Words("The handshake of TLS failed.", "Hold it against openssl s_client, which says why."),
    "tls_alert": Words("The server ended the connection by an alert of TLS.", "Look into the server's log."),
    "tls_too_many_kept": Words(
        "The server chose TLS 1.2, whose connections keep 15 to 35 KiB each, and no more of these are kept.",
        "Allow TLS 1.3 at the server, or open fewer connections.",
    ),
    # How streams end.
    "tls_cut": Words(
        "The connection was closed without the alert of TLS that announces it: the server's process ended, it spares "
        "itself the alert, or somebody between the two has cut the connection.",
        "Look for a process that ended, and for limits of the server and of what stands between.",
    ),
    "tls_bad_mac": Words(
        "A record of TLS could not be opened with its key: it was altered on its way, or the server is at fault.",
        "Look at what stands between the two.",
    ),
    "tls_bad_record": Words(
        "A record of TLS came that may not come there.", "Hold the server against another client of TLS 1.3."
    ),
    "tls_record_too_large": Words(
        "A record of TLS was larger than the 16,640 bytes that one may have.",
        "Hold the server against another client of TLS 1.3.",
    ),
    "frame_too_large": Words(
        "A message of the WebSocket was larger than the 1 MiB that is taken.", "Have the server send smaller ones."
    ),
    "bad_framing": Words(
        "The stream broke its framing: what came is no chunk, or no frame of the protocol.",
        "Hold --protocol against what the server sends; an error of a server often stands in the middle of a stream.",
    ),
    "finished": Words(
        "The server said that the stream is over.", "Name a path whose stream goes on, or look why the server ended it."
    ),
    "not_kept_alive": Words(
        "The answer to a poll ended its connection: it said so (Connection: close, HTTP/1.0), or not how long it is.",
        "Have the server, and proxies before it, keep connections alive for more polls: nginx ends them after "
        "keepalive_requests.",
    ),
    "bad_cursor": Words(
        "What the next poll would have to say is longer than 255 bytes, or has a control character.",
        "Look at what --cursor finds, or at the ETag and Last-Modified of the answers.",
    ),
    "cut": Words(
        "The connection was closed between two messages, and nothing had said that the stream is over.",
        "Look at the lifetimes: a server that ends, or an idle time-out of a proxy, ends many alike.",
    ),
    "cut_inside": Words(
        "The connection was closed within a message.",
        "Look for a process that ended, and for limits of time or size at the server and proxies.",
    ),
    "ECONNRESET@response": Words(
        "The connection was reset before an answer: the process at the other end ended, or closed it with data unread.",
        "Look for a process that ended, and for limits of the server and of what stands between. Many servers do so "
        "where they speak TLS: then say https:// or wss://.",
    ),
    "ECONNRESET": Words(
        "The connection was reset: the process at the other end ended, or closed it with data unread.",
        "Look for a process that ended, and for limits of the server and of what stands between.",
    ),
    "EPIPE@request": Words("The connection was closed before the request was written.", "Look into the server's log."),
    "EPIPE": Words(
        "The connection was closed while something was written to it, such as the answer to a ping.",
        "Look for a process that ended, and for limits of the server and of what stands between.",
    ),
    "ENOBUFS": Words(
        "The server sent one ping after another and read none of the answers.",
        "Look into the server: it asks for answers that it does not take.",
    ),
    "said_error": Words(
        "A stream without HTTP counts as open, and what the server said first looks like an error.",
        "Name what a good answer says (--open-when 'text:…'), and look at what the server wants to be sent (--send).",
    ),
    "HOST_LOST": Words(
        "The host of these connections was lost, or did not get to the end of its part.",
        "See its own record, in hosts/, and what its link and its memory did then.",
    ),
    "LOST": Words(
        "The client worker of these connections ended.",
        "See the reasons: a kill, or memory that ran out, says so there.",
    ),
}
"""By name, with the phase where a name means another thing in another; `HTTP_4xx` stands for what has no row."""


def words_of(name: str) -> Words:
    """Return what a name of a summary means."""
    plain = name.partition("@")[0]
    status = plain.removeprefix("HTTP_")
    for known in (name, plain, *([f"HTTP_{status[:1]}xx", "HTTP_xxx"] if status != plain else [])):
        if known in TABLE:
            return TABLE[known]
    number = getattr(errno, plain, None)
    return Words(f"{os.strerror(number)}." if isinstance(number, int) else "", "")


def as_markdown() -> str:
    """Return the table as documents have it."""
    rows = [f"| `{name}` | {words.what} | {words.remedy} |" for name, words in TABLE.items()]
    return "\n".join(["| name | what happened | what to do |", "|---|---|---|", *rows]) + "\n"
