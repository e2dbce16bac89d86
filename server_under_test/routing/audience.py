"""Who is to have messages about some subjects: the connections of all who subscribed, and of the subject itself.

In: subjects, each once. Out: an `Audience`, columns of connections by subject. The store tells who subscribed, and the
whereabouts tell where they are. A subject with many subscribers of whom few can be connected is looked up the other way
round: the users who are connected are looked for among its subscribers. So the cost follows the connections, whatever
the store holds.

Bounded by the rows of the store that are looked at: of the subjects that have more than one block, those are left for
another time that come when the bound is reached. One subject is always looked up, and in one go, which takes some 10 ms
for a million subscribers. Fails: Refused when the store can't be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.server_under_test.routing.blocks import BLOCK
from floodtest.server_under_test.routing.subjects import Subject
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.whereabouts import Whereabouts

Ints = npt.NDArray[np.intp]
Users = npt.NDArray[np.uint32]

FEW = 8
"""A subject that has so many times more subscribers than there are connections is looked up from the connections."""


@dataclass(frozen=True)
class Audience:
    """Connections by the column, those of a subject together: front, descriptor, user.

    Those of subject i are from `cuts[i]` to `cuts[i + 1]`.
    """

    subjects: Sequence[Subject]
    cuts: Ints
    front: Ints
    fd: Ints
    user: Users


def find_audience(subjects: Sequence[Subject], store: Store | None, whereabouts: Whereabouts, most: int) -> Audience:
    """Find the connections of as many subjects as `most` rows of the store can be looked at for.

    The first ones come first, and the first of all is always found; a small one is not left out for a large one.
    """
    if store is None:
        users, counts = np.zeros(0, np.uint32), np.zeros(len(subjects), np.intp)
    else:
        subjects, users, counts = _subscribers(subjects, store, whereabouts, most)
    own = [(index, each) for index, each in enumerate(subjects) if isinstance(each, int)]
    own_subject = np.array([index for index, _ in own], np.intp)
    own_user = np.array([each for _, each in own], np.uint32)
    # What is worked out for each user comes after they are found: of many subscribers few may be connected.
    everybody = np.concatenate([users, own_user])
    row, front, fd = whereabouts.find(everybody)
    is_own = row >= len(users)
    subject = np.empty(len(row), np.intp)
    subject[is_own] = own_subject[row[is_own] - len(users)]
    subject[~is_own] = np.searchsorted(np.cumsum(counts), row[~is_own], "right")
    user = everybody[row]
    itself = np.zeros(len(subjects), np.uint32)
    itself[own_subject] = own_user
    kept = np.flatnonzero(is_own | (user != itself[subject]))  # who subscribed to itself gets a message once
    order = kept[np.argsort(subject[kept], kind="stable")]
    cuts = np.searchsorted(subject[order], np.arange(len(subjects) + 1))
    return Audience(subjects, cuts, front[order], fd[order], user[order])


def _subscribers(
    subjects: Sequence[Subject], store: Store, whereabouts: Whereabouts, most: int
) -> tuple[Sequence[Subject], Users, Ints]:
    """Return those subjects that are looked up, their subscribers one subject after another, and how many each has.

    Of those that have many, none but who may be connected.
    """
    found = store.lookup(subjects, most)
    subjects = subjects[: len(found.counts)]
    if not found.large:
        return subjects, found.users, found.counts
    connections, left = whereabouts.connections, most
    parts: list[Users | None] = list(np.split(found.users, np.cumsum(found.counts)[:-1]))
    for index, size in found.large.items():
        looked_at = min(size, connections * BLOCK)  # a block for each connection, or all of them
        if looked_at > left < most:
            parts[index] = None
            continue
        left -= looked_at
        if size <= FEW * connections:
            parts[index] = store.subscribers(subjects[index])
        else:
            parts[index] = store.subscribers_among(whereabouts.connected(), subjects[index])
    known = [(subject, part) for subject, part in zip(subjects, parts, strict=True) if part is not None]
    users = np.concatenate([part for _, part in known])
    return [subject for subject, _ in known], users, np.array([len(part) for _, part in known], np.intp)
