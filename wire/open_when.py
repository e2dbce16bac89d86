"""What opens a connection: what must have come of its answer before a user counts as connected. Pure.

In: a condition as `--open-when` has it, and a connection's messages as they come. Out: whether, and where, they meet
it. A head that is right is enough for `head`, any message for `first`; for `held` a poll that is not answered is, or
the head of its answer. The others look for a text, in which `{user}` stands for the connection's own id: `id` for the
id alone, as a whole word, so that a price of 1.1 opens nobody. Where the next message may go on with the text, as
chunks do, an id at the end of what has come is not known to be whole.

Cost: linear in what a peer sends. Each condition but a person's own is one regular expression for all users, which
costs a search and not an expression a user. What was looked at is not looked at again, but for as many bytes as what
meets the condition can have before the next message: `REACH` for a person's own expression. No more than these is kept.

Fails: ValueError for what is no condition, with what is wrong with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

KINDS = ("head", "held", "first", "id", "text:TEXT", "regex:PATTERN")

MAX_SAID = 1 << 16
"""Bytes of messages in which a condition is looked for; the first message is looked at as a whole."""

MAX_ID = 32
"""Bytes of a user's id, and of what has to stand around it."""

REACH = 4096
"""Bytes of earlier messages in which what meets a person's own expression may begin."""

_ANY_USER = rb"(?P<user>\d+)"


@dataclass(frozen=True)
class OpenWhen:
    """A condition, as `--open-when` has it."""

    text: str

    def __post_init__(self) -> None:
        kind, colon, value = self.text.partition(":")
        if kind in ("text", "regex"):
            if not value:
                raise ValueError(f"{self.text!r} looks for nothing")
        elif colon or kind not in KINDS:
            raise ValueError(f"{self.text!r} is none of {', '.join(KINDS)}")
        try:
            self._pattern_of(b"1", is_whole=True)
        except (re.error, OverflowError) as error:
            raise ValueError(f"{self.text!r} is no regular expression: {error}") from error

    @property
    def is_head(self) -> bool:
        """Whether the head alone is enough."""
        return self.text == "head" or self.is_held

    @property
    def is_held(self) -> bool:
        """Whether a poll that is not answered yet is enough; its answer is so as well."""
        return self.text == "held"

    @property
    def is_first(self) -> bool:
        """Whether any message is enough."""
        return self.text == "first"

    @property
    def names_user(self) -> bool:
        """Whether it depends on the connection's user."""
        return self.text == "id" or "{user}" in self.text

    @property
    def can_be_learnt(self) -> bool:
        """Whether an answer like one that met it, but with another id of as many digits, meets it for that one."""
        return not self.names_user or (not self._is_regex and self.text.count("{user}") <= 1)

    def find(self, user: int, said: bytes, start: int = 0, is_whole: bool = True) -> Iterator[re.Match[bytes]]:
        """Return where the text of a user's messages meets the condition, from a place on; not where `is_head`.

        If it is not whole, and may go on, an id at its end is none.
        """
        text = b"%d" % user
        if self._is_regex:
            # For each user anew, which takes 0.1 ms: a pattern for all would take `.*{user}` up to another number.
            is_there = text in said or not self.names_user
            return self._pattern_of(text, is_whole).finditer(said, start) if is_there else iter(())
        found = (self._pattern if is_whole else self._pattern_of_part).finditer(said, start)
        return (match for match in found if match["user"] == text) if self.names_user else found

    @cached_property
    def reach(self) -> int:
        """How many bytes before the next message what meets the condition can have, and what stands around it."""
        return REACH if self._is_regex else len(self.text.encode()) + MAX_ID * (1 + self.text.count("{user}"))

    @property
    def _is_regex(self) -> bool:
        return self.text.startswith("regex:")

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        """The condition for all users at once, where it is no expression of a person's own."""
        return self._pattern_of(_ANY_USER, is_whole=True)

    @cached_property
    def _pattern_of_part(self) -> re.Pattern[bytes]:
        """That for a text that may go on."""
        return self._pattern_of(_ANY_USER, is_whole=False)

    def _pattern_of(self, user: bytes, is_whole: bool) -> re.Pattern[bytes]:
        kind, _, value = self.text.partition(":")
        if kind == "id":
            after = rb"(?!\w)(?![.,]\d)" if is_whole else rb"(?=\W)(?![.,](?:\d|\Z))"
            return re.compile(rb"(?<!\w)(?<!\d[.,])%b%b" % (user, after))
        if kind == "text":
            value = "{user}".join(map(re.escape, value.split("{user}")))
            if user is _ANY_USER:  # looked for at every place: what is around one id may belong to the next as well
                value = f"(?={value})"
        form = rb"(?<!\d)%b(?!\d)" if is_whole else rb"(?<!\d)%b(?=\D)"
        first, again = form % user, form % (rb"(?P=user)" if user is _ANY_USER else user)
        return re.compile(value.encode().replace(b"{user}", first, 1).replace(b"{user}", again), re.DOTALL)


class Search:
    """Looks for a condition in the messages of one connection, as they come."""

    def __init__(self, open_when: OpenWhen, user: int) -> None:
        self._open_when = open_when
        self._user = user
        self._tail = b""
        """The end of the messages so far, which may be the beginning of what meets the condition."""
        self._size = 0
        """Bytes of the messages so far."""
        self.has_messages = False

    def add(self, payloads: list[bytes], has_borders: bool) -> bool:
        """Return whether the messages so far meet the condition. A text may go over from one message to the next where
        these have no borders that mean anything, as it is with chunks.
        """
        if not payloads:
            return False
        condition = self._open_when
        said = (b"\n" if has_borders else b"").join([self._tail, *payloads] if self._size else payloads)
        # A tail of which something was cut off is longer than its reach, so that `^` is not taken to be there.
        start = max(0, len(self._tail) - condition.reach)
        self.has_messages = True
        self._size += sum(map(len, payloads))
        self._tail = said[-condition.reach - MAX_ID :]
        return any(True for _ in condition.find(self._user, said, start, is_whole=has_borders))

    @property
    def is_over(self) -> bool:
        """Whether so much has come that the condition is looked for no longer."""
        return self._size > MAX_SAID
