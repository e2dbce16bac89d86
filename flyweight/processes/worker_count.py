"""How many workers hold so many connections: as many as the limit of open files forces and the cores deserve.

Pure, but for the number of cores. In how many processes they live is `flyweight.processes.workers`' matter.
"""

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import FILES_RESERVE, cores

MAX_WORKERS = 400
"""Workers of one end. Each takes some 1.4 MB, so that more are dearer than a higher limit of open files."""


def workers_for(connections: int, files_limit: int, wanted: int | None = None) -> int:
    """Return how many workers hold `connections`: as many as the file limit forces and the cores deserve.

    A worker costs memory, so a second core gets one only from 1,000 connections on. `wanted` asks for
    more (or fewer, as far as the file limit allows). Refused where that makes more than `MAX_WORKERS`, or where the
    limit leaves no room at all.
    """
    if files_limit < 2 * FILES_RESERVE:
        raise Refused(
            f"The hard limit of open files is {files_limit}; at least {2 * FILES_RESERVE} are needed. "
            "Raise it: ulimit -Hn, limits.conf(5), or LimitNOFILE= of the service."
        )
    workers = workers_wanted(connections, files_limit, wanted)
    if workers > MAX_WORKERS:
        raise Refused(
            f"{connections:,} connections at {files_limit:,} open files a worker take {workers:,} workers, and "
            f"{MAX_WORKERS} are the most. Ask for fewer (--connections of floodtest run, --max-connections of comet "
            "serve), or raise the hard limit of open files: ulimit -Hn, limits.conf(5), or LimitNOFILE= of the service."
        )
    return workers


def workers_wanted(connections: int, files_limit: int, wanted: int | None = None) -> int:
    """Return how many workers so many connections take, however many that are."""
    forced = -(-connections // max(1, files_limit - FILES_RESERVE))
    deserved = min(cores(), -(-connections // 1000))
    return max(1, forced, deserved if wanted is None else wanted)
