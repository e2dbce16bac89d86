"""The messages of a run: friends loaded into a store for the server, and a generator beside it.

Both are commands of the bundled server, run as processes of their own: what they cost is not the client's, and what
they say on stderr is in `messages.log` of the record. They end with the run and the store is removed then, by one more
process, even when the run is killed. In: `MessageOptions`. Out: a store, and what the generator says of its plan in the
end. Fails: Refused for friends that can't be loaded; a generator that fails is a reason for the summary.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from flyweight import lifeline
from flyweight.errors import Refused, WorkerFault
from flyweight.launch import how_it_ended, launch, run_to_end

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


@asynccontextmanager
async def removed_in_the_end(folder: Path) -> AsyncIterator[int]:
    """See to it that a folder is gone after the block, and as well when this process is killed within it.

    Gives a descriptor: the folder is not removed before every process that has it is gone.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            keeper = launch("flyweight.lifeline", str(folder.absolute()), stdin=theirs.fileno(), outlives_us=True)
        try:
            yield ours.fileno()
        finally:
            ours.close()
            with trio.CancelScope(shield=True):
                status = await keeper.wait()
            if status < 0:  # somebody killed it
                lifeline.remove(folder.absolute())


async def load_friends(friends: Path, store: Path, held: int) -> None:
    """Load a file of fakefriends into a new store; Refused if that fails. Who loads has the descriptor `held`."""
    arguments = "load", str(friends.absolute()), "--db", str(store)
    done = await run_to_end("server_under_test", *arguments, pass_fds=[held])
    if done.exit_status < 0:
        raise WorkerFault(f"The process that loads {friends} ended {how_it_ended(done.exit_status)}. Try again.")
    if done.exit_status != 0:
        words = done.errors.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(words[0].removeprefix("comet: "))


async def generate(
    options: MessageOptions, users: int, control: str, token: str | None, folder: Path
) -> Generated | None:
    """Publish the messages; return what the generator says in the end, None when it could not say."""
    arguments = {
        "control": control,
        "rate": options.rate,
        "seconds": options.seconds,
        "size": options.size,
        "users": users,
    }
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    with open(folder / LOG, "ab") as log:
        environment = os.environ | ({} if token is None else {"COMET_TOKEN": token})
        done = await run_to_end("server_under_test", "msggen", *words, "--json", stderr=log, env=environment)
    try:
        return msgspec.json.decode(done.output, type=Generated)
    except msgspec.DecodeError:
        return None
