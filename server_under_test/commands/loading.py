"""What `comet load` does: a file of friends into a store, all of its pairs or, on an error, none.

Users that are numbered anew keep their ids in a file beside, which gets its name when the pairs are in the store.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np

from floodtest.datagen.edges import distinct_pairs, users_of
from floodtest.datagen.files import ids_beside, read_friends, refuse_unwritable, written_ids
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.commands.options import LoadOptions
from floodtest.server_under_test.commands.subscribing import Reach, held, reach_of
from floodtest.server_under_test.routing.subscriptions import Store


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load: the keys of `comet load --json`."""

    pairs: int
    """That were added or were there already, those of --mutual included."""
    seconds: float
    added: int
    duplicates: int
    """Pairs of the file that are in it before."""
    loops: int
    """Pairs of the file of a user with itself."""
    subjects: int
    subscriptions: int
    """Of the whole store, like its subjects."""
    reach: Reach | None
    ids: str | None
    """The file that has the ids of users who were numbered anew."""
    notes: tuple[str, ...]

    def lines(self, friends: Path, db: Path, max_users: int | None) -> Iterator[str]:
        """Say it to a person."""
        yield from self.notes
        yield f"{counted(self.pairs, 'pairs')} in {self.seconds:.1f} s, {self.added:,} of them new."
        if self.duplicates or self.loops:
            apart = f"duplicates {self.duplicates:,}, loops {self.loops:,} (users subscribed to themselves)"
            yield f"Counted apart in {friends}: {apart}."
        yield f"{db} holds {held(self.subjects, self.subscriptions)}."
        if self.reach is not None:
            users = counted(self.reach.users, "users")
            yield f"{self.reach.beyond:,} of the {users} of {friends} have ids above {max_users:,}."
        if self.ids is not None:
            yield f"{self.ids} has the ids that the users have in {friends}."


def load_and_show(options: LoadOptions) -> None:
    """Load a file, and print what came of it for a person, and for a program if one asks."""
    loaded = _load(options)
    for line in loaded.lines(options.friends, options.db, options.max_users):
        print(line, file=sys.stderr if options.as_json else sys.stdout)
    if options.as_json:
        print(msgspec.json.encode(loaded).decode())


def _load(options: LoadOptions) -> Loaded:
    """Load a file; the ids of users that are numbered anew go beside it unless another place is named."""
    friends, force = options.friends, options.force
    ids = (options.ids or ids_beside(friends)) if options.renumber else None
    if ids is not None:
        refuse_unwritable(ids, force)  # before the work
    began = time.monotonic()
    found = read_friends(friends, options.columns, anew=ids is not None)
    if not len(found.pairs):
        raise Refused(f"{friends} has no pairs, and nothing was loaded. Is it the right file?")
    _, apart = distinct_pairs(found.pairs)
    pairs = np.concatenate([found.pairs, found.pairs[:, ::-1]]) if options.mutual else found.pairs
    kept = nullcontext() if ids is None or found.originals is None else written_ids(ids, found.originals, force)
    with kept, Store(options.db, create=True) as store:
        added = store.add_file(pairs, found.originals)
        subjects, subscriptions = store.counts()
    return Loaded(
        pairs=len(pairs),
        seconds=round(time.monotonic() - began, 3),
        added=added,
        duplicates=apart.duplicates,
        loops=apart.loops,
        subjects=subjects,
        subscriptions=subscriptions,
        reach=None if options.max_users is None else reach_of(users_of(found.pairs), options.max_users),
        ids=None if ids is None else str(ids),
        notes=found.notes,
    )
