"""The processes behind the messages of a run: those that load friends into a store for the server, and the generator,
or against another server the publisher.

None is a thread of the run, so that what they cost is not the client's; what a generator or publisher says on stderr is
in `messages.log` of the record. All end with the run and the store is removed then, by one more process, even when the
run is killed. In: `Friends` or a store, and `MessageOptions` or the `Order` of a publisher. Out: a store, a line for a
person about which of the run's users are in it, and how much of its plan the generator or publisher has carried out.
Fails: Refused for friends that can't be loaded, or of whom nobody is a user of the run; a generator that fails is a
reason for the summary.
"""

import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.processes import lifeline
from floodtest.flyweight.processes.launch import Done, how_it_ended, launch, run_to_end
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.publication import Order
from floodtest.loadgen.run.interruption import Interruption
from floodtest.wire.control import TOKEN_VARIABLE, Generated

LOG = "messages.log"
LAST_WORDS = f"its last words are in {LOG} of the record"
STORE = "subscriptions"
IDS = "friends.ids.csv"
"""The ids that users have in the file of friends, if they were numbered anew."""


@asynccontextmanager
async def removed_in_the_end(folder: Path) -> AsyncIterator[int]:
    """See to it that a folder is gone after the block, and as well when this process is killed within it.

    Gives a descriptor: the folder is not removed before every process that has it is gone.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            keeper = launch(
                "floodtest.flyweight.processes.lifeline",
                str(folder.absolute()),
                stdin=theirs.fileno(),
                outlives_us=True,
            )
        try:
            yield ours.fileno()
        finally:
            ours.close()
            with trio.CancelScope(shield=True):
                status = await keeper.wait()
            if status < 0:  # somebody killed it
                lifeline.remove(folder.absolute())


@dataclass(frozen=True)
class Friends:
    """A file of friends, and how it is read."""

    file: Path
    columns: tuple[str, str] | None = None
    """Of the pair, by name or number."""
    ids: Path | None = None
    """Where the ids of users go that are numbered anew; None: they are not."""

    @property
    def arguments(self) -> list[str]:
        """As `comet load` takes them."""
        words = [str(self.file.absolute())]
        words += [] if self.columns is None else ["--columns", ",".join(self.columns)]
        return words + ([] if self.ids is None else ["--renumber", "--ids", str(self.ids)])


class Reach(msgspec.Struct, frozen=True):
    """How many users subscribe or are subscribed to, and how many of them have ids above those of a run."""

    users: int
    beyond: int


class Found(msgspec.Struct, frozen=True):
    """What `comet load` and `comet subs count` say."""

    reach: Reach
    ids: str | None = None
    notes: list[str] = msgspec.field(default_factory=list)


async def load_friends(friends: Friends, store: Path, held: int, users: int) -> list[str]:
    """Load a file into a new store, for a run with so many users; return what a person should know of it.

    Refused if that fails, or if none of the users of the file is one of the run's. Who loads has the descriptor `held`.
    """
    loaded = await _find("load", *friends.arguments, "--db", str(store), users=users, pass_fds=[held])
    said = [*loaded.notes, *_strangers(loaded.reach, friends.file, users)]
    return said if loaded.ids is None else [*said, f"{loaded.ids} has the ids that users have in {friends.file}."]


async def look_into_store(store: Path, users: int) -> list[str]:
    """Return what a person should know of a store for a run with so many users; Refused like `load_friends`."""
    found = await _find("subs", "count", "--db", str(store), users=users)
    return _strangers(found.reach, store, users)


async def _find(*arguments: str, users: int, pass_fds: Sequence[int] = ()) -> Found:
    """Return what a command says of a file or a store; Refused if it fails."""
    done = await run_to_end(
        "floodtest.server_under_test", *arguments, "--max-users", str(users), "--json", pass_fds=pass_fds
    )
    if done.exit_status < 0:
        raise WorkerFault(f"comet {arguments[0]} ended {how_it_ended(done.exit_status)}. Try again.")
    if done.exit_status != 0:
        words = done.errors.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise Refused(words[0].removeprefix("comet: "))
    return msgspec.json.decode(done.output, type=Found)


def _strangers(reach: Reach, source: Path, users: int) -> list[str]:
    """Say how many users of a file or store are none of the run's; Refused if all are."""
    if not reach.beyond:
        return []
    if reach.beyond < reach.users:
        return [f"{reach.beyond:,} of the {reach.users:,} users of {source} are not among the {users:,} of this run."]
    raise Refused(
        f"None of the {reach.users:,} users of {source} is among the {users:,} users of this run, whose ids go from 1 "
        f"to {users:,}. Number them anew with --renumber when they are loaded, or ask for more --connections."
    )


@asynccontextmanager
async def store_for(
    options: RunOptions, folder: Path, interruption: Interruption, say: Callable[[str], None]
) -> AsyncIterator[Path | None]:
    """The store of subscriptions of a run: the one that was named, one made of a file and gone with the block, or none.

    An interruption ends the loading of a file, and leaves the run without a store. Refused like `load_friends`.
    """
    users = options.plan.connections
    if options.friends is None:
        if options.db is not None:
            with interruption.scope():
                for line in await look_into_store(options.db, users):
                    say(line)
        yield options.db
        return
    say(f"Loading {options.friends} into a store for the server.")
    store, ids = folder / STORE, folder / IDS if options.renumber else None
    async with removed_in_the_end(store) as held:
        with interruption.scope() as scope:
            for line in await load_friends(Friends(options.friends, options.columns, ids), store, held, users):
                say(line)
        yield None if scope.cancelled_caught else store


def _open_log(path: Path) -> BinaryIO:
    """Open the generator's log; where a disk has no room for one any more its words are lost, and not the run."""
    try:
        return open(path, "ab")
    except OSError:
        return open(os.devnull, "ab")


async def generate(
    options: MessageOptions, users: int, control: str, token: str | None, folder: Path
) -> Generated | None:
    """Publish messages to the bundled server; return what the generator says in the end, None when it could not say."""
    arguments = {
        "control": control,
        "rate": options.rate,
        "seconds": options.seconds,
        "size": options.size,
        "users": users,
    }
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    with _open_log(folder / LOG) as log:
        environment = os.environ | ({} if token is None else {TOKEN_VARIABLE: token})
        done = await run_to_end("floodtest.server_under_test", "msggen", *words, "--json", stderr=log, env=environment)
    return _decoded(done.output)


async def publish(order: Order, folder: Path, note: Callable[[Generated | None], None]) -> None:
    """Publish messages by the API of another server; note what the publisher said last, None when it said nothing.

    That is noted when this is cancelled as well; that the publisher ended by itself, only when it did. The order may
    have a password in it: it is on nobody's command line and in no file of the record.
    """
    done: Done | None = None
    with (
        _open_log(folder / LOG) as log,
        open(os.memfd_create("order"), "w+b") as asked,
        open(os.memfd_create("outcome"), "w+b") as outcome,
    ):
        asked.write(msgspec.json.encode(order))
        asked.seek(0)
        try:
            done = await run_to_end("floodtest.loadgen.publisher", stdin=asked.fileno(), stdout=outcome, stderr=log)
        finally:
            outcome.seek(0)
            *lines, _ = outcome.read().split(b"\n")  # what follows the last line end was cut off
            said = _decoded(lines[-1]) if lines else None
            if said is not None and done is not None and done.exit_status != 0:
                ended = f"their publisher ended by itself, {how_it_ended(done.exit_status)}; {LAST_WORDS}"
                said.error = ended if said.error is None else f"{ended}; {said.error}"
            note(said)


def _decoded(words: bytes) -> Generated | None:
    try:
        return msgspec.json.decode(words, type=Generated)
    except msgspec.DecodeError:
        return None
