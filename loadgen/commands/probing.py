"""What `floodtest probe` does: it opens one connection as a run would, and shows what came of it, for a person.

Values of headers that may be secrets, and bodies, are not shown.
"""

import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime

from floodtest.analysis.record.causes import words_of
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.network.wish import HOST
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.request import HIDDEN, SHOWN_HEADERS
from floodtest.loadgen.preflight.outlook import look
from floodtest.loadgen.run.latencies import grammar_of
from floodtest.loadgen.run.probe import MESSAGES, Probe, Probed
from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import Framing
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.framing.poll_answers import Polled
from floodtest.wire.framing.websocket import FROM_SERVER
from floodtest.wire.names import RAW

SECONDS = 3.0
"""How long an open connection is listened to."""

SHOWN = 200
"""Bytes of a message that are shown."""

_WORDS: tuple[tuple[object, str], ...] = (
    (chunked, "chunks of an HTTP body"),
    (sse, "server-sent events"),
    (lines, "lines of text"),
    (FROM_SERVER, "a WebSocket"),
)


def probe(options: RunOptions) -> bool:
    """Open one connection and print what was seen; return whether it opened."""
    if options.target is None:
        raise UsageError("floodtest probe takes a server of yours: name it with --target.")
    # One connection, from any port: a run that has all the pairs of the addresses is no obstacle.
    alone = replace(options, plan=replace(options.plan, connections=1), ports="kernel")
    outlook = look(alone, HOST)
    outlook.refuse()
    probed = Probe(outlook).run(options.connect_timeout, SECONDS)
    print("\n".join(_lines_of(probed, options)))
    return probed.opened is not None


def _lines_of(probed: Probed, options: RunOptions) -> list[str]:
    is_raw = options.spoken == RAW
    head, _, _ = probed.answer.partition(b"\r\n\r\n")
    shown = head[:2000] if not is_raw else probed.answer[:SHOWN] if probed.opened is None else b""
    found = [
        f"connected  to {probed.where}, {_ms(probed.connected)}",
        f"sent       {len(probed.request):,} bytes" + (" (--send)" if is_raw and probed.request else ""),
        *([] if is_raw else _shown(probed.request)),
    ]
    if probed.first_byte is not None:
        found += [f"answer     first byte after {_ms(probed.first_byte)}", *(_indented(shown) if shown else [])]
    if probed.sent is not None:
        found.append(f"sent       {len(probed.sent):,} bytes as the first message (--send)")
    if probed.framing is not None and probed.opened is not None:
        found.append(f"messages   come as {_words(probed.framing)}")
        found.append(f"open       after {_ms(probed.opened)}, by --open-when {options.opens_when}")
    for number, message in enumerate(probed.messages, 1):
        if number <= MESSAGES or number == len(probed.messages):
            found.append(f"message {number}  {len(message):,} bytes: {_text(message[:SHOWN])}")
            found += [] if options.latency is None else [f"sent       {_time_in(message, options)}"]
            found += [] if options.cursor is None else [f"cursor     {_cursor_in(message, options.cursor)}"]
        elif number == MESSAGES + 1:
            found.append(f"           and {len(probed.messages) - MESSAGES - 1:,} more before the last of them:")
    if probed.failure is not None:
        words = words_of(probed.failure)
        state = "not open" if probed.opened is None else "ended"
        found += [f"{state:10} {probed.failure}: {words.what}", f"           {words.remedy}"]
    if probed.opened is None:
        return found
    found += ([] if probed.messages else ["           It was silent while it was listened to."]) + ["", "As a run:", ""]
    return [*found, f"    {_command(options)}"]


def _cursor_in(message: bytes, pattern: str) -> str:
    """Return the cursor that is found in a message, in words where there is none."""
    cursor = Polled(pattern).cursor_in(message)
    return _text(cursor) if cursor else "--cursor finds none here, so that the next poll begins where this one did"


def _time_in(message: bytes, options: RunOptions) -> str:
    """Return when a message says that it was sent, by the clock of this machine."""
    said = grammar_of(options).reader()([message])
    if not said.sent:
        return "what --latency finds is no time" if said.unreadable else "no time that --latency finds"
    when = datetime.fromtimestamp(said.sent[0] // 1000 / 1e6, UTC)
    return f"{when.isoformat(timespec='microseconds')}, by --latency"


def _command(options: RunOptions) -> str:
    """Return the command of a run with the options of this one; secrets are left out."""
    words = [options.hidden.get(word, word) for word in sys.argv[1:]]
    return shlex.join(["floodtest", "run", *words[1:]])


def _shown(request: bytes) -> list[str]:
    """Return a request line by line, without what may be a secret."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = _indented(head)
    found = [first]
    for line in headers:
        name, _, _ = line.partition(":")
        found.append(line if name.strip().lower() in {*SHOWN_HEADERS, "content-length"} else f"{name}: {HIDDEN}")
    return [*found, *([f"  {HIDDEN} ({len(body):,} bytes)"] if body else [])]


def _indented(head: bytes) -> list[str]:
    return [f"  {_text(line)}" for line in head.split(b"\r\n")]


def _text(data: bytes) -> str:
    """Return bytes as a terminal can show them, whatever they are."""
    text = data.decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _words(framing: Framing) -> str:
    is_in_chunks = isinstance(framing, InChunks)
    if isinstance(framing, Polled):
        return "answers to polls"
    inner = framing.inner if isinstance(framing, InChunks) else framing
    words = next(words for one, words in _WORDS if one is inner)
    return f"{words}, in chunks that mean nothing" if is_in_chunks else words


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
