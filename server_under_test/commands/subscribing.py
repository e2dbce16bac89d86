"""What `comet subs` does: it counts what a store holds, and adds, removes and shows single subscriptions."""

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from floodtest.flyweight.command.counted import counted
from floodtest.server_under_test.commands.options import CountOptions
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store


class Reach(msgspec.Struct, frozen=True):
    """How many users there are, and how many of them have ids above those that are served, if that was asked."""

    users: int
    beyond: int | None


def reach_of(users: npt.NDArray[np.uint32], max_users: int | None) -> Reach:
    """Count users, whose ids ascend."""
    beyond = None if max_users is None else len(users) - int(np.searchsorted(users, max_users, side="right"))
    return Reach(len(users), beyond)


def held(subjects: int, subscriptions: int) -> str:
    """Write what a store holds."""
    return f"{counted(subscriptions, 'subscriptions')} to {counted(subjects, 'subjects')}"


class Counted(msgspec.Struct, frozen=True):
    """What a store holds: the keys of `comet subs count --json`."""

    subscriptions: int
    subjects: int
    reach: Reach


def count(options: CountOptions) -> None:
    """Print how many subscriptions, subjects and users a store holds."""
    db, max_users = options.db, options.max_users
    with Store(db) as store:
        subjects, subscriptions = store.counts()
        reach = reach_of(store.users(), max_users)
    if options.as_json:
        print(msgspec.json.encode(Counted(subscriptions, subjects, reach)).decode())
        return
    print(f"{db} holds {held(subjects, subscriptions)}, of and to {counted(reach.users, 'users')}.")
    if reach.beyond is not None:
        print(f"{reach.beyond:,} of the users have ids above {max_users:,}.")


def add(db: Path, subscriber: int, subject: Subject) -> None:
    """Subscribe a user to a subject, and say whether that is new."""
    with Store(db, create=True) as store:
        added = store.add_subscriptions([(subscriber, subject)])
    print("Added." if added else "It was there already.")


def remove(db: Path, subscriber: int, subject: Subject) -> None:
    """End a subscription, and say whether there was one."""
    with Store(db) as store:
        removed = store.remove_subscriptions([(subscriber, subject)])
    print("Removed." if removed else "There was none.")


def show(db: Path, subject: Subject) -> None:
    """Print the subscribers of a subject, one a line."""
    with Store(db) as store:
        for user in store.subscribers(subject).tolist():
            print(user)
