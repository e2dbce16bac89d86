"""The first answers to polls, and which of them open a connection. Pure.

To open one, the framing takes an answer from its first byte on (`wire.framing.poll_answers`), so that its body is the
first message.
"""

from collections.abc import Callable

from floodtest.wire import http
from floodtest.wire.answers import Answers, Opened, parse_head
from floodtest.wire.framing.frames import Framing
from floodtest.wire.framing.poll_answers import Polled
from floodtest.wire.grammar import Grammar
from floodtest.wire.open_when import OpenWhen


class FirstPollAnswers(Answers):
    """Tells the first answers to polls. None is remembered as a whole: each has another message or another date."""

    def __init__(
        self,
        framing_of: Callable[[http.Response], Framing],
        open_when: OpenWhen,
        longest: int,
        grammar: Grammar,
        framing: Polled,
    ) -> None:
        super().__init__(framing_of, open_when, longest, grammar)
        self._framing = framing

    def common(self, users: list[int], read: list[bytes]) -> Opened | None:
        """Return what opened connections whose answers have heads like ones before, where a head is enough."""
        if not self.open_when.is_head or not all(self._framing.known.read_known(data, 0) for data in read):
            return None
        return Opened(self._framing, 0, read)

    def read_head(self, user: int, data: bytes) -> tuple[Framing, bytes] | None:
        """Return the framing of an answer and all of it, None while its head is not whole."""
        parsed = parse_head(data)
        return None if parsed is None else (self.framing_of(parsed[0]), data)

    def remember_head(self, user: int, head: bytes, framing: Framing) -> None:
        """Remember nothing."""

    def remember(self, user: int, answer: bytes, payloads: list[bytes], framing: Framing) -> None:
        """Remember nothing."""
