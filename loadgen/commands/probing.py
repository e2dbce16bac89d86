"""What `floodtest probe` does: it opens one connection as a run would, and shows what came of it, for a person.

Values of headers that may be secrets, and bodies, are not shown. The command of a run, which is there to be pasted, is
printed on a terminal as it was typed; in a file or a log `RunOptions.hidden` says what stands in place of secrets.
"""

import shlex
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime

from floodtest.analysis.record.causes import words_of
from floodtest.flyweight.errors import UsageError
from floodtest.loadgen.client.accounts import code_name
from floodtest.loadgen.network.wish import HOST
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.request import HIDDEN, SHOWN_HEADERS, shown_word
from floodtest.loadgen.preflight.outlook import look
from floodtest.loadgen.run.latencies import grammar_of
from floodtest.loadgen.run.probe import MESSAGES, Probe, Probed
from floodtest.wire.causes import Cause
from floodtest.wire.framing import chunked, lines, sse
from floodtest.wire.framing.frames import Framing
from floodtest.wire.framing.in_chunks import InChunks
from floodtest.wire.framing.poll_answers import Polled
from floodtest.wire.framing.websocket import FROM_SERVER
from floodtest.wire.names import RAW
from floodtest.wire.raw import looks_like_an_error

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
    shown = _shown_of_answer(probed.answer, is_raw, probed.opened is None)
    found = [
        f"connected  to {probed.where}, {_ms(probed.connected)}",
        *_lines_of_tls(probed, options),
    ]
    if probed.agreed is not None or not options.speaks_tls:
        found.append(f"sent       {len(probed.request):,} bytes" + (" (--send)" if is_raw and probed.request else ""))
        found += [] if is_raw else _shown(probed.request)
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
        found += [f"{state:10} {probed.failure}: {words.what}", f"           {words.remedy_beside_answer}"]
        found += [] if probed.note is None else [f"           In OpenSSL's words: {_text(probed.note.encode())}."]
    if probed.opened is None:
        return found
    if not probed.messages:
        found.append("           It was silent while it was listened to.")
    elif is_raw and looks_like_an_error(probed.answer or probed.messages[0]):
        words = words_of(code_name(Cause.SAID_ERROR))
        found += [f"doubt      {words.what}", f"           {words.remedy}"]
    return [*found, "", *as_a_run(options, sys.stdout.isatty())]


def _lines_of_tls(probed: Probed, options: RunOptions) -> list[str]:
    """Say what was agreed on, and whose certificate the server has."""
    agreed = probed.agreed
    if agreed is None:
        return []
    whose = f"{agreed.subject}, signed by {agreed.issuer}, valid until {agreed.valid_until}"
    not_verified = " (not verified: --insecure)" if options.tls.insecure else ""
    return [
        f"tls        {agreed.version}, {agreed.cipher}, after {_ms(probed.secured)}",
        f"           certificate of {_text(whose.encode())}{not_verified}",
    ]


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


def as_a_run(options: RunOptions, is_private: bool) -> list[str]:
    """Return the command of a run with the options of this one; secrets are in it where nobody else sees it."""
    called, _, *typed = sys.argv
    words = typed if is_private else [shown_word(word, options.hidden) for word in typed]
    said = "As a run:" if words == typed else f"As a run, with what is secret in place of {HIDDEN}:"
    return [said, "", f"    {shlex.join([*_program(called), 'run', *words])}"]


def _program(called: str) -> list[str]:
    """Return what starts floodtest from where the probe was started, such as .venv/python3/bin/floodtest."""
    if called.endswith("/__main__.py"):
        return [sys.executable, "-m", "floodtest"]
    return ["floodtest"] if called == shutil.which("floodtest") else [called]


def _shown_of_answer(answer: bytes, is_raw: bool, is_refusal: bool) -> bytes:
    """Return the head of an answer, and where it opened nothing the beginning of what follows: it may say why."""
    head, blank, body = (b"", b"", answer) if is_raw else answer.partition(b"\r\n\r\n")
    return head[:2000] + (blank + body[:SHOWN] if is_refusal and body else b"")


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
