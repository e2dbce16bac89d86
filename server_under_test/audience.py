"""Who is to have messages about some subjects: the connections of all who subscribed, and of the subject itself.

In: subjects, each once. Out: an `Audience`, columns of connections by subject. The store tells who subscribed, and the
whereabouts tell where they are. A subject with many subscribers of whom few can be connected is looked up the other way
round: the users who are connected are looked for among its subscribers. So the cost follows the connections, whatever
the store holds. Fails: Refused when the store can't be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from server_under_test.subjects import Subject
from server_under_test.subscriptions import Store
from server_under_test.whereabouts import Whereabouts

Ints = npt.NDArray[np.intp]
Users = npt.NDArray[np.uint32]

FEW = 8
"""A subject that has so many times more subscribers than there are connections is looked up from the connections."""


@dataclass(frozen=True)
class Audience:
    """Connections by the column, those of a subject together: front, descriptor, user.

    Those of subject i are from `cuts[i]` to `cuts[i + 1]`.
    """

    cuts: Ints
    front: Ints
    fd: Ints
    user: Users

    @property
    def subjects(self) -> int:
        """How many subjects it is of."""
        return len(self.cuts) - 1


def find_audience(subjects: Sequence[Subject], store: Store | None, whereabouts: Whereabouts, most: int) -> Audience:
    """Find the connections of as many of the first subjects as have `most` subscribers together, but one at least."""
    if store is None:
        users, counts = np.zeros(0, np.uint32), np.zeros(len(subjects), np.intp)
    else:
        users, counts = _subscribers(subjects, store, whereabouts, most)
        subjects = subjects[: len(counts)]
    subject = np.repeat(np.arange(len(subjects)), counts)
    own = [(index, each) for index, each in enumerate(subjects) if isinstance(each, int)]
    own_subject = np.array([index for index, _ in own], np.intp)
    own_user = np.array([each for _, each in own], np.uint32)
    itself = np.zeros(len(subjects), np.uint32)
    itself[own_subject] = own_user
    others = users != itself[subject]  # who subscribed to itself gets a message once
    subject, users = np.concatenate([subject[others], own_subject]), np.concatenate([users[others], own_user])
    row, front, fd = whereabouts.find(users)
    order = np.argsort(subject[row], kind="stable")
    row = row[order]
    cuts = np.searchsorted(subject[row], np.arange(len(subjects) + 1))
    return Audience(cuts, front[order], fd[order], users[row])


def _subscribers(subjects: Sequence[Subject], store: Store, whereabouts: Whereabouts, most: int) -> tuple[Users, Ints]:
    """Return the subscribers of subjects, one subject after another, and how many each has.

    Of those that have many, none but who may be connected.
    """
    found = store.lookup(subjects, most)
    if not found.large:
        return found.users, found.counts
    connections = whereabouts.connections
    connected: Users | None = None
    parts = np.split(found.users, np.cumsum(found.counts)[:-1])
    for index, size in found.large.items():
        if size <= FEW * connections:
            parts[index] = store.subscribers(subjects[index])
        else:
            connected = whereabouts.connected() if connected is None else connected
            parts[index] = store.subscribers_among(connected, subjects[index])
    return np.concatenate(parts), np.array([len(part) for part in parts], np.intp)
