"""What the control API has to do with a body: Python's json, and the rules in docs/comet.md on top of it. No I/O.

A batch is read twice, as strictly and as freely as JSON may be read. Where both come to the same the answer is decided;
where they do not, it may be either, and what was done must be what the free reading says, or nothing.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

MAX_LINES = 4096
MAX_BYTES = 4_194_304
MAX_TICK_BYTES = 4096
MAX_MESSAGE = 65_536
MAX_USER = 2**32 - 1
MAX_NAME = 255

Subject = int | str
Pairs = set[tuple[int, Subject]]


class Malformed(Exception):
    """A body that makes no sense."""


@dataclass(frozen=True)
class Verdict:
    """What may be answered, and what a 200 has done."""

    statuses: frozenset[int]
    taken: Any = None
    """What a 200 takes the body for: messages, pairs, or seconds."""


def read(path: str, body: bytes) -> Verdict:
    """Judge the whole body of a POST or DELETE to a path, or of a PUT to /tick."""
    if len(body) > (MAX_TICK_BYTES if path == "/tick" else MAX_BYTES):
        return Verdict(frozenset({413}))
    parse: Callable[[bytes, bool], Any] = {"/tick": _seconds, "/publish": _messages, "/subscriptions": _pairs}[path]
    found = [_tried(parse, body, strictly) for strictly in (True, False)]
    statuses = frozenset({status for status, _ in found})
    if 413 in statuses:
        return Verdict(frozenset({413}))
    same = statuses == {200} and found[0] == found[1]
    return Verdict(statuses if same or statuses == {400} else frozenset({200, 400}), found[1][1])


def _tried(parse: Callable[[bytes, bool], T], body: bytes, strictly: bool) -> tuple[int, T | None]:
    try:
        return 200, parse(body, strictly)
    except OverflowError:
        return 413, None
    except Malformed:
        return 400, None


def _seconds(body: bytes, strictly: bool) -> float | None:
    fields = _object(body, strictly)
    seconds = fields.get("seconds", "none given")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.001 <= seconds <= 86_400:
        raise Malformed
    return float(seconds)


def _lines(body: bytes, strictly: bool) -> list[dict[str, Any]]:
    lines = re.split(rb"\r\n|\n|\r", body)
    if not lines[-1]:
        lines.pop()
    if len(lines) > MAX_LINES:
        raise OverflowError
    return [_object(line, strictly) for line in lines if line.strip(b" \t")]


def _messages(body: bytes, strictly: bool) -> list[tuple[Subject, bytes]]:
    messages = []
    for line in _lines(body, strictly):
        text = line.get("message")
        if not isinstance(text, str):
            raise Malformed
        messages.append((_subject(line.get("subject"), strictly), _encoded(text, MAX_MESSAGE)))
    return messages


def _pairs(body: bytes, strictly: bool) -> list[tuple[int, Subject]]:
    pairs = []
    for line in _lines(body, strictly):
        subscriber = _whole(line.get("subscriber"), strictly)
        if isinstance(subscriber, bool) or not isinstance(subscriber, int):
            raise Malformed
        pairs.append((_user(subscriber), _subject(line.get("subject"), strictly)))
    return pairs


def _subject(value: object, strictly: bool) -> Subject:
    value = _whole(value, strictly)
    if isinstance(value, str) and re.fullmatch("[0-9]+", value):
        if len(value) > len(str(MAX_USER)):
            raise Malformed
        value = int(value)
    if isinstance(value, str) and value:
        _encoded(value, MAX_NAME)
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed
    return _user(value)


def _user(value: int) -> int:
    if not 1 <= value <= MAX_USER:
        raise Malformed
    return value


def _whole(value: object, strictly: bool) -> object:
    """Take 7.0 for 7, if it is not read strictly."""
    is_whole = isinstance(value, float) and math.isfinite(value) and value == int(value)
    return int(value) if is_whole and not strictly and isinstance(value, float) else value


def _encoded(text: str, most: int) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Malformed from None
    if len(data) > most:
        raise Malformed
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _long(digits: str) -> float:
    """Read a whole number; one that is too long for Python's json is one that nothing here takes."""
    return int(digits) if len(digits) < 100 else math.inf


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; two values of a name are read strictly for none."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _object(data: bytes, strictly: bool) -> dict[str, Any]:
    try:
        text = data.decode()
        if strictly:
            found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no character
        else:
            found = json.loads(text, strict=False, parse_int=_long)
    except RecursionError:
        found = None if strictly else _without_depth(data)
    except ValueError:
        raise Malformed from None
    if not isinstance(found, dict):
        raise Malformed
    return found


def _without_depth(data: bytes) -> Any:
    """Read an object whose values that do not matter are nested deeply: how deep is read is for each to decide."""
    shallow = re.sub(rb"[\[{]{20,}[\]}]*", b"null", data)
    try:
        return json.loads(shallow)
    except (ValueError, RecursionError):
        raise Malformed from None


@dataclass
class World:
    """The store, who is connected, and what they must have got: what a taken body changes."""

    connections: list[int]
    """Users of the connections that are open."""
    pairs: Pairs = field(default_factory=set)
    messages: int = 0
    """How many were published."""
    texts: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """By connection, counted from 0: the messages on their way to it."""
    seconds: float | None = None

    def publish(self, messages: list[tuple[Subject, bytes]]) -> dict[str, Any]:
        """Send messages; return the answer."""
        deliveries = 0
        for subject, text in messages:
            for at, user in enumerate(self.connections):
                if user == subject or (user, subject) in self.pairs:
                    self.texts[at].append(text)
                    deliveries += 1
        self.messages += len(messages)
        return {"messages": len(messages), "deliveries": deliveries}

    def change(self, method: str, pairs: list[tuple[int, Subject]]) -> dict[str, Any]:
        """Add or remove pairs; return the answer."""
        before = len(self.pairs)
        if method == "POST":
            self.pairs |= set(pairs)
            return {"pairs": len(pairs), "added": len(self.pairs) - before}
        self.pairs -= set(pairs)
        return {"pairs": len(pairs), "removed": before - len(self.pairs)}

    def subscribers(self, subject: Subject) -> list[int]:
        """Return who subscribed to a subject."""
        return sorted(subscriber for subscriber, about in self.pairs if about == subject)
