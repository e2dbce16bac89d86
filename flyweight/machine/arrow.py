"""pyarrow, which reads and writes parquet: an extra of ours, and only imported here.

Where addresses are limited (`ulimit -v`) it allocates as the C library does, and its callers have it work in one thread
(`has_few_addresses`): its own allocator takes 1 GiB of addresses at once, and where there were none left for its
threads they have ended the process (pyarrow 26). Fails: Refused where it is not installed, and what a caller makes of
a file that pyarrow can't read (`explained`).
"""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from floodtest.flyweight.errors import Refused


def import_pyarrow() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet; Refused where they are not installed."""
    if has_few_addresses():
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # which is read when it is imported
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Refused("Parquet needs pyarrow: pip install 'floodtest[parquet]'.") from error
    return pyarrow, pyarrow.parquet


def has_few_addresses() -> bool:
    """Return whether the addresses of this process are limited."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


@contextmanager
def explained(path: Path, arrow: Any, refusal: Callable[[str], Refused]) -> Iterator[None]:
    """What pyarrow says of a file that it can't make sense of is raised as `refusal` of a sentence that names it.

    OSError of the system and MemoryError, arrow's own as well, go on as they are.
    """
    try:
        yield
    except MemoryError:
        raise
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file can't be read, whatever is in it
        reason = str(error).partition("\n")[0].rstrip(".")
        raise refusal(f"{path} is a broken parquet file: {reason}.") from error
