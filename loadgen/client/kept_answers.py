"""Answers that did not open their connection, kept for people: a few of each cause, and of each only the beginning.

They are a table in the worker's row of the ledger, where the parent finds them whatever becomes of the worker. In: the
beginning of an answer, as it came. Out: `KeptAnswer`s, as text in which every byte can be seen. Bounded by `EACH` of a
cause and `SLOTS` of a worker; what a peer sends costs no more than that.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.wire.answers import SHOWN

EACH = 5
"""Answers of each cause that are kept."""

SLOTS = 64
"""Answers that a worker keeps."""

SLOT = np.dtype(
    [
        ("phase", "i8"),
        ("code", "i8"),
        ("user", "i8"),
        ("size", "i8"),
        ("note_size", "i8"),
        ("begin", "u1", (SHOWN,)),
        ("note", "u1", (SHOWN,)),
    ]
)


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer that did not open its connection."""

    name: str
    """Of its cause, as `connections.failed` has it."""
    user: int
    answer: str
    """The first bytes of what the server answered, as text."""
    note: str | None
    """The header that says more about its status."""


_SECRETS = re.compile(rb"(?i)(\nset-cookie: ?|\nlocation:[^\r\n?]*\?)[^\r\n]*")
"""Sessions that a server has begun, and what it repeats of a request's query."""


class KeptAnswers:
    """The table of one worker."""

    def __init__(self, row: npt.NDArray[Any]) -> None:
        self._slots = row["answers"][0]
        self._kept = row["answers_kept"]
        self._of: Counter[tuple[int, int]] = Counter()

    def add(self, user: int, phase: int, code: int, begin: bytes, note: str | None) -> None:
        """Keep the beginning of an answer, if there is room for one of its cause."""
        place = int(self._kept[0])
        if self._of[phase, code] == EACH or place == SLOTS:
            return
        self._of[phase, code] += 1
        begin = _SECRETS.sub(rb"\1***", begin)[:SHOWN]
        said = (note or "").encode("latin-1", "replace")[:SHOWN]
        slot = self._slots[place]
        for field, value in (("phase", phase), ("code", code), ("user", user), ("size", len(begin))):
            slot[field] = value
        slot["note_size"] = len(said)
        slot["begin"][: len(begin)] = np.frombuffer(begin, np.uint8)
        slot["note"][: len(said)] = np.frombuffer(said, np.uint8)
        self._kept[0] = place + 1  # last: a reader sees whole ones only


def read_kept(rows: npt.NDArray[Any], name_of: Callable[[int, int], str]) -> list[KeptAnswer]:
    """Return the answers that workers have kept, a few of each cause, which has its name by phase and code."""
    answers = [
        KeptAnswer(
            name_of(int(slot["phase"]), int(slot["code"])),
            int(slot["user"]),
            visible(slot["begin"][: slot["size"]].tobytes()),
            visible(slot["note"][: slot["note_size"]].tobytes()) or None,
        )
        for row in np.flatnonzero(rows["answers_kept"]).tolist()
        for slot in rows["answers"][row][: rows["answers_kept"][row]]
    ]
    return few_of_each(answers)


def visible(data: bytes) -> str:
    """Return bytes as ASCII text that does nothing to a terminal: others than printable ones as escapes."""
    return data.decode("latin-1").encode("unicode_escape").decode()


def few_of_each(answers: list[KeptAnswer]) -> list[KeptAnswer]:
    """Return the first few of each cause."""
    seen: Counter[str] = Counter()
    kept = []
    for answer in answers:
        seen[answer.name] += 1
        if seen[answer.name] <= EACH:
            kept.append(answer)
    return kept
