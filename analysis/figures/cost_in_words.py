"""The answer of a run: what one more user costs, and how many this machine would hold. Pure.

In: what is known of each end's memory, and the room there was before the ramp. Out: two sentences, the first that a
person reads on the terminal and in a report, and `answer` in `--json`. The kernel has as much for the client's end of a
connection as for the server's, so half of what both take is the server's.
"""

from dataclasses import dataclass

from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.formatting import each, each_between
from floodtest.analysis.figures.memory import MemoryFinding
from floodtest.analysis.record import Sample
from floodtest.analysis.record.samples import filling, memory_left
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Server
from floodtest.flyweight.command.counted import counted

DIGITS = 2
"""To so many digits it is said how many users a machine would hold."""

UNCERTAIN = 1.5
"""Times what a user is said to cost, beyond which the interval may reach no further for "about" so many users."""


@dataclass(frozen=True)
class Room:
    """What a server's connections may take of this machine; None where it is not known, or no bound."""

    memory: int | None
    """Bytes that could be had before the ramp."""
    files: int | None
    """Open files that the server's processes may have together."""


def room_of(samples: list[Sample], server: Server | None) -> Room:
    """Return the room there was before the ramp; a bundled server takes as many processes as it needs for files."""
    kept = filling(samples)
    before = samples[kept[0]] if kept and samples[kept[0]].stage == Stage.START else None
    return Room(None if before is None else memory_left(before), None if server is None else server.files)


def answer_of(memory: dict[str, MemoryFinding], room: Room) -> str:
    """Say what one more user costs, and how many there is room for."""
    server, kernel = memory["server"], memory["kernel"]
    most = max(found.most for found in memory.values())
    if not most:
        return "No connection was open in any sample: there is nothing to say about what one more user costs."
    if not len(server.size):
        return "What one more user costs the server can't be said: its memory was not measured."
    if server.one_more is None:
        return (
            f"What one more user costs can't be said: {counted(round(most), 'connections')} opened within too few "
            "samples. More connections, or a longer ramp (--rate), tell it."
        )
    half = _half(kernel)
    told = each_between(server.one_more, "of the server's memory")
    beside = "" if half is None else f" and {_briefly(half)} of the kernel's"
    return f"One more user costs {told}{beside}.{_held(server.one_more, half, room)}"


def _half(kernel: MemoryFinding) -> Estimate | float | None:
    """Return half of what the kernel takes for one more; None where others had it take less than before."""
    both = kernel.one_more
    if isinstance(both, Estimate):
        return both.times(0.5) if both.value >= 0 else None
    return None if both is None or both < 0 else both / 2


def _briefly(amount: Estimate | float) -> str:
    """Write an amount without the ends of its interval, unless it may be nothing."""
    is_sure = not isinstance(amount, Estimate) or amount.low > 0
    return each(amount.value if isinstance(amount, Estimate) else amount) if is_sure else each_between(amount)


def _held(server: Estimate | float, kernel: Estimate | float | None, room: Room) -> str:
    """Say how many users this machine would hold, and what ends first; nothing where that is not known."""
    if room.memory is None or not isinstance(server, Estimate) or not isinstance(kernel, Estimate):
        return ""  # a figure without an interval is no ground for a number
    each = sum(max(0.0, part.value) for part in (server, kernel))
    most = sum(max(0.0, part.high) for part in (server, kernel))
    is_sure = most <= UNCERTAIN * each
    by_memory = room.memory / (each if is_sure else most)
    about = "about" if is_sure else "at least"
    if room.files is not None and room.files < by_memory:
        return (
            f" This machine would hold {room.files:,} of them at the most; the open files that the server's processes "
            "may have end first."
        )
    return (
        f" This machine would hold {about} {_rounded(by_memory):,} of them, with clients elsewhere; memory ends first."
    )


def _rounded(count: float) -> int:
    """Cut a number of users to the digits that it is worth."""
    unit: int = 10 ** max(0, len(str(int(count))) - DIGITS)
    return int(count) // unit * unit
