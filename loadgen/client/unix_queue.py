"""Connections that wait for room in the queue of a Unix socket, oldest first. Pure.

Where that queue is full, connect(2) answers EAGAIN at once, and nothing tells when there is room; TCP would try again
by itself. In: users whose connections have been begun, with their deadlines, in that order; and what came of trying.
Out: which users are to be tried next, and which have waited until their deadline. While the queue is full, one user is
tried each `PAUSE`; each time that all who were tried have found room, twice as many are tried next, without a pause.
"""

from collections import deque

PAUSE = 0.001
"""Seconds between two tries: a server's loop accepts all that wait, and then again when it comes round."""


class Waiting:
    """The users of one worker that wait; none where the target is no Unix socket."""

    def __init__(self, most: int) -> None:
        """At most so many are tried in one go."""
        self._users: deque[tuple[float, int]] = deque()
        self._limit = most
        self._most = most
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._users)

    @property
    def deadline(self) -> float:
        """When there is something to do: a try, or a time that is over."""
        return min(self._due, self._users[0][0]) if self._users else float("inf")

    def add(self, users: list[int], deadline: float) -> None:
        """Have users wait behind all others."""
        self._users.extend((deadline, user) for user in users)

    def take(self, now: float) -> tuple[float, list[int]]:
        """Return the users to try now, and the deadline that they share; `tried` puts back those that are refused."""
        if not self._users or now < self._due:
            return 0.0, []
        deadline, users = self._users[0][0], list[int]()
        while self._users and len(users) < self._most and self._users[0][0] == deadline:
            users.append(self._users.popleft()[1])
        return deadline, users

    def tried(self, refused: list[int], deadline: float, now: float) -> None:
        """Take note of what came of trying: those that were refused are the next ones again."""
        self._users.extendleft((deadline, user) for user in reversed(refused))
        self._most = 1 if refused else min(2 * self._most, self._limit)
        self._due = now + PAUSE if refused else 0.0

    def expired(self, now: float) -> list[int]:
        """Return those whose time is over, who wait no longer."""
        found = list[int]()
        while self._users and self._users[0][0] <= now:
            found.append(self._users.popleft()[1])
        return found
