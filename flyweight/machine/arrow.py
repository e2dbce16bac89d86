"""pyarrow, which reads and writes parquet: an extra of ours, and only imported here.

Where addresses are limited (`ulimit -v`) it allocates as the C library does, and its callers have it work in one thread
(`has_few_addresses`): its own allocator takes 1 GiB of addresses at once, and where there were none left for its
threads they have ended the process (pyarrow 26). Fails: Refused where it is not installed.
"""

import os
import resource
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
