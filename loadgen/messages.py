"""The messages of a run: friends loaded into a store for the server, and a generator beside it.

Both are commands of the bundled server, run as processes of their own: what they cost is not the client's, and what
they say on stderr is in `messages.log` of the record. In: `MessageOptions`. Out: a store, and what the generator says
of its plan in the end. Fails: Refused for friends that can't be loaded; a generator that fails is a reason for the
summary.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from flyweight.errors import Refused

LOG = "messages.log"
STORE = "subscriptions"


@dataclass(frozen=True)
class MessageOptions:
    """What is to be sent after the hold: `rate` messages a second, each about one of all users."""

    rate: float
    seconds: float = 60.0
    size: int = 100
    """Bytes of a message's text."""

    @property
    def planned(self) -> int:
        return -int(-self.rate * self.seconds // 1)


class Generated(msgspec.Struct, frozen=True):
    """What the generator says of a plan: messages, and seconds."""

    planned: int
    published: int
    late: int
    most_behind: float
    error: str | None
    deliveries: int = 0
    """Connections they went to, by the answers of the server."""


def _comet(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "server_under_test", *arguments]


async def load_friends(friends: Path, store: Path) -> None:
    """Load a file of fakefriends into a new store; Refused if that fails."""
    done = await trio.run_process(
        _comet("load", str(friends.absolute()), "--db", str(store)),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(words[0].removeprefix("comet: "))


async def generate(options: MessageOptions, users: int, control: int, folder: Path) -> Generated | None:
    """Publish the messages; return what the generator says in the end, None when it could not say."""
    arguments = {
        "control": f"http://127.0.0.1:{control}",
        "rate": options.rate,
        "seconds": options.seconds,
        "size": options.size,
        "users": users,
    }
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    with open(folder / LOG, "ab") as log:
        done = await trio.run_process(
            _comet("msggen", *words, "--json"),
            capture_stdout=True,
            stderr=log,
            stdin=subprocess.DEVNULL,
            check=False,
            start_new_session=True,
        )
    try:
        return msgspec.json.decode(done.stdout, type=Generated)
    except msgspec.DecodeError:
        return None
