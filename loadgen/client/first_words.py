"""What servers say first on streams that count as open before a word has come (`wire.raw`), of a few connections.

A server that is asked without a password may take the connection and say that it will do nothing. So of the first
`EACH` such connections of a worker the beginning of what came first is kept: it is shown where it looks like an error,
and where the connection ended early. In: descriptors as they open, and what was read from them. Out: answers on the
accounts, under the cause `SAID_ERROR`, or that of the end. Cost: one test of a set a sweep, once these have spoken.
"""

from collections.abc import Sequence

from floodtest.loadgen.client.accounts import Accounts, Phase
from floodtest.loadgen.client.kept_answers import EACH
from floodtest.wire.answers import SHOWN
from floodtest.wire.causes import Cause
from floodtest.wire.raw import looks_like_an_error


class FirstWords:
    """The first connections of a worker that were open at once."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._left = EACH
        self._silent: set[int] = set()
        """Those that have said nothing yet."""
        self._words: dict[int, bytes] = {}
        """What the others said first, by descriptor."""

    def opened(self, fds: list[int]) -> None:
        """Listen to connections that are open and have said nothing, as long as there were few."""
        chosen = fds[: self._left]
        self._left -= len(chosen)
        self._silent.update(chosen)

    def hear(self, fds: list[int], read: list[bytes], user_of: Sequence[int]) -> None:
        """Take what was read from descriptors; `user_of` has the user of each."""
        if not self._silent or self._silent.isdisjoint(fds):
            return
        for fd, data in zip(fds, read, strict=True):
            if fd in self._silent:
                self._silent.remove(fd)
                self._words[fd] = data[:SHOWN]
                if looks_like_an_error(data):
                    self._accounts.answered(user_of[fd], Phase.OPEN, Cause.SAID_ERROR, data[:SHOWN], None)

    def ended(self, fd: int, user: int, code: int) -> None:
        """Show what was said on a connection that has ended early."""
        self._silent.discard(fd)
        if words := self._words.pop(fd, b""):
            self._accounts.answered(user, Phase.OPEN, code, words, None)
