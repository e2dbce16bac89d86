"""Which users are in the sample of those whose messages' arrivals the kernel tells (`engine.intake`). Pure."""

import numpy as np
import numpy.typing as npt

_MIX = np.uint32(2_654_435_761)
"""By this users' numbers are spread over 32 bits (multiplicative hashing: Knuth, volume 3, section 6.4)."""


def in_sample(users: npt.NDArray[np.uint32], every: int) -> npt.NDArray[np.bool_]:
    """Return which users are among the one in so many whose messages' arrivals are told; in step with nothing, such as
    with targets that users go to in turn.
    """
    chosen: npt.NDArray[np.bool_] = (users * _MIX).astype(np.uint64) * np.uint64(every) <= 0xFFFFFFFF
    return chosen
