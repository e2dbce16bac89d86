"""What opens a connection: what must have come of its answer before a user counts as connected. Pure.

In: a condition as `--open-when` has it, and a connection's messages as they come. Out: whether, and where, they meet
it. A head that is right is enough for `head`, any message for `first`. The others look for a text, in which `{user}`
stands for the connection's own id: `id` for the id alone, as a whole word, so that a price of 1.1 opens nobody. Each
condition but a person's own is one regular expression for all users, which costs a search and not an expression a user.

Fails: ValueError for what is no condition, with what is wrong with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

KINDS = ("head", "first", "id", "text:TEXT", "regex:PATTERN")

MAX_SAID = 1 << 16
"""Bytes of messages in which a condition is looked for; the first message is looked at as a whole."""

MAX_ID = 32
"""Bytes of a user's id, and of what has to stand around it."""

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
            self._pattern_of(b"1")
        except (re.error, OverflowError) as error:
            raise ValueError(f"{self.text!r} is no regular expression: {error}") from error

    @property
    def is_head(self) -> bool:
        """Whether the head alone is enough."""
        return self.text == "head"

    @property
    def names_user(self) -> bool:
        """Whether it depends on the connection's user."""
        return self.text == "id" or "{user}" in self.text

    @property
    def can_be_learnt(self) -> bool:
        """Whether an answer like one that met it, but with another id of as many digits, meets it for that one."""
        return not self.names_user or (not self._is_regex and self.text.count("{user}") <= 1)

    def find(self, user: int, said: bytes, before: int = 0) -> Iterator[re.Match[bytes]]:
        """Return where the text of a user's messages meets the condition; not for `head`. So many bytes of it were
        there `before`, and did not.
        """
        text = b"%d" % user
        if self._is_regex:
            # For each user anew, which takes 0.1 ms: a pattern for all would take `.*{user}` up to another number.
            return self._pattern_of(text).finditer(said) if text in said or not self.names_user else iter(())
        found = self._pattern.finditer(said, max(0, before - self._reach))
        return (match for match in found if match["user"] == text) if self.names_user else found

    @cached_property
    def _reach(self) -> int:
        """How many bytes a text can have that meets the condition, and stands in several messages."""
        return len(self.text.encode()) + MAX_ID * (1 + self.text.count("{user}"))

    @property
    def _is_regex(self) -> bool:
        return self.text.startswith("regex:")

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        """The condition for all users at once, where it is no expression of a person's own."""
        return self._pattern_of(_ANY_USER)

    def _pattern_of(self, user: bytes) -> re.Pattern[bytes]:
        kind, _, value = self.text.partition(":")
        if kind == "id":
            return re.compile(rb"(?<!\w)(?<!\d[.,])%b(?!\w)(?![.,]\d)" % user)
        if kind == "text":
            value = "{user}".join(map(re.escape, value.split("{user}")))
            if user is _ANY_USER:  # looked for at every place: what is around one id may belong to the next as well
                value = f"(?={value})"
        first, again = rb"(?<!\d)%b(?!\d)" % user, rb"(?P=user)" if user is _ANY_USER else user
        return re.compile(value.encode().replace(b"{user}", first, 1).replace(b"{user}", again), re.DOTALL)


class Search:
    """Looks for a condition in the messages of one connection, as they come."""

    def __init__(self, open_when: OpenWhen, user: int) -> None:
        self._open_when = open_when
        self._user = user
        self._said = b""
        self.has_messages = False

    def add(self, payloads: list[bytes], has_borders: bool) -> bool:
        """Return whether the messages so far meet the condition. A text may go over from one message to the next where
        these have no borders that mean anything, as it is with chunks.
        """
        before = len(self._said)
        self._said = (b"\n" if has_borders else b"").join([self._said, *payloads] if before else payloads)
        self.has_messages = self.has_messages or bool(payloads)
        return bool(payloads) and any(True for _ in self._open_when.find(self._user, self._said, before))

    @property
    def is_over(self) -> bool:
        """Whether so much has come that the condition is looked for no longer."""
        return len(self._said) > MAX_SAID
